// Runs the book's own Python in the reader's browser by Pyodide, and draws what it returns by Vega, off the page's thread.
// The query of this file's address holds the versions of what it loads, so that no cache mixes old files with new.
const here = new URL(import.meta.url);
const address = (path, part) => new URL(`${path}?${here.searchParams.get(part)}`, here).href;

const PYTHON = `
import json
from sysai.explorables.explorable import find
from sysai.viz.palette import INK, PAPER

def figure(name, at, language, settings):
    spec = find(name).at(**json.loads(at)).figure(language, **json.loads(settings))
    return json.dumps(spec, allow_nan=False)

def reply(name, at, language, guess):
    return find(name).at(**json.loads(at)).reply(language, guess)
`;

async function loadPython() {
  const folder = new URL(`pyodide-${here.searchParams.get("pyodide")}/`, here).href;
  const [{ loadPyodide }, archive] = await Promise.all([
    import(`${folder}pyodide.mjs`),
    fetch(address("sysai.zip", "sysai")).then(answer => answer.ok ? answer.arrayBuffer() : Promise.reject(new Error(answer.statusText))),
  ]);
  const python = await loadPyodide({ indexURL: folder });
  python.unpackArchive(archive, "zip");
  python.runPython(PYTHON);
  return name => python.globals.get(name);
}

async function loadVega() {
  globalThis.document = { createElement: () => new OffscreenCanvas(1, 1) }; // where Vega measures text
  await import(address("vega.min.js", "vega"));
  delete globalThis.document;
  await import(address("vega-lite.min.js", "vega-lite"));
}

const loaded = Promise.all([loadPython(), loadVega()]).then(([python]) => python);
loaded.then(() => postMessage({ loaded: true }));
addEventListener("unhandledrejection", event => { // also of promises within Pyodide, which leaves its own unsettled
  event.preventDefault();
  postMessage({ loaded: false, error: String(event.reason) });
});

async function figure(python, { name, at, language, settings }) {
  const spec = JSON.parse(python("figure")(name, at, language, JSON.stringify(settings)));
  const view = new vega.View(vega.parse(vegaLite.compile(spec).spec), { renderer: "none" });
  const svg = (await view.toSVG()).replaceAll(python("INK"), "var(--ink)").replaceAll(python("PAPER"), "var(--paper)")
    .replace(/ (?:role|aria-\w+)="[^"]*"/g, ""); // the figure as a whole is one image, which the page describes
  view.finalize();
  return { spec, svg };
}

const reply = (python, { name, at, language, guess }) => ({ reply: python("reply")(name, at, language, guess) });

onmessage = async ({ data }) => {
  const python = await loaded;
  try {
    postMessage({ id: data.id, ...(await ("guess" in data ? reply : figure)(python, data)) });
  } catch (error) {
    postMessage({ id: data.id, error: error.message.trim().split("\n").at(-1) });
  }
};
