"""The serving engine's scheduler on a timeline: every step of twelve requests, and the blocks of one of the steps.

Runs are those of `serving_runs`: the scheduler that serves, on the simulator's clock.
"""

from statistics import fmean

from sysai.core.language import Text, in_language
from sysai.explorables import marks
from sysai.explorables.block_map import block_map, uses
from sysai.explorables.explorable import Dropdown, Explorable, Prediction, Slider
from sysai.explorables.serving_runs import (
    BLOCK_SIZE,
    DECODE,
    MAX_NUM_SEQS,
    PREEMPTED,
    PREFILL,
    RECOMPUTATION,
    REQUESTS,
    WAITING,
    Moment,
    RequestInterval,
    ServingRun,
    serve,
    step_budget,
)
from sysai.explorables.units import digits
from sysai.viz.palette import INK, PAPER

WIDTH = 480
IDLE = (WAITING, PREEMPTED)
COLOURS = {WAITING: "grey", PREFILL: "orange", DECODE: "blue", PREEMPTED: "red", RECOMPUTATION: "purple"}


def draw(language: str, *, moment: int, **settings: float | str) -> dict:
    """The figure: a row of intervals for each request, and below the blocks at the chosen step."""
    run = _run(**settings)
    number = round(moment / 100 * (len(run.moments) - 1))
    return {
        "description": _describe(language, run, number, **settings),
        "vconcat": [
            _timeline(language, run, run.moments[number]),
            block_map(language, run.moments[number], settings["blocks"], WIDTH),
        ],
        "spacing": 12,
        "resolve": {"scale": {"color": "independent", "opacity": "independent"}},
    }


def _run(*, policy: str, budget: int, rate: float, blocks: int, prefix: str, seed: int) -> ServingRun:
    return serve(policy, budget, rate, blocks, prefix == "on", seed)


def _timeline(language: str, run: ServingRun, moment: Moment) -> dict:
    """Bars of steps, thin ones of waiting, and a line through the step that is shown below."""
    names = in_language(_TEXTS, language)
    end = run.moments[-1].start + run.moments[-1].seconds
    x = {"axis": {"tickCount": 8, "grid": False}, **marks.linear(0, end)}
    bare = {"domain": False, "ticks": False}
    y = {"field": "request", "type": "nominal", "sort": [str(i) for i in range(REQUESTS)], "title": names["request"]}
    encoding = {
        "x": {"field": "start", **x, "title": names["time"]},
        "x2": {"field": "end"},
        "y": y | {"axis": bare},
        "color": marks.colours({names[state]: colour for state, colour in COLOURS.items()}),
    }
    rows = [
        {"request": str(i.request), "part": names[i.state], "start": i.start, "end": i.end, "idle": i.state in IDLE}
        for i in _joined(run.intervals, least=3 * end / WIDTH)
    ]
    return {
        "width": WIDTH,
        "height": 13 * REQUESTS,
        "layer": [
            {
                "data": {"values": [row for row in rows if row["idle"]]},
                "mark": {"type": "bar", "height": 3},
                "encoding": encoding,
            },
            {
                "data": {"values": [row for row in rows if not row["idle"]]},
                "mark": {"type": "bar", "height": 10, "stroke": PAPER, "strokeWidth": 0.7},
                "encoding": encoding,
            },
            {
                "data": {"values": [{"now": moment.start + moment.seconds / 2}]},
                "mark": {"type": "rule", "color": INK, "strokeWidth": 1.5},
                "encoding": {"x": {"field": "now", **x}},
            },
        ],
    }


def _joined(intervals: list[RequestInterval], least: float) -> list[RequestInterval]:
    """Steps of one kind that follow each other, joined until they are `least` seconds long and can be seen."""
    joined: list[RequestInterval] = []
    for interval in sorted(intervals, key=lambda interval: (interval.request, interval.start)):
        last = joined[-1] if joined else None
        follows = last and (last.request, last.state, last.end) == (interval.request, interval.state, interval.start)
        if follows and (interval.end - last.start <= least or interval.state in IDLE):
            joined[-1] = RequestInterval(last.request, last.state, last.start, interval.end)
        else:
            joined.append(interval)
    return joined


