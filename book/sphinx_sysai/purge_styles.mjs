// Cut from a style sheet what no page uses: node purge_styles.mjs <folder of a built site> <style sheet>
import { writeFileSync } from "node:fs";
import { PurgeCSS } from "purgecss";

const [site, sheet] = process.argv.slice(2);
const [{ css }] = await new PurgeCSS().purge({
  content: [`${site}/**/*.html`, `${site}/_static/**/*.js`],
  css: [sheet],
  fontFace: true,
  keyframes: true,
  dynamicAttributes: ["data-theme", "data-mode", "data-bs-theme", "data-bs-popper", "data-popper-placement", "open",
    "aria-expanded", "aria-selected", "aria-current"],
  safelist: { deep: [/^(show|collaps|tooltip|dropdown|modal|scrolled|hide|fade|bs-|search|highlighted)/],
    greedy: [/::backdrop|:root/] },
  blocklist: [/^fa-/, /^fas?$/, /^fab$/, "ablog__prev-next"],
});
writeFileSync(sheet, css.replace(/@font-face\s*{[^}]*Awesome[^}]*}/g, "").replace(/\/\*[^]*?\*\//g, "") + "\n");
