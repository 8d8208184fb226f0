// Cut from the site's style sheets what no page uses: node purge_styles.mjs <folder of a built site>
import { readFileSync, writeFileSync } from "node:fs";
import { PurgeCSS } from "purgecss";

const site = process.argv[2];
const sheets = ["styles/pydata-sphinx-theme.css", "styles/sphinx-book-theme.css", "sphinx-design.min.css", "math.css"]
  .map(name => `${site}/_static/${name}`);
const purged = await new PurgeCSS().purge({
  content: [`${site}/**/*.html`, `${site}/_static/**/*.js`],
  css: sheets,
  fontFace: true,
  keyframes: true,
  dynamicAttributes: ["data-theme", "data-mode", "data-bs-theme", "data-bs-popper", "data-popper-placement", "open",
    "aria-expanded", "aria-selected", "aria-current"],
  safelist: { deep: [/^(show|collaps|tooltip|dropdown|modal|scrolled|hide|fade|bs-|search|highlighted)/],
    greedy: [/::backdrop|:root/] },
  blocklist: [/^fa-/, /^fas?$/, /^fab$/, "ablog__prev-next"],
});
for (const { file, css } of purged) {
  const before = readFileSync(file).length;
  const text = css.replace(/@font-face\s*{[^}]*Awesome[^}]*}/g, "").replace(/\/\*# sourceMappingURL.*?\*\//g, "");
  if (text.length < before) writeFileSync(file, text);
}
