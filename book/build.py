"""Build both sites: `python book/build.py` writes site/index.html, site/en and site/zh.

Where nothing that they are made from has changed, that is all that is found out. Else the book's code is executed
where no outputs of it are kept, and each language is a Sphinx build of the same sources, in a process of its own, by
the function that the `jupyter-book` command calls.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from sphinx_sysai.inputs import inputs_digest, listing_digest
from sphinx_sysai.sites import CONFIGURED, OUT, OVERRIDES, ROOT

SITE = ROOT / "site"
BUILT = OUT / "built"


def state(inputs: str, languages: list[str]) -> str:
    """What the last build is known by: what it was made from, and what it left."""
    left = listing_digest(SITE, *(OUT / "notebooks" / lang for lang in languages))
    return hashlib.sha256(f"{inputs} {languages} {left}".encode()).hexdigest()


def pages() -> list[Path]:
    """The pages that _toc.yml lists."""
    names = re.findall(r"(?:file|root): *([\w./-]+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [ROOT / f"{name}.md" for name in names]


def execute_pages() -> tuple[Path, dict[str, float]]:
    """Execute the code whose outputs are not in the cache; the cache's folder, and the seconds of each chapter."""
    from nbclient.exceptions import CellControlSignal, CellExecutionError
    from sphinx_sysai.cells import has_code
    from sphinx_sysai.execution import execute, execution_cache

    cache, chapters = execution_cache(OUT / "jupyter_cache"), {}
    for page in filter(has_code, pages()):
        try:
            seconds = execute(page, cache, CONFIGURED["execute"]["timeout"])
        except (CellExecutionError, CellControlSignal) as error:
            sys.exit(f"{error}\n{page.relative_to(ROOT)} was not executed: mend the cell above.")
        if seconds is not None:
            print(f"── {page.relative_to(ROOT)}: executed in {seconds:.1f} s", flush=True)
            if chapter := re.match(r"chapters/(\d\d)-", page.relative_to(ROOT).as_posix()):
                chapters[chapter[1]] = seconds
    return cache, chapters


def write_seconds(chapters: dict[str, float], whole: float) -> None:
    """Note what each chapter's execution took of the build, for the table that `make test` ends with."""
    file = OUT / "times/book.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(chapters | {"fixed": whole - sum(chapters.values())}), encoding="utf-8")


def build(languages: list[str]) -> None:
    """Make the sites of the languages; ends the program where one gives a warning."""
    from sphinx_sysai.cells import has_code
    from sphinx_sysai.explorable_files import worker_address
    from sphinx_sysai.labels import chinese_cache
    from sphinx_sysai.publishing import publish
    from sphinx_sysai.sites import build_site

    start = time.perf_counter()
    cache, chapters = execute_pages()
    chinese, faults, notes = chinese_cache(cache, [*filter(has_code, pages())])
    if notes:
        print("\n\n".join(["Labels of outputs that depend on the machine:", *notes]), flush=True)
    if faults:
        sys.exit("\n\n".join([*faults, "Not built: mend the tables of labels above."]))
    caches = {"en": cache, "zh": chinese}
    with ProcessPoolExecutor(len(languages)) as processes:
        running = [processes.submit(build_site, lang, caches[lang], worker_address()) for lang in languages]
        results = [process.result() for process in running]
    for result in results:
        print(f"{result.warnings}── {result.language}: {result.seconds:.1f} s", flush=True)
    if failed := [result.language for result in results if not result.built]:
        sys.exit(f"Not built: {' and '.join(failed)}. Mend the warnings above.")
    publish(languages)
    write_seconds(chapters, time.perf_counter() - start)


def main() -> None:
    """Build the languages named on the command line, or both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("languages", nargs="*", metavar="en|zh", help="default: both")
    languages = parser.parse_args().languages or list(OVERRIDES)
    if unknown := set(languages) - set(OVERRIDES):
        parser.error(f"unknown language {', '.join(unknown)}: choose from {', '.join(OVERRIDES)}")
    start, inputs = time.perf_counter(), inputs_digest()
    changed = not BUILT.exists() or BUILT.read_text(encoding="utf-8") != state(inputs, languages)
    if changed:
        BUILT.unlink(missing_ok=True)
        build(languages)
        BUILT.write_text(state(inputs, languages), encoding="utf-8")
    done = f"built in {time.perf_counter() - start:.1f} s" if changed else "nothing has changed"
    print(f"── {len(pages())} pages in {' and '.join(languages)}, {done}: open {os.path.relpath(SITE / 'index.html')}")


if __name__ == "__main__":
    main()
