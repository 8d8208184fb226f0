"""A pipeline schedule drawn and timed: what each device does when, how long it waits, and what it holds meanwhile.

The schedules are those that the runtime executes, timed by `sysai.parallel.pipeline.simulate`.
"""

from sysai.core.language import Text, in_language
from sysai.explorables import marks
from sysai.explorables.explorable import Dropdown, Explorable, Prediction, Slider
from sysai.explorables.pipelines import most_held, timed
from sysai.explorables.units import digits
from sysai.parallel.pipeline.schedules import B, F, PipelineSchedule, W
from sysai.parallel.pipeline.timeline import OperationInterval, Timeline
from sysai.viz.palette import INK, PAPER

WIDTH = 480
_SHADES = {"type": "quantitative", "scale": {"domain": [0, 1], "range": [0, 1]}}


def draw(language: str, **settings: float | str) -> dict:
    """The figure: the passes of each device, and below what the first and the last one hold."""
    schedule, timeline = timed(**settings)
    end = max(intervals[-1].end for intervals in timeline.devices)
    x = {"axis": {"tickCount": 8, "grid": False}, **marks.linear(0, end)}
    return {
        "description": _describe(language, schedule, timeline, **settings),
        "vconcat": [_passes(language, schedule, timeline, x, WIDTH / end), _memory(language, schedule, timeline, x)],
        "spacing": 10,
        "resolve": {"scale": {"color": "independent"}},
    }


def _passes(language: str, schedule: PipelineSchedule, timeline: Timeline, x: dict, pixels: float) -> dict:
    """A bar for each pass, paler in later chunks of a device; the micro-batch's number where it has room."""
    names, chunks = in_language(_TEXTS, language), schedule.stages // schedule.devices
    split = any(interval.operation.kind == W for interval in timeline.devices[0])
    kinds = {names[F]: "blue", names[B if split else "both"]: "orange"} | ({names[W]: "green"} if split else {})
    shade = {
        stage: i / max(1, chunks - 1) for d in range(schedule.devices) for i, stage in enumerate(schedule.stages_on(d))
    }

    def row(interval: OperationInterval) -> dict:
        kind, stage, j = interval.operation
        name = names[kind if kind in (F, W) else B if split else "both"]
        bar = {"device": str(interval.device), "part": name, "start": interval.start, "end": interval.end}
        return bar | {"stage": stage, "microbatch": j, "opacity": 1 - 0.65 * shade[stage]}

    # a number is drawn where its bar has 6 pixels a digit
    rows = [row(interval) for intervals in timeline.devices for interval in intervals]
    labelled = [
        row | {"middle": (row["start"] + row["end"]) / 2, "text": str(row["microbatch"])}
        for row in rows
        if (row["end"] - row["start"]) * pixels >= 6 * len(str(row["microbatch"])) + 2
    ]
    devices = [str(device) for device in range(schedule.devices)]
    bare = {"domain": False, "ticks": False}
    y = {"field": "device", "type": "nominal", "sort": devices, "title": names["device"], "axis": bare}
    label = {"type": "text", "baseline": "middle", "fontSize": 10}
    number = {"x": {"field": "middle", **x}, "y": y, "text": {"field": "text"}}
    return {
        "width": WIDTH,
        "height": 22 * schedule.devices,
        "layer": [
            {
                "data": {"values": rows},
                "mark": {"type": "bar", "height": 18, "stroke": PAPER, "strokeWidth": 0.7},
                "encoding": {
                    "x": {"field": "start", **x, "title": None},
                    "x2": {"field": "end"},
                    "y": y,
                    "color": marks.colours(kinds),
                    "opacity": {"field": "opacity", **_SHADES, "legend": None},
                },
            },
            *(
                {
                    "data": {"values": [row for row in labelled if (row["opacity"] < 0.6) == pale]},
                    "mark": label | {"color": INK if pale else PAPER},
                    "encoding": number,
                }
                for pale in (False, True)
            ),
        ],
    }


