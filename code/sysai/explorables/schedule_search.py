"""How soon a search finds good tiles: at random, by evolution, and by evolution with a learned model of cost.

The space and the strategies are those of `tile_search`. The maps show what no search can see, the bytes of all
schedules, and what a model expects after the measurements that were made; the curves are means over many seeds.
"""

from collections.abc import Iterable
from statistics import fmean, median, quantiles

from sysai.core.language import Text, in_language
from sysai.explorables import marks
from sysai.explorables.explorable import Dropdown, Explorable, Prediction, Slider
from sysai.explorables.tile_search import (
    PLACES,
    SIDES,
    STRATEGIES,
    TRIALS,
    Place,
    best_so_far,
    cost,
    learn,
    search,
)
from sysai.explorables.units import digits, quantity
from sysai.viz.palette import INK, PALETTE, PAPER

SEEDS = range(16)
COLOURS = {"random": "grey", "evolution": "blue", "model": "orange"}


def least(cache: int) -> int:
    """Bytes of the best schedule of all."""
    return min(cost(place, cache) for place in PLACES)


def progress(strategy: str, cache: int, batch: int) -> list[list[float]]:
    """For each seed, how many times the least bytes the best schedule moves after 1, 2, ... measurements."""
    floor = least(cache)
    return [[size / floor for size in best_so_far(search(strategy, cache, batch, seed), cache)] for seed in SEEDS]


def mean_factor(strategy: str, cache: int, batch: int, trials: int) -> float:
    """The mean over the seeds after some measurements."""
    return fmean(run[trials - 1] for run in progress(strategy, cache, batch))


def draw(language: str, *, strategy: str, trials: int, batch: int, cache: int, seed: int) -> dict:
    """The figure: the bytes of all schedules, what a model expects, and the progress of the three strategies."""
    measured = {place: cost(place, cache) for place in search(strategy, cache, batch, seed)[:trials]}
    model = learn(measured)
    expected = {place: 2 ** model.predict(place) for place in PLACES}
    return {
        "description": _describe(language, measured, expected, strategy, batch, cache, seed),
        "vconcat": [_maps(language, measured, expected, cache), _curves(language, strategy, trials, batch, cache)],
        "spacing": 12,
        "resolve": {"scale": {"color": "independent"}},
    }


def _maps(language: str, measured: dict[Place, int], expected: dict[Place, float], cache: int) -> dict:
    """Side by side: the bytes with what was measured, and what the model makes of that."""
    says = in_language(_TEXTS, language)
    truth = {place: cost(place, cache) for place in PLACES}
    best = min(measured, key=measured.get)
    hope = min(expected, key=expected.get)
    ends = [min(truth.values()) / 1e6, max(truth.values()) / 1e6]
    return {
        "hconcat": [
            _map(says["truth"], truth, ends, says, [_dots(measured), _diamond(best, True)], legend=False),
            _map(says["expected"], expected, ends, says, [_diamond(hope, False)], legend=True),
        ],
        "spacing": 20,
        "resolve": {"scale": {"color": "independent"}},
    }


def _rows(places: Iterable[Place]) -> list[dict]:
    return [{"i": SIDES[i], "j": SIDES[j]} for i, j in places]


def _map(title: str, sizes: dict, ends: list[float], says: dict, over: list[dict], legend: bool) -> dict:
    rows = [{**row, "MB": size / 1e6} for row, size in zip(_rows(sizes), sizes.values(), strict=True)]
    ticks = [tick for tick in (10, 20, 50, 100, 200, 500, 1000, 2000) if ends[0] <= tick <= ends[1]]
    gradient = {
        "title": "MB",
        "titleFontWeight": "normal",
        "orient": "right",
        "gradientLength": 140,
        "values": ticks,
        "format": ",~g",
    }
    axis = {"values": SIDES[::2], "domain": False, "ticks": False}
    encoding = {
        "x": {"field": "j", "type": "ordinal", "title": says["tile of j"], "axis": axis | {"labelAngle": 0}},
        "y": {"field": "i", "type": "ordinal", "title": says["tile of i"], "sort": "descending", "axis": axis},
    }
    scale = {"type": "log", "domain": ends, "range": [PALETTE["purple"], PAPER], "clamp": True, "nice": False}
    colour = {"field": "MB", "type": "quantitative", "scale": scale, "legend": gradient if legend else None}
    cells = {"data": {"values": rows}, "mark": {"type": "rect", "opacity": 1}, "encoding": encoding | {"color": colour}}
    above = [layer | {"encoding": encoding} for layer in over]
    return {"title": title, "width": 171, "height": 153, "layer": [cells, *above]}


