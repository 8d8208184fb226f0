"""The search with made-up costs; the cost model; the database; the process that measures."""

import json
import math
import multiprocessing
import random

import pytest
from sysai.compiler.errors import IllegalSchedule, ModelUnavailable
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.statement import PARALLEL, VECTORIZED, For, PrimFunc, statements
from sysai.compiler.tir.text import parse
from sysai.compiler.tuning import cost_model
from sysai.compiler.tuning.cost_model import FEATURES, CostModel, features, pairs_in_order
from sysai.compiler.tuning.measure import Database, Measurement, Measurer, Record, this_machine, workload_of
from sysai.compiler.tuning.search import Options, tune
from sysai.compiler.tuning.space import Space, tiled

PRODUCT = """
def product(a: float32[{n}, {n}], b: float32[{n}, {n}], c: float32[{n}, {n}]):
    for i in range({n}):
        for j in range({n}):
            for k in range({n}):
                with block("product"):
                    vi = spatial({n}, i)
                    vj = spatial({n}, j)
                    vk = reduce({n}, k)
                    c[vi, vj] = init(float32(0.0))
                    c[vi, vj] += a[vi, vk] * b[vk, vj]
"""


def product(n: int = 128) -> PrimFunc:
    return parse(PRODUCT.format(n=n))


def made_up_seconds(function: PrimFunc) -> float:
    """A cost with a known structure: wide vectors, parallel work, few bytes into the first cache, no waste."""
    numbers = dict(zip(FEATURES, features(function), strict=True))
    kinds = {s.kind for s in statements(function.body) if isinstance(s, For)}
    factor = (0.25 if VECTORIZED in kinds else 1) * (0.5 if PARALLEL in kinds else 1)
    return factor * (2 ** numbers["iterations"] + 2 ** numbers["bytes into first cache"]) * 1e-9


def made_up(function: PrimFunc) -> Measurement:
    return Measurement(made_up_seconds(function))


OPTIONS = Options(trials=32, batch=8, population=12, generations=1)


def test_the_search_beats_random_sampling():
    space = Space(product(), tiled)
    found = tune(space, made_up, OPTIONS, model=CostModel(), seed=1).best.measurement.seconds
    rng = random.Random(1)
    sampled = sorted(made_up_seconds(space.sample(rng).function) for _ in range(OPTIONS.trials))
    assert found < sampled[0]


def test_a_search_is_determined_by_its_seed():
    def texts(seed: int) -> list[str]:
        tuned = tune(Space(product(), tiled), made_up, Options(12, 4, 6, 1), model=CostModel(), seed=seed)
        return [trial.candidate.text for trial in tuned.trials]

    first = texts(3)
    assert texts(3) == first
    assert texts(4) != first


def test_progress_is_the_least_so_far_and_nothing_is_measured_twice():
    tuned = tune(Space(product(), tiled), made_up, OPTIONS, seed=2)
    assert len({trial.candidate.text for trial in tuned.trials}) == len(tuned.trials) == OPTIONS.trials
    seconds = [trial.measurement.seconds for trial in tuned.trials]
    assert tuned.progress == [min(seconds[: n + 1]) for n in range(len(seconds))]


def test_the_baseline_is_measured_first():
    baseline = Schedule(product())
    baseline.parallel("i")
    tuned = tune(Space(product(), tiled), made_up, Options(4, 4, 4, 0), baseline=baseline)
    assert tuned.trials[0].candidate.function == baseline.function
    assert tuned.best.measurement.seconds <= made_up_seconds(baseline.function)


def test_failures_are_trials_without_seconds():
    calls = []

    def failing(function: PrimFunc) -> Measurement:
        calls.append(function)
        return Measurement(None, "broken") if len(calls) % 2 else made_up(function)

    tuned = tune(Space(product(), tiled), failing, Options(12, 4, 8, 1), model=CostModel())
    assert [trial.measurement.error for trial in tuned.trials].count("broken") == 6
    assert tuned.progress[0] is None
    assert tuned.best.measurement.seconds is not None
    nothing = tune(Space(product(), tiled), lambda _: Measurement(None, "broken"), Options(4, 4, 4, 0))
    assert nothing.best is None


def test_a_small_space_is_exhausted():
    def rule(schedule, choose):
        schedule.split("i", choose("factor", (2, 4, 8)))

    tuned = tune(Space(product(), rule), made_up, OPTIONS)
    assert len(tuned.trials) == 3


def test_a_rule_that_makes_nothing_legal_is_told():
    def rule(schedule, choose):
        schedule.parallel("k")

    with pytest.raises(IllegalSchedule, match="illegal schedules of product: look for its fault"):
        tune(Space(product(), rule), made_up, OPTIONS, baseline=Schedule(product()))


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"batch": 0}, {"generations": -1}, {"explore": 1.5}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)