def _memory(language: str, schedule: PipelineSchedule, timeline: Timeline, x: dict) -> dict:
    """A line of what is held for the first device, and one for the last."""
    names = in_language(_TEXTS, language)
    colours = {names["held by"].format(0): "purple", names["held by"].format(schedule.devices - 1): "grey"}
    share = schedule.devices / schedule.stages
    rows = [
        {"part": name, "time": time, "held": share * held}
        for name, device in zip(colours, (0, schedule.devices - 1), strict=True)
        for time, held in {0.0: 0.0, **{time: held.amount() for time, held in timeline.held(device)}}.items()
    ]
    y = marks.linear(0, 1.1 * max(row["held"] for row in rows))
    return {
        "width": WIDTH,
        "height": 70,
        "data": {"values": rows},
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2},
        "encoding": {
            "x": {"field": "time", **x, "title": names["time"]},
            "y": {"field": "held", **y, "title": names["in flight"], "axis": {"tickCount": 3}},
            "color": marks.colours(colours, symbolType="stroke", symbolStrokeWidth=3),
        },
    }


def _describe(language: str, generated: PipelineSchedule, timeline: Timeline, **settings: float | str) -> str:
    says, held = in_language(_TEXTS, language), most_held(generated)
    asked, shown = settings["microbatches"], generated.microbatches
    reference, reference_timeline = timed(**settings | {"schedule": "1f1b", "microbatches": shown})
    parts = [says["changed"] if asked != shown else "", says["setting"], says["slow"] if settings["slow"] > 1 else ""]
    parts += [says["result"], says["chunks"] if generated.stages > generated.devices else ""]
    parts += [says["even" if min(held) == max(held) else "uneven"]]
    parts += [says["reference"] if settings["schedule"] != "1f1b" else ""]
    return "".join(parts).format(
        asked=asked,
        stages=generated.devices,
        shown=shown,
        es="es" * (shown > 1),
        name=_SCHEDULES[settings["schedule"]][language],
        b=digits(settings["backward_input"]),
        w=digits(settings["backward_weight"]),
        message=digits(settings["message"]),
        slow=digits(settings["slow"]),
        cost=digits(timeline.cost),
        rate=_percent(timeline),
        most=digits(max(held)),
        most_es="es" * (max(held) > 1),
        where=says["comma"].join(str(i) for i, amount in enumerate(held) if amount == max(held)),
        least=digits(min(held)),
        reference_rate=_percent(reference_timeline),
        reference_most=digits(max(most_held(reference))),
    )


def _percent(timeline: Timeline) -> str:
    return f"{100 * max(0.0, timeline.bubble_rate):.1f}"


_TEXTS: dict[str, Text] = {
    F: Text("forward", "前向"),
    B: Text("backward, input", "反向：对输入"),
    W: Text("backward, weights", "反向：对权重"),
    "both": Text("backward", "反向"),
    "device": Text("device", "设备"),
    "time": Text("time (forward passes)", "时间（一次前向为1）"),
    "in flight": Text("held", "微批次数"),
    "held by": Text("held by device {}", "设备{}持有"),
    "comma": Text(", ", "、"),
    "changed": Text(
        "Interleaving takes micro-batches in rounds of {stages}, the number of devices, and {asked} are no whole "
        "rounds: {shown} are shown. ",
        "交错式调度按轮取微批次，每轮{stages}个，与设备数相同；{asked}个凑不成整轮，这里画的是{shown}个。",
    ),
    "setting": Text(
        "{name}, {stages} devices, {shown} micro-batch{es}; a forward takes 1, its backward {b} for the input and "
        "{w} for the weights, a message {message}. ",
        "{name}，{stages}台设备，{shown}个微批次；前向用时1，反向对输入{b}、对权重{w}，消息{message}。",
    ),
    "slow": Text("The last device is {slow} times as slow. ", "最后一台设备的用时是其他设备的{slow}倍。"),
    "result": Text(
        "From first to last pass a device takes up to {cost}; on average {rate}% of that is bubble. ",
        "设备从第一次计算到最后一次，最长历时{cost}，其中平均{rate}%是气泡。",
    ),
    "chunks": Text("Paler passes are those of a device's later chunks. ", "颜色较浅的，属于同一设备靠后的段。"),
    "even": Text(
        "Each holds the activations of at most {most} micro-batch{most_es}.",
        "每台设备最多同时持有{most}个微批次的激活值。",
    ),
    "uneven": Text(
        "Most is held by device {where}, the activations of {most} micro-batches; least is {least}.",
        "持有最多的是设备{where}，达{most}个微批次的激活值；最少的是{least}个。",
    ),
    "reference": Text(
        " 1F1B at the same setting: a bubble of {reference_rate}%, at most {reference_most} held.",
        "同样条件下，1F1B的气泡为{reference_rate}%，最多持有{reference_most}个。",
    ),
}

