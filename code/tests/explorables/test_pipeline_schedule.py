"""The drawn pipelines: what the bars show is possible, and takes and holds what the literature's closed forms say."""

from itertools import pairwise

import pytest
from sysai.explorables.explorable import find
from sysai.explorables.pipelines import SCHEDULES
from sysai.viz.palette import INK, PAPER
from test_numbers import data, some_settings

CHUNKS = {"interleaved_2": 2, "interleaved_4": 4, "zb_v": 2}


def drawn(**at):
    """(specification, its passes, its lines of memory)."""
    spec = find("pipeline_schedule").figure("en", **at)
    return spec, [row for row in data(spec, "microbatch") if "text" not in row], data(spec, "held")


def bubble(passes):
    """The share of the longest span of a device in which devices are idle, in percent."""
    devices = {row["device"] for row in passes}
    own = [[row for row in passes if row["device"] == device] for device in devices]
    cost = max(max(row["end"] for row in rows) - min(row["start"] for row in rows) for rows in own)
    return 100 * (1 - sum(row["end"] - row["start"] for row in passes) / (len(devices) * cost))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("at", some_settings("pipeline_schedule")[:5], ids=str)
def test_passes_are_complete_wait_for_what_they_need_and_take_their_time(at, schedule):
    at = at | {"schedule": schedule}
    p, chunks, split = at["stages"], CHUNKS.get(at["schedule"], 1), at["schedule"].startswith("zb")
    rounds = p if at["schedule"].startswith("interleaved") else 1
    m = next(m for m in range(at["microbatches"], 100) if m % rounds == 0)
    spec, passes, _ = drawn(**at)
    found = {(row["part"], row["stage"], row["microbatch"]): row for row in passes}
    assert len(found) == len(passes) == p * chunks * m * (3 if split else 2)

    whole = "backward, input" if split else "backward"
    b, w = at["backward_input"], at["backward_weight"]
    lengths = {"forward": 1, "backward": b + w, "backward, input": b, "backward, weights": w}
    for (part, stage, j), row in found.items():
        slow = at["slow"] if row["device"] == str(p - 1) else 1
        assert row["end"] - row["start"] == pytest.approx(lengths[part] * slow / chunks)
        before = {"forward": ("forward", stage - 1, j), whole: (whole, stage + 1, j)}.get(part, (whole, stage, j))
        if before in found:
            message = at["message"] if found[before]["device"] != row["device"] else 0
            assert row["start"] >= found[before]["end"] + message - 1e-9
        assert part == "forward" or row["start"] >= found["forward", stage, j]["end"] - 1e-9
    for device in {row["device"] for row in passes}:
        own = sorted((row["start"], row["end"]) for row in passes if row["device"] == device)
        assert all(start >= end - 1e-9 for (_, end), (start, _) in pairwise(own))
    assert f"{bubble(passes):.1f}%" in spec["description"]
    assert (f"and {at['microbatches']} are no whole rounds: {m} are shown" in spec["description"]) == (
        m != at["microbatches"]
    )


@pytest.mark.parametrize("p", [2, 4, 8])
@pytest.mark.parametrize(
    ("schedule", "lost", "held"),
    [
        ("gpipe", lambda p: 3 * (p - 1), lambda p: 16),
        ("1f1b", lambda p: 3 * (p - 1), lambda p: p),
        ("interleaved_2", lambda p: 3 * (p - 1) / 2, lambda p: p + (p - 1) / 2),
        ("interleaved_4", lambda p: 3 * (p - 1) / 4, lambda p: p + (p - 1) / 4),
        ("zb_h1", lambda p: p - 1, lambda p: p),
        ("zb_h2", lambda p: 0, lambda p: 2 * p - 1),
        ("zb_v", lambda p: 0, lambda p: p),
    ],
)
def test_bubbles_and_memory_in_closed_form(schedule, lost, held, p):
    _, passes, lines = drawn(schedule=schedule, stages=p, microbatches=16)
    assert bubble(passes) == pytest.approx(100 * lost(p) / (3 * 16 + lost(p)))
    first = [row["held"] for row in lines if row["part"] == "held by device 0"]
    assert max(first) == held(p)
    assert first[0] <= 1
    assert first[-1] == 0


def test_every_schedule_of_the_package_is_offered():
    assert set(find("pipeline_schedule").controls[0].options) == set(SCHEDULES)


def test_a_slow_device_takes_its_time_from_every_micro_batch():
    """8 * 1.5 * 3 on the slow device, and the way of one micro-batch through the three others."""
    explorable = find("pipeline_schedule")
    answer = explorable.prediction.answer(**explorable.settings(**explorable.prediction.settings))
    assert answer == pytest.approx(100 * (1 - (3 * 24 + 36) / (4 * (36 + 9)))) == 40
    assert "1.5 times as slow" in explorable.figure("en", slow=1.5)["description"]


def test_numbers_are_dark_on_pale_bars_and_light_on_full_ones():
    _, *texts = drawn(schedule="interleaved_4", stages=2, microbatches=4)[0]["vconcat"][0]["layer"]
    opacities = {layer["mark"]["color"]: [row["opacity"] for row in data(layer, "text")] for layer in texts}
    assert min(opacities[PAPER]) > max(opacities[INK]) > 0


def test_numbers_stand_where_they_have_room():
    spec, passes, _ = drawn()
    assert len(data(spec, "text")) == len(passes) == 4 * 8 * 2
    crowded, _, _ = drawn(schedule="interleaved_4", stages=8, microbatches=16)
    assert not data(crowded, "text")
