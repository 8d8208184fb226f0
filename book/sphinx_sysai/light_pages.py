"""What a page carries beside its text: links to its notebook and its twin, icons, and only the scripts it uses."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from urllib.parse import quote

from docutils import nodes
from sysai.core.language import LANGUAGES, Text, in_language

from .cells import has_code, language_of
from .node import module, node

# The icons that the theme's templates and ours name: class of the icon, and its file.
ICONS = {
    "angle-left": "solid", "angle-right": "solid", "arrow-up": "solid", "bars": "solid", "chevron-down": "solid",
    "chevron-right": "solid", "circle-half-stroke": "solid", "download": "solid", "list": "solid",
    "magnifying-glass": "solid", "moon": "solid", "pencil": "solid", "play": "solid", "sun": "solid",
    "github": "brands",
    "circle-info": "solid", "lightbulb": "solid", "triangle-exclamation": "solid",
}  # fmt: skip
ADMONITIONS = {
    ".admonition": "circle-info",
    ".admonition.tip": "lightbulb",
    ".admonition.warning": "triangle-exclamation",
    ".admonition.exercise": "pencil",
}

STYLES = "site.css"  # all style sheets in one: each file that a page waits for costs a round trip
OWN_STYLES = "book.css"
UNUSED = ("scripts/fontawesome.js", "vendor", "webpack-macros.html", "sbt-webpack-macros.html", "locales")

TEXTS = {
    "switch": Text("中文", "English"),
    "switch_title": Text("阅读本页的中文版", "Read this page in English"),
    "colab": Text("Colab", "Colab"),
    "colab_title": Text("Run this chapter in Google Colab", "在 Google Colab 中运行本章"),
    "notebook": Text("Notebook", "下载笔记本"),
    "notebook_title": Text("Download this chapter as a notebook", "下载本章的笔记本"),
    "edit": Text("Edit", "修改本页"),
    "edit_title": Text("Suggest a change to this page", "为本页提出修改"),
    "contents": Text("Show or hide the book's contents", "显示或隐藏全书目录"),
    "on_page": Text("Show or hide this page's sections", "显示或隐藏本页各节"),
}

# Names, punctuation and spaces have the colour of plain code: without elements of their own, which are half of those
# in a block of code, a chapter is parsed and drawn sooner.
PLAIN_CODE = re.compile(r'<span class="(?:n|p|w)">([^<]*)</span>')

# Scripts that extensions load on every page, and the mark in a page's HTML that says it uses them.
USED_BY = {
    "clipboard.min.js": 'class="highlight',
    "copybutton.js": 'class="highlight',
    "design-tabs.js": "sd-tab-set",
    "doctools.js": "",
    "explorables.js": 'class="explorable"',
    "sphinx_highlight.js": "",
    "translations.js": "",
}


def colab_address(app, pagename: str, cell: str = "") -> str | None:
    """Where Colab opens the notebook of a page, at one of its cells if named; None where there is none to open."""
    repository = app.config.html_theme_options.get("repository_url")
    if not (repository and has_code(app.srcdir / f"{pagename}.md")):
        return None
    owner_and_name = "/".join(repository.rstrip("/").split("/")[-2:])
    path = quote(f"{language_of(app.config.language)}/{pagename}.ipynb")
    address = f"https://colab.research.google.com/github/{owner_and_name}/blob/notebooks/{path}"
    return f"{address}#scrollTo={cell}" if cell else address


def page_links(app, pagename: str) -> list[dict]:
    """Colab and download for a page with code; the page's source for every page."""
    lang = language_of(app.config.language)
    options = app.config.html_theme_options
    repository, branch = options["repository_url"], options.get("repository_branch", "main")
    words = in_language(TEXTS, lang)
    links = []

    def add(name, url, icon, download=False):
        text = {"text": words[name], "title": words[f"{name}_title"]}
        links.append({"name": name, "url": url, "icon": icon, "download": download} | text)

    if address := colab_address(app, pagename):
        add("colab", address, "fa-solid fa-play")
        up = "../" * pagename.count("/")
        add("notebook", f"{up}_notebooks/{pagename}.ipynb", "fa-solid fa-download", download=True)
    if (app.srcdir / f"{pagename}.md").exists():
        add("edit", f"{repository}/edit/{branch}/{pagename}.md", "fa-brands fa-github")
    return links


def describe(doctree) -> str:
    """The first paragraph of a page, shortened to a search engine's description."""
    if doctree is None:
        return ""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if len(text) > 40:
            return text if len(text) <= 160 else text[:157].rsplit(" ", 1)[0] + " …"
    return ""