def _describe(language: str, run: ServingRun, number: int, **settings: float | str) -> str:
    says, moment, report = in_language(_TEXTS, language), run.moments[number], run.report
    blocks = uses(moment, settings["blocks"])
    queried, cached = run.result.queried_tokens, run.result.cached_tokens
    parts = [says["whole" if settings["policy"] == "static" else "chunks"], says["setting"], says["result"]]
    parts += [says["again" if run.result.preemptions else "in peace"], says["cached"] if queried else ""]
    parts += [says["step"]]
    return "".join(parts).format(
        policy=_POLICIES[settings["policy"]][language],
        budget=step_budget(settings["policy"], settings["budget"]),
        most=MAX_NUM_SEQS,
        rate=digits(settings["rate"]),
        blocks=settings["blocks"],
        size=BLOCK_SIZE,
        requests=REQUESTS,
        seconds=digits(report.seconds),
        steps=run.result.steps,
        throughput=digits(report.throughput),
        mean=digits(fmean(timing.ttft for timing in run.result.timings)),
        worst=digits(report.ttft[100]),
        tpot=digits(1e3 * report.tpot[50]),
        gap=digits(1e3 * report.gap[100]),
        preemptions=run.result.preemptions,
        s="s" * (run.result.preemptions > 1),
        recomputed=run.recomputed,
        cached=digits(100 * cached / queried) if queried else "",
        number=number + 1,
        tokens=moment.tokens,
        s_tokens="s" * (moment.tokens > 1),
        computing=moment.computing,
        s_computing="s" * (moment.computing > 1),
        length=digits(1e3 * moment.seconds),
        waiting=moment.waiting,
        **{use: blocks[use] for use in ("one", "several", "kept", "free")},
    )


def mean_ttft(**settings: float | str) -> float:
    """Seconds from arrival to first token, in the mean over the requests."""
    return fmean(timing.ttft for timing in _run(**settings).result.timings)


_TEXTS: dict[str, Text] = {
    WAITING: Text("waiting", "等待"),
    PREFILL: Text("prefill", "预填充"),
    DECODE: Text("decode", "解码"),
    PREEMPTED: Text("preempted", "被抢占"),
    RECOMPUTATION: Text("computed again", "重新计算"),
    "request": Text("request", "请求"),
    "time": Text("time (s)", "时间（s）"),
    "whole": Text(
        "{policy}, batches of at most {most} requests, their prompts read whole; ",
        "{policy}，每批至多{most}个请求，提示词整段读入；",
    ),
    "chunks": Text(
        "{policy}, at most {budget} tokens a step and {most} requests; ",
        "{policy}，每步至多{budget}个词元、{most}个请求；",
    ),
    "setting": Text(
        "{rate} requests/s arrive, {blocks} blocks of {size} positions. Steps are as long as those of SmolLM2-135M "
        "on two cores. ",
        "每秒到达{rate}个请求，共{blocks}个块，每块{size}个位置；每步用时与SmolLM2-135M在双核上的实测相当。",
    ),
    "result": Text(
        "{requests} requests take {seconds} s and {steps} steps, {throughput} tokens/s. The first token comes "
        "after {mean} s in the mean, {worst} s at worst; TPOT is {tpot} ms in the median, and the longest pause "
        "between two tokens {gap} ms. ",
        "{requests}个请求历时{seconds} s，共{steps}步，每秒{throughput}个词元。首词元延迟平均{mean} s，"
        "最长{worst} s；每输出词元时间的中位数为{tpot} ms，相邻两个词元之间最长停顿{gap} ms。",
    ),
    "again": Text(
        "{preemptions} preemption{s}; {recomputed} tokens computed again. ",
        "抢占{preemptions}次，{recomputed}个词元重新计算。",
    ),
    "in peace": Text("No preemption. ", "没有抢占。"),
    "cached": Text("The prefix cache had {cached}% of what it was asked for. ", "前缀缓存的命中率为{cached}%。"),
    "step": Text(
        "Step {number}, at the line: {tokens} token{s_tokens} of {computing} request{s_computing} in {length} ms, "
        "{waiting} waiting; of the blocks {one} are one request's, {several} shared, {kept} kept, {free} free.",
        "竖线处是第{number}步：计算{computing}个请求的{tokens}个词元，用时{length} ms，{waiting}个请求在等待；"
        "块中{one}个由一个请求独占，{several}个共享，{kept}个由前缀缓存保留，{free}个空闲。",
    ),
}

