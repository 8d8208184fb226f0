"""The sites as they are published: site/index.html, site/en and site/zh, and once for both what explorables load."""

from __future__ import annotations

import shutil
from pathlib import Path

from .explorable_files import files
from .light_pages import unused_files
from .sites import OUT, ROOT, site_url

SITE = ROOT / "site"


def publish(languages: list[str]) -> None:
    """Copy the sites to site/, with the landing page that picks the reader's language."""
    SITE.mkdir(exist_ok=True)
    for source, target in (("landing.html", "index.html"), ("404.html", "404.html")):
        text = (ROOT / "book" / source).read_text(encoding="utf-8")
        write_if_changed(SITE / target, text.replace("{{ site_url }}", site_url()).encode())
    (SITE / ".nojekyll").touch()
    publish_explorables(SITE / "explorables")
    for lang in languages:
        publish_site(OUT / lang / "html", SITE / lang)


def publish_site(built: Path, folder: Path) -> None:
    """Copy what pages load of a site that was built, and remove what earlier ones left in the folder."""
    unused = unused_files(built)
    wanted = {
        folder / source.relative_to(built): source
        for source in built.rglob("*")
        if source.is_file() and source not in unused and source.name != ".buildinfo"
    }
    remove_others(folder, set(wanted))
    for target, source in wanted.items():
        copy_if_changed(source, target)


def publish_explorables(folder: Path) -> None:
    """Put what explorables load beside the sites, and remove what earlier versions left there."""
    wanted = {folder / name: source for name, source in files().items()}
    remove_others(folder, set(wanted))
    for target, source in wanted.items():
        copy_if_changed(source, target) if isinstance(source, Path) else write_if_changed(target, source)


def remove_others(folder: Path, wanted: set[Path]) -> None:
    """Remove the files of a folder that are not wanted, and folders that hold none that is."""
    for old in sorted(folder.rglob("*"), reverse=True):
        if old.is_dir() and not any(old.iterdir()):
            old.rmdir()
        elif old.is_file() and old not in wanted:
            old.unlink()


def copy_if_changed(source: Path, target: Path) -> None:
    """Copy a file unless the target holds the same, by size and time."""
    new, old = source.stat(), target.stat() if target.exists() else None
    if old is None or (old.st_size, old.st_mtime_ns) != (new.st_size, new.st_mtime_ns):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def write_if_changed(target: Path, content: bytes) -> None:
    """Write a file unless it holds the same."""
    if not target.exists() or target.read_bytes() != content:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