def test_the_model_learns_an_order():
    space, rng = Space(product(), tiled), random.Random(0)
    functions = [space.sample(rng).function for _ in range(80)]
    model = CostModel()
    numbers = [features(function) for function in functions]
    seconds = [made_up_seconds(function) for function in functions]
    assert model.predict(numbers[:2]) == [0.0, 0.0]
    for row, second in zip(numbers[:60], seconds[:60], strict=True):
        model.add("product", row, second)
    model.add("product", numbers[0], math.inf)
    model.fit()
    assert pairs_in_order(model.predict(numbers[60:]), seconds[60:]) > 0.8


def test_pairs_in_order():
    assert pairs_in_order([3, 2, 1], [1.0, 2.0, 3.0]) == 1
    assert pairs_in_order([1, 2, 3], [1.0, 2.0, 3.0]) == 0
    assert pairs_in_order([0, 0, 0], [1.0, 2.0, 3.0]) == 0.5
    with pytest.raises(ValueError, match="differ"):
        pairs_in_order([1, 2], [1.0, 1.0])


def test_without_the_library_the_message_is_clear(monkeypatch):
    monkeypatch.setattr(cost_model.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelUnavailable, match="scikit-learn"):
        CostModel()


def record(seconds: float | None, workload: str = "w") -> Record:
    return Record(workload, this_machine(), {"tile": 4}, "[]", seconds)


def test_records_come_back_and_the_fastest_is_found(tmp_path):
    database = Database(tmp_path / "records.jsonl")
    assert list(database) == []
    for seconds in (3.0, None, 1.0, 2.0):
        database.append(record(seconds))
    database.append(record(0.5, "another"))
    assert [entry.seconds for entry in database] == [3.0, None, 1.0, 2.0, 0.5]
    assert database.best("w") == record(1.0)
    assert database.best("w", machine="elsewhere") is None


def test_an_incomplete_line_costs_only_itself(tmp_path):
    path = tmp_path / "records.jsonl"
    database = Database(path)
    database.append(record(1.0))
    with path.open("ab") as file:
        file.write(b'{"workload": "w", "mach')
    database.append(record(2.0))
    path.open("ab").write(b"[1, 2]\n")
    assert [entry.seconds for entry in database] == [1.0, 2.0]


def _append_many(path: str, number: int) -> None:
    database = Database(path)
    for count in range(50):
        database.append(record(float(1 + number * 50 + count)))


def test_processes_share_a_database(tmp_path):
    path = str(tmp_path / "records.jsonl")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append_many, args=(path, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(entry.seconds for entry in Database(path)) == [float(1 + count) for count in range(200)]
    assert all(json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines())


def test_a_search_goes_on_from_the_database(tmp_path):
    database, space = Database(tmp_path / "records.jsonl"), Space(product(), tiled)
    first = tune(space, made_up, Options(8, 4, 8, 0), database=database)
    second = tune(space, made_up, Options(8, 4, 8, 0), seed=1, database=database)
    texts = [trial.candidate.text for trial in (*first.trials, *second.trials)]
    assert len(set(texts)) == len(list(database)) == 16
    best = database.best(workload_of(space.function))
    assert best.seconds == min(first.best.measurement.seconds, second.best.measurement.seconds)


def test_the_same_function_at_other_sizes_is_another_workload():
    assert workload_of(product(8)) != workload_of(product(9))
    assert workload_of(product(8), {"T": 1}) != workload_of(product(8), {"T": 2})


WRONG = PRODUCT.replace("a[vi, vk] * b[vk, vj]", "a[vi, vk] + b[vk, vj]")
OUTSIDE = """
def product(a: float32[16, 16], b: float32[16, 16], c: float32[16, 16]):
    for i in range(16):
        with block("outside"):
            vi = spatial(16, i)
            c[vi, vi] = a[vi * 1000000000, vi * 1000000000]
"""


def test_measuring_in_a_process(tmp_path, monkeypatch):
    monkeypatch.setenv("SYSAI_CACHE", str(tmp_path))
    function = product(16)
    with Measurer(function, limit_s=60) as measure:
        assert measure(Space(function, tiled).sample(random.Random(0)).function).seconds > 0
        assert "not close" in measure(parse(WRONG.format(n=16))).error
        crashed = measure(parse(OUTSIDE))
        assert crashed.seconds is None
        assert "ended with code" in crashed.error
        assert measure(function).seconds > 0  # a new process goes on
        measure.limit_s = 0.001
        late = measure(Space(function, tiled).sample(random.Random(1)).function)
        assert (late.seconds, late.error) == (None, "the process took more than 0.001 s, and was ended")


def test_a_function_that_cannot_be_measured_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("SYSAI_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CC", str(tmp_path / "no-compiler"))
    with Measurer(product(16), limit_s=60) as measure:
        failed = measure(product(16))
    assert failed.seconds is None
    assert "without a schedule" in failed.error