def _dots(places: Iterable[Place]) -> dict:
    mark = {"type": "point", "filled": True, "size": 34, "color": INK, "opacity": 1}
    return {"data": {"values": _rows(places)}, "mark": mark}


def _diamond(place: Place, filled: bool) -> dict:
    look = {"filled": True, "color": INK} if filled else {"filled": False, "color": INK, "strokeWidth": 2.5}
    return {
        "data": {"values": _rows([place])},
        "mark": {"type": "point", "shape": "diamond", "size": 170, "opacity": 1, **look},
    }


def _curves(language: str, strategy: str, trials: int, batch: int, cache: int) -> dict:
    """Means over the seeds; of the strategy that was chosen, the middle half of the seeds as a band."""
    says = in_language(_TEXTS, language)
    rows, band = [], []
    for name in STRATEGIES:
        for trial, factors in enumerate(zip(*progress(name, cache, batch), strict=True), 1):
            rows.append({"part": says[name], "trial": trial, "times": fmean(factors)})
            if name == strategy:
                low, _, high = quantiles(factors, n=4, method="inclusive")
                band.append({"part": says[name], "trial": trial, "times": low, "high": high})
    top = max(row["times"] for row in [*rows, *band] + [{"times": row["high"]} for row in band])
    x = marks.linear(1, TRIALS) | {"title": says["trials"]}
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100) if tick <= top]
    y = marks.logarithmic(1, top) | {"title": says["times"], "axis": {"values": ticks, "format": "~g"}}
    colour = marks.colours(
        {says[name]: COLOURS[name] for name in STRATEGIES}, symbolOpacity=1, symbolType="stroke", symbolStrokeWidth=3
    )
    width = {"condition": {"test": f"datum.part === {says[strategy]!r}", "value": 3.5}, "value": 1.5}
    encoding = {"x": {"field": "trial", **x}, "y": {"field": "times", **y}}
    return {
        "width": 460,
        "height": 110,
        "layer": [
            {
                "data": {"values": band},
                "mark": {"type": "area", "opacity": 0.22},
                "encoding": encoding | {"y2": {"field": "high"}, "color": colour},
            },
            {
                "data": {"values": rows},
                "mark": {"type": "line"},
                "encoding": encoding | {"color": colour, "strokeWidth": width},
            },
            {
                "data": {"values": [{"trial": trials}]},
                "mark": {"type": "rule", "color": INK, "strokeDash": [4, 3]},
                "encoding": {"x": {"field": "trial", **x}},
            },
        ],
    }


def _describe(
    language: str,
    measured: dict[Place, int],
    expected: dict[Place, float],
    strategy: str,
    batch: int,
    cache: int,
    seed: int,
) -> str:
    says = in_language(_TEXTS, language)
    trials, floor = len(measured), least(cache)
    best = min(PLACES, key=lambda place: cost(place, cache))
    hope = min(expected, key=expected.get)
    least_found = min(measured.values())
    return says["description"].format(
        cache=cache, count=len(PLACES), floor=quantity(floor, "B"), i=SIDES[best[0]], j=SIDES[best[1]],
        middle=quantity(median(cost(place, cache) for place in PLACES), "B"), strategy=says[strategy],
        batch=batch, seed=seed, trials=trials, s="" if trials == 1 else "s", found=quantity(least_found, "B"),
        factor=digits(least_found / floor), hope_i=SIDES[hope[0]], hope_j=SIDES[hope[1]],
        hope=quantity(expected[hope], "B"), really=quantity(cost(hope, cache), "B"), seeds=len(SEEDS),
        **{name: digits(mean_factor(name, cache, batch, trials)) for name in STRATEGIES},
    )  # fmt: skip


