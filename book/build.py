"""Build both sites: `python book/build.py` writes site/index.html, site/en and site/zh.

Each language is a Sphinx build of the same sources by the function that the `jupyter-book` command calls; only
what `OVERRIDES` holds differs. Code is executed once: the second language takes the outputs from the cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import yaml
from jupyter_book.sphinx import build_sphinx
from jupyter_cache import get_cache
from sphinx_sysai.explorable_files import files

ROOT = Path(__file__).resolve().parents[1]

OUT = ROOT / "_build"
SITE = ROOT / "site"

OVERRIDES = {
    "en": {"language": "en"},
    "zh": {
        "language": "zh_CN",
        "html_title": "人工智能系统",
        "author": "《人工智能系统》作者",
        "html_last_updated_fmt": "%Y 年 %m 月 %d 日",
        "numfig_format": {
            "section": "第 %s 节",
            "figure": "图 %s",
            "table": "表 %s",
            "code-block": "代码 %s",
        },
        "nb_cell_metadata_key": "mystnb_zh",
        "nb_code_prompt_show": "显示代码",
        "nb_code_prompt_hide": "隐藏代码",
        "html_theme_options": {"search_bar_text": "搜索本书…", "toc_title": "本页内容"},
    },
}


CONFIGURED_URL = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]


def repository_url() -> str:
    """The repository that pages link to: a workflow's own, else the one in _config.yml."""
    return os.environ.get("SYSAI_REPOSITORY_URL", CONFIGURED_URL).rstrip("/")


def site_url() -> str:
    """Where GitHub Pages serves the sites of that repository."""
    owner, name = repository_url().split("/")[-2:]
    return f"https://{owner.lower()}.github.io/{name}/"


def package_digest() -> str:
    """A digest of the package and the locked versions: where it changes, every cell is executed anew."""
    files = [ROOT / "requirements.txt", *sorted((ROOT / "code/sysai").rglob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def execution_cache() -> Path:
    """The folder of executed cells; emptied where the package that they ran with has changed."""
    folder, digest = OUT / "jupyter_cache", package_digest()
    mark = folder / "package_digest"
    if not mark.exists() or mark.read_text(encoding="utf-8") != digest:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mark.write_text(digest, encoding="utf-8")
    return folder


def executions(cache: Path) -> dict[int, tuple[str, float]]:
    """The executed pages that the cache holds, by key: the page's path and the seconds that it took."""
    records = get_cache(cache).list_cache_records()
    return {record.pk: (record.uri, record.data["execution_seconds"]) for record in records}


def write_seconds(pages: list[tuple[str, float]], whole: float) -> None:
    """Note what each chapter's execution took of the build, for the table that `make test` ends with."""
    seconds = {found[1]: spent for page, spent in pages if (found := re.search(r"chapters/(\d\d)-", page))}
    file = OUT / "times/book.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(seconds | {"fixed": whole - sum(seconds.values())}), encoding="utf-8")


def build_language(lang: str, cache: Path) -> None:
    """Build one site into _build/<lang>/html; ends the program where the build warns."""
    overrides = dict(OVERRIDES[lang])
    overrides["html_theme_options"] = {
        "repository_url": repository_url(),
        **overrides.get("html_theme_options", {}),
    }
    failed = build_sphinx(
        ROOT,
        OUT / lang / "html",
        doctreedir=OUT / lang / "doctrees",
        path_config=ROOT / "_config.yml",
        noconfig=True,
        warningiserror=True,
        keep_going=True,
        confoverrides={
            **overrides,
            "latex_individualpages": False,
            "external_toc_path": "_toc.yml",
            "html_baseurl": f"{site_url()}{lang}/",
            "book_site_url": site_url(),
            "book_address": CONFIGURED_URL,
            "package_digest": package_digest(),
            "nb_execution_cache_path": str(cache),
        },
    )
    if failed:
        sys.exit(f"The {lang} site was not built: mend the warnings above.")


def publish(languages: list[str]) -> None:
    """Copy the sites to site/, with the landing page that picks the reader's language."""
    SITE.mkdir(exist_ok=True)
    for source, target in (("landing.html", "index.html"), ("404.html", "404.html")):
        text = (ROOT / "book" / source).read_text(encoding="utf-8")
        (SITE / target).write_text(text.replace("{{ site_url }}", site_url()), encoding="utf-8")
    (SITE / ".nojekyll").touch()
    publish_explorables(SITE / "explorables")
    for lang in languages:
        shutil.copytree(OUT / lang / "html", SITE / lang, dirs_exist_ok=True, copy_function=copy_if_changed)
        for old in list((SITE / lang).rglob("*")):
            if not (OUT / lang / "html" / old.relative_to(SITE / lang)).exists():
                shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink(missing_ok=True)


def publish_explorables(folder: Path) -> None:
    """Put what explorables load beside the sites, and remove what earlier versions left there."""
    wanted = {folder / name: source for name, source in files().items()}
    for old in list(folder.rglob("*")):
        if old.is_file() and old not in wanted:
            old.unlink()
    for target, source in wanted.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, Path):
            copy_if_changed(source, target)
        elif not target.exists() or target.read_bytes() != source:
            target.write_bytes(source)


def copy_if_changed(source: str, target: str) -> None:
    """Copy a file unless the target holds the same, by size and time."""
    old, new = Path(target), Path(source)
    if not old.exists() or old.stat().st_size != new.stat().st_size or old.stat().st_mtime < new.stat().st_mtime:
        shutil.copy2(source, target)


def main() -> None:
    """Build the languages named on the command line, or both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("languages", nargs="*", metavar="en|zh", help="default: both")
    languages = parser.parse_args().languages or list(OVERRIDES)
    if unknown := set(languages) - set(OVERRIDES):
        parser.error(f"unknown language {', '.join(unknown)}: choose from {', '.join(OVERRIDES)}")
    began, cache = time.perf_counter(), execution_cache()
    known = executions(cache)
    for lang in languages:
        start = time.perf_counter()
        print(f"── {lang}: building", flush=True)
        build_language(lang, cache)
        print(f"── {lang}: built in {time.perf_counter() - start:.1f} s", flush=True)
    publish(languages)
    new = [page for key, page in executions(cache).items() if key not in known]
    write_seconds(new, time.perf_counter() - began)
    pages = len(re.findall(r"file:|root:", (ROOT / "_toc.yml").read_text(encoding="utf-8")))
    print(f"── {pages} pages in {' and '.join(languages)}: open {(SITE / 'index.html').relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
