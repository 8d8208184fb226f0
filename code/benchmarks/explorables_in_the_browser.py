"""How long a reader waits for an explorable: from the first touch to the first figure, then per step; what it loads.

Each round is a new reader with an empty cache, on this machine and without a network's delay. A step is one move of
a slider: Python computes the figure's specification, Vega draws it, the page shows it.

    python code/benchmarks/explorables_in_the_browser.py [--site site] [--page PAGE] [--rounds 5]
"""

import argparse
import sys
from pathlib import Path
from statistics import median
from urllib.parse import unquote, urlsplit

from playwright.sync_api import sync_playwright
from sysai.core.device import describe_device

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "code/tests/browser"))
from chromium import ARGUMENTS, find_chromium  # noqa: E402
from server import BASE, COMPRESSED, compressed, serve  # noqa: E402

# Move a slider one place as soon as it is touched; milliseconds until the figure is drawn.
STEP = """async box => {
  const element = document.getElementById(box), slider = element.querySelector("[type=range]");
  const drawn = new Promise(done => element.addEventListener("explorable-drawn", done, { once: true }));
  const start = performance.now();
  slider.focus();
  slider.value = slider.value === "0" ? 1 : slider.value - 1;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  await drawn;
  return performance.now() - start;
}"""
BOXES = "boxes => boxes.map(box => box.id)"


def read_once(browser, address: str, page_path: str, rounds: int) -> tuple[float, dict[str, list[float]], list[str]]:
    """One new reader: ms to the first figure, ms of each explorable's steps, addresses loaded by the touch."""
    context = browser.new_context()
    context.set_default_timeout(180_000)
    loaded = []
    context.on("requestfinished", lambda request: loaded.append(request.url))
    page = context.new_page()
    page.goto(address + page_path, wait_until="networkidle")
    loaded.clear()
    boxes = page.locator(".explorable").evaluate_all(BOXES)
    first = page.evaluate(STEP, boxes[0])
    steps = {box: [page.evaluate(STEP, box) for _ in range(rounds + 1)][1:] for box in boxes}
    page.wait_for_load_state("networkidle")
    context.close()
    return first, steps, loaded


def spread(milliseconds: list[float]) -> str:
    """`1,234 ms (1,200 to 1,300)`."""
    return f"{median(milliseconds):,.0f} ms ({min(milliseconds):,.0f} to {max(milliseconds):,.0f})"


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", type=Path, default=ROOT / "site")
    parser.add_argument("--page", help="relative to the site; default: the first page that has explorables")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    site, rounds = arguments.site.resolve(), arguments.rounds
    pages = (path for path in sorted(site.glob("en/**/*.html")) if 'class="explorable"' in path.read_text("utf-8"))
    page_path = arguments.page or next(pages).relative_to(site).as_posix()
    with serve(site) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        readers = [read_once(browser, address, page_path, rounds) for _ in range(rounds)]
        print(
            f"{page_path}, Chromium {browser.version}, {describe_device('cpu')}; median of {rounds} (least to most)\n"
        )
        browser.close()
    print(f"| from the first touch to the first figure | {spread([first for first, _, _ in readers])} |\n|---|---|")
    for box in readers[-1][1]:
        steps = [median(of_reader[box]) for _, of_reader, _ in readers]
        print(f"| a step of {box.removeprefix('explorable-')} | {spread(steps)} |")
    print("\n| loaded after the touch | kB | kB with gzip |\n|---|---|---|")
    sizes = {}
    for url in (url for url in readers[-1][2] if "/explorables/" in url):
        path = site / unquote(urlsplit(url).path).removeprefix(BASE)
        raw = path.stat().st_size
        sizes[path.name] = raw, len(compressed(path)) if path.suffix in COMPRESSED else raw
    for name, (raw, sent) in sorted(sizes.items(), key=lambda item: -item[1][1]):
        print(f"| {name} | {raw / 1000:,.0f} | {sent / 1000:,.0f} |")
    print(
        "| sum |" + "|".join(f" {sum(size[column] for size in sizes.values()) / 1000:,.0f} " for column in (0, 1)) + "|"
    )


if __name__ == "__main__":
    main()