def fill_context(app, pagename, templatename, context, doctree):
    """Give the templates what they show."""
    lang = language_of(app.config.language)
    other = next(code for code in LANGUAGES if code != lang)
    site = app.config.book_site_url
    suffix = f"{pagename}.html"
    context["words"] = words = in_language(TEXTS, lang)
    context["page_links"] = page_links(app, pagename)
    context["description"] = describe(doctree) or app.config.html_title
    context["other_language"] = None
    context["alternates"] = []
    if site:  # both sites are being built
        up = "../" * (pagename.count("/") + 1)
        context["other_language"] = {
            "code": other,
            "url": f"{up}{other}/{suffix}",
            "name": words["switch"],
            "title": words["switch_title"],
        }
        context["alternates"] = [(code, f"{site}{code}/{suffix}") for code in LANGUAGES]


def finish_page(app, pagename, templatename, context, doctree):
    """Load one style sheet and only the scripts that the page uses; drop what misleads screen readers."""
    body = context.get("body", "")
    body = PLAIN_CODE.sub(r"\1", body)
    body = body.replace(' aria-label="Toggle hidden content"', "")  # the summary's own words name it, in its language
    body = body.replace('role="list" class="citation-list"', 'class="citation-list"')  # its children are no list items
    context["body"] = body
    context["css_files"] = [style for style in context["css_files"] if style.filename.endswith(f"/{STYLES}")]
    if pagename != "search":
        context["script_files"] = [_deferred(script) for script in context["script_files"] if _used(script, body)]


def _used(script, body: str) -> bool:
    """Whether a page that is not the search page uses a script."""
    if not script.filename:  # an inline script: the theme's options are for the search page
        return "DOCUMENTATION_OPTIONS" not in script.attributes.get("body", "")
    mark = USED_BY.get(script.filename.rsplit("/", 1)[-1])
    return mark is None or (bool(mark) and mark in body)


def _deferred(script):
    """The script, to be run when the page is read: none of them is needed to draw it."""
    if not script.filename:
        return script
    return type(script)(script.filename, priority=script.priority, **{**script.attributes, "defer": "defer"})


def forget_styles(app):
    """Remove an earlier build's style sheet: pages that find it name it with its checksum, the first build's do not."""
    (Path(app.outdir) / "_static" / STYLES).unlink(missing_ok=True)


def lighten(app, exception):
    """Write the site's one style sheet."""
    if exception is not None or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    linked = sorted(app.builder._css_files, key=lambda style: style.priority)
    names = ["basic.css", "styles/pydata-sphinx-theme.css"]
    names += [name for style in linked if (name := style.filename.removeprefix("_static/")) not in (STYLES, OWN_STYLES)]
    target = static / STYLES
    sheets = [(static / name).read_text(encoding="utf-8") for name in dict.fromkeys(names)]
    target.write_text("\n".join(sheets), encoding="utf-8")
    subprocess.run([node(), Path(__file__).with_name("purge_styles.mjs"), app.outdir, target], check=True)
    own = (static / OWN_STYLES).read_text(encoding="utf-8")
    target.write_text(target.read_text(encoding="utf-8") + icon_styles() + own, encoding="utf-8")


def unused_files(site: Path) -> set[Path]:
    """The files of a site that no page loads."""
    static = site / "_static"
    unused = {*static.rglob("*.css"), *static.rglob("*.map")} - {static / STYLES}
    for path in (static / name for name in UNUSED):
        unused |= {*path.rglob("*")} if path.is_dir() else {path}
    return unused


def icon_styles() -> str:
    """Style rules that draw each icon as a mask filled with the colour of its text."""
    folder = module("@fortawesome/fontawesome-free/svgs")
    mask = "var(--icon) center/contain no-repeat"
    drawn = f"content:'';background:currentColor;-webkit-mask:{mask};mask:{mask}"
    rules = [
        f"[class*=' fa-']::before{{{drawn};display:inline-block;width:1em;height:1em;vertical-align:-.125em}}",
        ".fa-lg{font-size:1.25em}",
        f".admonition>.admonition-title.admonition-title::after{{{drawn}}}",
    ]
    for selector, icon in ({".fa-" + name: name for name in ICONS} | ADMONITIONS).items():
        svg = (folder / ICONS[icon] / f"{icon}.svg").read_text(encoding="utf-8")
        svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL).strip()
        rules.append(f'{selector}{{--icon:url("data:image/svg+xml,{quote(svg, safe=" =:/,.-")}")}}')
    return "\n".join(rules) + "\n"


def setup(app):
    """Register with Sphinx."""
    app.add_config_value("book_site_url", "", "html")
    app.add_css_file(STYLES)
    app.add_js_file("book.js", loading_method="defer")
    app.connect("builder-inited", forget_styles)
    app.connect("html-page-context", fill_context, priority=400)  # before the theme looks which templates are empty
    app.connect("html-page-context", finish_page, priority=900)
    app.connect("build-finished", lighten, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
