"""A timeline as a trace that Perfetto (ui.perfetto.dev) and chrome://tracing open: one row a device.

The format is a JSON object whose `traceEvents` are complete events (`ph` "X", a start `ts` and a duration `dur`
in microseconds), counters ("C") for the activations held, and names of rows ("M"). It is described in 'Trace Event
Format' of the Catapult project. PyTorch's profiler writes the same format.
"""

import json
from pathlib import Path

from sysai.parallel.pipeline.memory import Held
from sysai.parallel.pipeline.schedules import BW, B, F, W
from sysai.parallel.pipeline.timeline import OperationInterval, Timeline

CATEGORIES = {F: "forward", B: "backward for inputs", W: "backward for weights", BW: "backward"}


def trace(timeline: Timeline) -> dict:
    """The trace as an object ready for `json.dumps`: the process is the pipeline, its threads are the devices."""
    events: list[dict] = [_named("process_name", 0, timeline.name)]
    for device, intervals in enumerate(timeline.devices):
        events.append(_named("thread_name", device, f"device {device}"))
        events += map(_complete, intervals)
        events += [_counter(device, moment, held) for moment, held in timeline.held(device)]
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def write_trace(timeline: Timeline, path: str | Path) -> Path:
    """Write the trace into a file, by custom named `.json`, and return its path."""
    path = Path(path)
    path.write_text(json.dumps(trace(timeline)), encoding="utf-8")
    return path


def _microseconds(seconds: float) -> float:
    """Whole nanoseconds, so that passes that follow each other do not overlap by a rounding error."""
    return round(seconds * 1e6, 3)


def _complete(interval: OperationInterval) -> dict:
    kind, stage, microbatch = interval.operation
    start = _microseconds(interval.start)
    return {
        "name": f"{kind} {microbatch}",
        "cat": CATEGORIES[kind],
        "ph": "X",
        "ts": start,
        "dur": round(_microseconds(interval.end) - start, 3),
        "pid": 0,
        "tid": interval.device,
        "args": {"stage": stage, "micro-batch": microbatch},
    }


def _counter(device: int, moment: float, held: Held) -> dict:
    name = f"activations held on device {device}"
    args = held._asdict()
    return {"name": name, "ph": "C", "ts": _microseconds(moment), "pid": 0, "tid": device, "args": args}


def _named(what: str, device: int, name: str) -> dict:
    return {"name": what, "ph": "M", "pid": 0, "tid": device, "args": {"name": name}}