_POLICIES: dict[str, Text] = {
    "static": Text("Static batching", "静态批处理"),
    "first_come": Text("First come, first served", "先来先服务"),
    "shortest": Text("Shortest first", "短请求优先"),
}

continuous_batching = Explorable(
    name="continuous_batching",
    title=Text("Continuous batching, step by step", "连续批处理：逐步查看"),
    controls=(
        Dropdown(
            "policy",
            Text("Policy", "策略"),
            _POLICIES,
            "first_come",
            Text(
                "Static: a batch forms when the one before is done. The two others fill every step anew.",
                "静态批处理要等上一批全部完成才组成下一批；另外两种策略每一步都重新安排。",
            ),
        ),
        Slider(
            "budget",
            Text("Token budget", "词元预算"),
            (16, 32, 64, 128, 256, 512),
            64,
            Text("tokens", "个词元"),
            Text(
                "What a step computes at most: decoding requests take one each, chunks of prompts the rest.",
                "一步至多计算多少词元：解码的请求各占一个，其余分给提示词。",
            ),
        ),
        Slider(
            "rate",
            Text("Arrivals", "到达率"),
            (1, 1.5, 2, 3, 4, 6, 8, 16),
            3,
            Text("requests/s", "个请求/s"),
            Text(
                "In the mean; a Poisson process. The requests stay the same, only the gaps between them shrink.",
                "平均值，按泊松过程到达。请求不变，只是间隔缩短。",
            ),
        ),
        Slider(
            "blocks",
            Text("Blocks", "块数"),
            (16, 20, 24, 28, 32, 40, 48, 64),
            32,
            Text("", "个"),
            Text(
                "Memory for keys and values, 16 positions a block. The longest request takes 12.",
                "存放键和值的内存，每块16个位置。最长的请求要用12块。",
            ),
        ),
        Dropdown(
            "prefix",
            Text("Prefix caching", "前缀缓存"),
            {"off": Text("off", "关"), "on": Text("on", "开")},
            "off",
            Text("About half of the requests begin with the same 64 tokens.", "大约一半请求的前64个词元相同。"),
        ),
        Slider(
            "moment",
            Text("Step shown", "查看的步"),
            tuple(range(101)),
            50,
            Text("% of the steps", "%"),
            Text(
                "Whose blocks are drawn, counted from the first step to the last.",
                "下方画出这一步的块；从第一步数到最后一步。",
            ),
        ),
        Slider(
            "seed",
            Text("Seed", "随机种子"),
            tuple(range(8)),
            0,
            help=Text("Of arrivals and lengths.", "决定到达时刻与长度。"),
        ),
    ),
    draw=draw,
    prediction=Prediction(
        question=Text(
            "Twelve requests arrive at 3 a second; memory is enough for all. First come, first served computes at "
            "most 64 tokens a step. If batches are static instead, at most 8 requests with their prompts read "
            "whole, how many times as long is the wait for the first token, in the mean?",
            "十二个请求，每秒到达3个，内存足够所有请求使用。先来先服务的连续批处理每步至多计算64个词元；换成静态批处理，"
            "每批至多8个请求，提示词整段读入，首词元延迟平均是原来的几倍？",
        ),
        unit=Text("times", "倍"),
        answer=lambda *, moment, policy, **settings: (
            mean_ttft(policy=policy, **settings) / mean_ttft(policy="first_come", **settings)
        ),
        settings={
            "policy": "static",
            "budget": 64,
            "rate": 3,
            "blocks": 64,
            "prefix": "off",
            "moment": 50,
            "seed": 0,
        },
    ),
)