_SCHEDULES: dict[str, Text] = {
    "gpipe": Text("GPipe", "GPipe"),
    "1f1b": Text("1F1B", "1F1B"),
    "interleaved_2": Text("Interleaved 1F1B, 2 chunks", "交错式1F1B，每台2段"),
    "interleaved_4": Text("Interleaved 1F1B, 4 chunks", "交错式1F1B，每台4段"),
    "zb_h1": Text("ZB-H1", "ZB-H1"),
    "zb_h2": Text("ZB-H2", "ZB-H2"),
    "zb_v": Text("ZB-V", "ZB-V"),
}

_FORWARDS = Text("× forward", "次前向")
_PASS = ((0.5, 0.75, 1, 1.25, 1.5, 2), 1, _FORWARDS)

pipeline_schedule = Explorable(
    name="pipeline_schedule",
    title=Text("Pipeline schedules and their bubbles", "流水线调度与气泡"),
    controls=(
        Dropdown(
            "schedule",
            Text("Schedule", "调度"),
            _SCHEDULES,
            "1f1b",
            Text(
                "In which order each device takes its passes. Only the three ZB split the backward pass.",
                "各设备计算的次序。只有三种ZB调度把反向传播拆成两部分。",
            ),
        ),
        Slider(
            "stages",
            Text("Devices", "设备数"),
            (2, 3, 4, 6, 8),
            4,
            Text("", "台"),
            Text(
                "Each holds one part of the layers, or several where a schedule has chunks.",
                "每台持有一部分层；有些调度把这部分再切成几段。",
            ),
        ),
        Slider(
            "microbatches",
            Text("Micro-batches", "微批次数"),
            (1, 2, 3, 4, 6, 8, 12, 16),
            8,
            Text("", "个"),
            Text(
                "Into as many parts the batch is cut; interleaving takes them in rounds.",
                "一个批次切成几份；交错式调度按轮次取用。",
            ),
        ),
        Slider(
            "backward_input",
            Text("Backward, input", "反向，对输入"),
            *_PASS,
            Text(
                "Time for the gradient of the input, for which the device before is waiting.",
                "计算对输入的梯度所用的时间；前一台设备在等这个结果。",
            ),
        ),
        Slider(
            "backward_weight",
            Text("Backward, weights", "反向，对权重"),
            *_PASS,
            Text(
                "Time for the gradients of the weights, for which nobody waits until the step ends.",
                "计算对权重的梯度所用的时间；这一步结束之前没有谁要等它。",
            ),
        ),
        Slider(
            "slow",
            Text("Slowness of the last device", "最后一台的用时倍数"),
            (1, 1.25, 1.5, 2, 3),
            1,
            Text("×", "倍"),
            Text(
                "All its passes take so many times as long, as if it held more layers, or the head.",
                "它每次计算的用时是其他设备的多少倍；层分得多，或者还要算输出头，就会这样。",
            ),
        ),
        Slider(
            "message",
            Text("Time of a message", "一条消息的时间"),
            (0, 0.05, 0.1, 0.2, 0.5, 1),
            0,
            _FORWARDS,
            Text(
                "From the end of a pass until the next device has its result. The sender computes on.",
                "从一次计算结束，到下一台设备收到结果的时间。发送方不必等待。",
            ),
        ),
    ),
    draw=draw,
    prediction=Prediction(
        question=Text(
            "1F1B on four devices with eight micro-batches, each of the three passes taking the same time, has a "
            "bubble of 27%. Now the last device needs half as long again. How large is the bubble?",
            "四台设备、八个微批次的1F1B，三种计算用时相同，气泡为27%。若最后一台设备的用时增加一半，气泡有多大？",
        ),
        unit=Text("%", "%"),
        answer=lambda **settings: 100 * timed(**settings)[1].bubble_rate,
        settings={
            "schedule": "1f1b",
            "stages": 4,
            "microbatches": 8,
            "backward_input": 1,
            "backward_weight": 1,
            "slow": 1.5,
            "message": 0,
        },
    ),
)