_TEXTS: dict[str, Text] = {
    "truth": Text("bytes moved, points measured", "搬动的字节，以及测量过的点"),
    "expected": Text("what a model then expects", "模型据此作出的预测"),
    "tile of i": Text("tile of i", "i的分块"),
    "tile of j": Text("tile of j", "j的分块"),
    "random": Text("random", "随机搜索"),
    "evolution": Text("evolution", "进化搜索"),
    "model": Text("evolution with a model", "带模型的进化搜索"),
    "trials": Text("measurements", "测量次数"),
    "times": Text("best / least bytes", "已得最优/全局最优"),
    "description": Text(
        "Product of two 512 × 512 matrices, order i, j, k, tiles of 16 in k, a cache of {cache} KiB. Of {count} "
        "schedules the best moves {floor} (tiles of {i} in i, {j} in j), half of them more than {middle}. Search: "
        "{strategy}, batches of {batch}, seed {seed}. After {trials} measurement{s} the best moves {found}, "
        "{factor} × the least. A model of these measurements expects the least, {hope}, at tiles of {hope_i} "
        "and {hope_j}; really {really} are moved there. Mean over {seeds} seeds after as many measurements: "
        "random {random}, evolution {evolution}, evolution with a model {model} × the least.",
        "两个512 × 512的矩阵相乘，循环次序为i、j、k，k的分块为16，CPU缓存{cache} KiB。{count}种调度中，"
        "最好的搬动{floor}（i的分块{i}，j的分块{j}），有一半超过{middle}。{strategy}，每批测量{batch}个，"
        "随机种子{seed}：测量{trials}次之后，已得的最优搬动{found}，是全局最优的{factor}倍。模型根据这些测量"
        "预测，分块取{hope_i}和{hope_j}时搬动最少，为{hope}；那里实际搬动{really}。测量同样多次，"
        "{seeds}个种子平均：随机搜索是全局最优的{random}倍，进化搜索{evolution}倍，带模型的进化搜索{model}倍。",
    ),
}

schedule_search = Explorable(
    name="schedule_search",
    title=Text("Searching for a schedule", "搜索调度"),
    controls=(
        Dropdown(
            "strategy",
            Text("Strategy", "策略"),
            {name: _TEXTS[name] for name in STRATEGIES},
            "model",
            Text(
                "Whose measurements the map shows, and whose curve has a band: half of the seeds lie within it.",
                "分块图上画出的是这种策略的测量点；它的曲线带有阴影，一半的随机种子落在阴影之内。",
            ),
        ),
        Slider(
            "trials",
            Text("Measurements", "测量次数"),
            (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32),
            16,
            help=Text(
                "On a machine each takes a compilation and a run, about a second.",
                "在真实的机器上，每次测量都要编译一次、运行一次，大约一秒。",
            ),
        ),
        Slider(
            "batch",
            Text("Size of a batch", "每批测量数"),
            (1, 2, 4, 8, 16),
            4,
            help=Text(
                "Chosen together; evolution and the model learn when the batch is done.",
                "一批一起选定；测完一批，进化和模型才学到东西。",
            ),
        ),
        Slider(
            "cache",
            Text("Cache", "CPU缓存"),
            (8, 16, 32, 64, 128, 256, 512),
            32,
            Text("KiB", "KiB"),
            Text("Where tiles no longer fit, the map has a cliff.", "分块大到放不下的地方，图上就有一处断崖。"),
        ),
        Slider(
            "seed",
            Text("Seed", "随机种子"),
            tuple(SEEDS),
            0,
            help=Text("Of the search that the map shows.", "分块图所示的那次搜索的种子。"),
        ),
    ),
    draw=draw,
    prediction=Prediction(
        question=Text(
            "A cache of 32 KiB, batches of 4. Random search has measured 12 of the 81 schedules. How many times "
            "the least bytes does its best one move, on average over the seeds?",
            "CPU缓存32 KiB，每批4个。随机搜索测量了81种调度中的12种。其中最好的一种，搬动的字节平均是全局最优的几倍？",
        ),
        unit=Text("times", "倍"),
        answer=lambda *, strategy, trials, batch, cache, seed: mean_factor(strategy, cache, batch, trials),
        settings={"strategy": "random", "trials": 12, "batch": 4, "cache": 32, "seed": 0},
    ),
)
