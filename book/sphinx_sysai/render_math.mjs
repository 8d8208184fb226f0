// TeX in, HTML out: a line of JSON {tex, display} in, a line of JSON {html} or {error} out.
// A line {"stylesheet": "url of the fonts"} answers with the style sheet for all that was rendered.
import { createInterface } from "node:readline";
import mathjax from "mathjax-full/js/mathjax.js";
import tex from "mathjax-full/js/input/tex.js";
import chtml from "mathjax-full/js/output/chtml.js";
import lite from "mathjax-full/js/adaptors/liteAdaptor.js";
import html from "mathjax-full/js/handlers/html.js";
import assistive from "mathjax-full/js/a11y/assistive-mml.js";
import packages from "mathjax-full/js/input/tex/AllPackages.js";

const adaptor = lite.liteAdaptor();
assistive.AssistiveMmlHandler(html.RegisterHTMLHandler(adaptor));
const names = packages.AllPackages.filter(name => !["noerrors", "noundefined", "bussproofs", "mhchem"].includes(name));
const input = new tex.TeX({ packages: names, formatError: (_, error) => { throw error; } });
const output = new chtml.CHTML({ fontURL: "math-fonts", adaptiveCSS: false });
const page = mathjax.mathjax.document("", { InputJax: input, OutputJax: output });

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let answer;
  try {
    answer = request.stylesheet
      ? { html: adaptor.textContent(output.styleSheet(page)) }
      : { html: adaptor.outerHTML(page.convert(request.tex, { display: request.display })) };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
