"""The two sites: what differs between the languages, where they are published, and how one is built."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml
from sysai.core.language import Text

ROOT = Path(__file__).parents[2]
OUT = ROOT / "_build"
CONFIGURED = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))

OVERRIDES = {
    "en": {"language": "en"},
    "zh": {
        "language": "zh_CN",
        "html_title": "人工智能系统",
        "author": "《人工智能系统》作者",
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
DATE_FORMATS = Text("%b %d, %Y", "%Y 年 %m 月 %d 日")


def repository_url() -> str:
    """The repository that pages link to: a workflow's own, else the one in _config.yml."""
    return os.environ.get("SYSAI_REPOSITORY_URL", CONFIGURED["repository"]["url"]).rstrip("/")


def site_url() -> str:
    """Where GitHub Pages serves the sites of that repository."""
    owner, name = repository_url().split("/")[-2:]
    return f"https://{owner.lower()}.github.io/{name}/"


def last_change() -> date | None:
    """The day of the last commit, which pages show: the day of the build would make two builds differ."""
    done = subprocess.run(["git", "log", "-1", "--format=%cs"], cwd=ROOT, capture_output=True, text=True, check=False)
    return date.fromisoformat(done.stdout.strip()) if done.stdout.strip() else None


@dataclass(frozen=True)
class Result:
    """How the build of a site went."""

    language: str
    built: bool  # without a warning
    seconds: float
    warnings: str


def build_site(lang: str, cache: Path, explorables_worker: str, root: Path = ROOT) -> Result:
    """Build one site of the book in `root` into its _build/<lang>/html, with the outputs that the cache holds."""
    from jupyter_book.sphinx import build_sphinx
    from sphinx.locale import translators

    translators.clear()  # a process that built the other language before has its words for figures left in there
    overrides, changed, start = dict(OVERRIDES[lang]), last_change(), time.perf_counter()
    overrides["html_theme_options"] = {
        "repository_url": repository_url(),
        **overrides.get("html_theme_options", {}),
    }
    with contextlib.redirect_stderr(io.StringIO()) as warnings:
        failed = build_sphinx(
            root,
            root / f"_build/{lang}/html",
            doctreedir=root / f"_build/{lang}/doctrees",
            path_config=root / "_config.yml",
            noconfig=True,
            warningiserror=True,
            keep_going=True,
            quiet=True,
            confoverrides={
                **overrides,
                "latex_individualpages": False,
                "external_toc_path": "_toc.yml",
                "html_baseurl": f"{site_url()}{lang}/",
                "html_last_updated_fmt": changed and changed.strftime(DATE_FORMATS[lang]),
                "book_site_url": site_url(),
                "book_addresses": [CONFIGURED["repository"]["url"], repository_url()],
                "explorables_worker": explorables_worker,
                "nb_execution_cache_path": str(cache),
            },
        )
    return Result(lang, not failed, time.perf_counter() - start, warnings.getvalue())
