"""Gates on simulated time: gaps, throughput, first tokens and the longest wait; four workloads, one heavy-tailed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import inf
from random import Random

from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial
from sysai.serving.simulation.latency import percentiles

MS = Text("ms", "ms")
COLUMNS, LEVELS = 64, " ▁▂▃▄▅▆▇█"
LEAST = 0.95  # of the reference's throughput
# A prompt counts as shorter by what could be read in a part of the time it waited: the reference's, three wrong ones.
AGING, TOO_SLOW, SHORTEST, FIRST_COME = 0.1, 0.014, 0.0, 1e5


@dataclass(frozen=True)
class Case:
    """A workload, and what the planner is given at every step; all times are whole microseconds."""

    name: Text
    requests: list[tuple[int, int, int]]  # arrival, tokens of the prompt and of the output
    room: int  # tokens of a step that keep budget and gap
    given: dict[str, int]

    def step(self, tokens: int) -> int:
        return self.given["fixed"] + self.given["per_token"] * tokens


@dataclass
class Run:
    """What a planner made of a case."""

    times: list[list[int]]  # of each request's tokens
    end: int = 0
    sizes: list[tuple[int, int, int]] = field(default_factory=list)  # (start, tokens, prompts waiting) of each step
    left_out: int = 0  # steps that gave some decoding request nothing
    small: int = 0  # steps that left prompts waiting and half of the room empty

    def waits(self, case: Case) -> tuple[float, int]:
        """The 99th percentile of the time to the first token, and the longest."""
        waits = [times[0] - arrival for times, (arrival, _, _) in zip(self.times, case.requests, strict=True)]
        return percentiles(waits, [99])[99], max(waits)


# Name, requests, load, variation of their gaps, prompt, output, and how many prompts are long, of what length.
HEAVY = (Text("heavy tail", "重尾"), 400, 0.52, 1.0, (60, 300), (10, 60), (3, 6000, 8000))
CROWD = (Text("crowd", "拥挤"), 600, 0.97, 0.3, (60, 200), (10, 30), (2, 1200, 1800))
BURSTS = (Text("bursts", "突发"), 150, 0.46, 2.0, (60, 300), (10, 60), (1, 5500, 7500))
SMALL_BUDGET = (Text("small budget", "小预算"), 120, 0.75, 1.0, (100, 400), (10, 60), (0, 0, 0))


def check(trial: Trial) -> None:
    _check(trial, _case(Random(14), *HEAVY, fixed=8000, per_token=100, room=420))
    for workload, wrong in ((CROWD, {TOO_SLOW: 1, SHORTEST: 1}), (BURSTS, {FIRST_COME: 0}), (SMALL_BUDGET, {})):
        _check(trial, _instructive(trial.random, workload, wrong))


def _instructive(random: Random, workload: tuple, wrong: dict[float, int]) -> Case:
    """A random case whose targets for waiting the reference keeps easily; of what is `wrong`, each misses one first."""

    def parts(aging: float) -> list[float]:
        ttft, longest = _simulate(case, _planner(case, aging)).waits(case)
        return [ttft / case.given["ttft"], longest / case.given["patience"]]

    def misses(aging: float, target: int) -> bool:
        *before, part = parts(aging)[: target + 1]
        return part > 1.1 and max(before, default=0) < 1

    while True:
        fixed, per_token, room = random.randint(6000, 11_000), random.randint(80, 120), random.randint(380, 460)
        budget = room - random.randint(40, 80) if workload is SMALL_BUDGET else 2048
        case = _case(random, *workload, fixed, per_token, room, budget)
        if max(parts(AGING)) < 0.85 and all(misses(*item) for item in wrong.items()):
            return case


def _case(random, name, count, load, cv, prompt, output, long, fixed, per_token, room, budget=2048) -> Case:
    """`count` requests at `load` times what full steps can do."""
    prompts = [random.randint(*prompt) for _ in range(count)]
    outputs = [random.randint(*output) for _ in range(count)]
    gap, full = fixed + per_token * room, min(room, budget)
    mean = (sum(prompts) + sum(outputs)) / count * (fixed + per_token * full) / full / load
    arrivals = list(accumulate(random.gammavariate(1 / cv**2, cv**2 * mean) for _ in range(count)))
    many, low, high = long
    for k in range(many):
        prompts[int(count * (0.05 + 0.5 * (k + random.random()) / many))] = random.randint(low, high)
    given = {"budget": budget, "fixed": fixed, "per_token": per_token}
    targets = {"gap": gap, "ttft": 12 * gap, "patience": 60 * gap}
    return Case(name, list(zip(map(int, arrivals), prompts, outputs, strict=True)), full, given | targets)


def _simulate(case: Case, planner: Callable, until: float = inf) -> Run:
    """Serve the case, step by step, at most to the time `until`."""
    run = Run(times=[[] for _ in case.requests])
    to_come = dict(enumerate(case.requests))
    decoding: dict[int, int] = {}  # request -> tokens of output to come
    prompts: dict[int, int] = {}  # request -> tokens of its prompt still to be read
    while (to_come or decoding or prompts) and run.end <= until:
        now = run.end if decoding or prompts else max(run.end, min(to_come.values())[0])
        for i in [i for i, (arrival, _, _) in to_come.items() if arrival <= now]:
            prompts[i] = to_come.pop(i)[1]
        waiting = [(i, case.requests[i][0], left) for i, left in prompts.items()]
        plan = planner(now, list(decoding), waiting) if waiting else [(i, 1) for i in decoding]
        tokens, read = sum(n for _, n in plan), sum(n for i, n in plan if i in prompts)
        run.sizes.append((now, tokens, len(prompts)))
        run.left_out += tokens - read < len(decoding)
        run.small += sum(prompts.values()) > read and tokens < case.room / 2
        run.end = now + case.step(tokens)
        for i, n in plan:
            if i in prompts:
                prompts[i] -= n
                if prompts[i]:
                    continue
                del prompts[i]
                decoding[i] = case.requests[i][2]
            run.times[i].append(run.end)
            decoding[i] -= 1
            if not decoding[i]:
                del decoding[i]
    return run


def _planner(case: Case, aging: float) -> Callable:
    """Decodes, then the least left first, less what could be read in `aging` of the time waited."""

    def plan_step(now: int, decoding: list[int], prompts: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
        plan = [(i, 1) for i in decoding]
        room = case.room - len(plan)
        for i, _, left in sorted(prompts, key=lambda x: x[2] - aging * (now - x[1]) / case.given["per_token"]):
            if room > 0:
                plan.append((i, min(left, room)))
                room -= min(left, room)
        return plan

    return plan_step


def _check(trial: Trial, case: Case) -> None:
    reference = _simulate(case, _planner(case, AGING))

    def planner(now: int, decoding: list[int], prompts: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
        plan = trial.call("plan_step", now, decoding, prompts, **case.given)
        most = {**dict.fromkeys(decoding, 1), **{i: left for i, _, left in prompts}}
        _check_plan(trial, plan, most, case.given["budget"])
        return plan

    def what(en: str, zh: str) -> Text:
        return Text(f"{en} (workload '{case.name['en']}')", f"{zh}（负载“{case.name['zh']}”）")

    run = _simulate(case, planner, until=1.15 * reference.end)
    # What follows concerns all calls, not the last one.
    arguments = ", ".join(f"{name}={value}" for name, value in case.given.items())
    trial.last_call, trial.last_value = f"plan_step(now, decoding, prompts, {arguments})", None
    trial.picture(_picture(run))
    most, steps = max(tokens for _, tokens, _ in run.sizes), len(run.sizes)
    gaps = [after - before for times in run.times for before, after in pairwise(times)]
    gap = percentiles(gaps, [99])[99] if gaps else 0.0
    stalls = Text(
        f"{run.left_out} of {steps} steps gave some decoding request no token. Each needs one in every step.",
        f"{steps}步中有{run.left_out}步没有给某些正在解码的请求词元。每一步都应给它们各一个。",
    )
    large = Text(
        f"Your steps have up to {most} tokens, decodes included; one of more than {case.room} is longer than the gap.",
        f"你的一步多达{most}个词元，其中也包括解码的。超过{case.room}个，一步就比允许的间隔长。",
    )
    hints = [Hint(lambda _: run.left_out > steps // 100, stalls), Hint(lambda _: most > case.room, large)]
    words = what("the 99th percentile of the gaps between tokens", "词元间隔的99百分位数")
    trial.expect_at_most(gap / 1000, case.given["gap"] / 1000, what=words, unit=MS, hints=hints)
    small = Text(
        f"{run.small} of {steps} steps left prompts waiting and more than half of the room for {case.room} tokens "
        "empty. Every step costs `fixed`, however little it does: fill it with parts of prompts, while others decode.",
        f"{steps}步中有{run.small}步明明有提示词在等，{case.room}个词元的余地却空了一半以上。"
        "一步再小也要付`fixed`：即使有请求在解码，也应读几段提示词，把它装满。",
    )
    half_empty = Hint(lambda _: run.small > steps // 10, small)
    words = what("the simulated time to the last token, unless cut off", "到最后一个词元（或者中途停止）为止的模拟时间")
    trial.expect_at_most(run.end / 1000, reference.end / LEAST / 1000, what=words, unit=MS, hints=[half_empty])
    order = Text(
        "The steps are full, so it is the order: behind a prompt of thousands of tokens, everybody waits. Let short "
        "ones pass it, and let the advantage of having waited grow little by little, or it takes all steps at once.",
        "每一步都装满了，那就是次序的问题：一个几千词元的提示词没读完，后面的都要等。应当允许短的超过它；"
        "等待带来的优先则应一点一点地增加，否则它会一下子占住所有的步。",
    )
    ttft, longest = run.waits(case)
    words = what("the 99th percentile of the time to the first token", "首词元延迟的99百分位数")
    hints = [half_empty, Hint(lambda _: True, order)]
    trial.expect_at_most(ttft / 1000, case.given["ttft"] / 1000, what=words, unit=MS, hints=hints)
    starves = Text(
        "Somebody starves. As long as shorter prompts keep coming, a long one gets nothing: let the time that it has "
        "waited count, and so much that it is passed no longer when its wait nears `patience`.",
        "有请求快饿死了。只要还有更短的提示词到来，长的就一个词元也分不到：应当把已等待的时间也算进去，"
        "而且要算得够多，使它在等待接近`patience`时不再被超过。",
    )
    words = what("the longest time to a first token", "最长的首词元延迟")
    hints = [Hint(lambda _: True, starves)]
    trial.expect_at_most(longest / 1000, case.given["patience"] / 1000, what=words, unit=MS, hints=hints)


def _check_plan(trial: Trial, plan: list[tuple[int, int]], most: dict[int, int], budget: int) -> None:
    """`most` is the tokens that each request can compute now."""
    text = Text("The plan is empty, although there is work: a deadlock.", "还有请求要处理，计划却是空的：死锁了。")
    trial.expect(bool(plan), text)
    for k, (i, n) in enumerate(plan):
        text = Text(
            f"Request {i} cannot compute {n} tokens now: at least 1 and at most {most.get(i, 0)}, once a step.",
            f"请求{i}现在不能计算{n}个词元：至少1个，至多{most.get(i, 0)}个，一步只有一次。",
        )
        trial.expect(1 <= n <= most.get(i, 0) and i not in dict(plan[:k]), text)
    both = Text(
        "The budget holds for all tokens of a step, those of decoding requests included, whatever the gap allows.",
        "预算管的是这一步的全部词元，正在解码的请求的词元也在内；无论间隔允许多少，都要遵守。",
    )
    tokens, what = sum(n for _, n in plan), Text("tokens of a step", "一步的词元数")
    trial.expect_at_most(tokens, budget, what=what, hints=[Hint(lambda _: True, both)])


def _picture(run: Run) -> Text:
    """Over the time: how full the steps were, and how many prompts waited."""
    tokens, waiting = [0] * COLUMNS, [0] * COLUMNS
    for start, size, prompts in run.sizes:
        column = min(COLUMNS - 1, start * COLUMNS // max(1, run.end))
        tokens[column], waiting[column] = max(tokens[column], size), max(waiting[column], prompts)
    lines = ("".join(LEVELS[-(-n * 8 // max(1, *values))] for n in values) for values in (tokens, waiting))
    drawn = "\ntokens   {}\nprompts  {}".format(*lines)
    return Text(
        f"over time: tokens of a step, at most {max(tokens)}; prompts waiting, at most {max(waiting)}{drawn}",
        f"随时间变化：一步的词元数，最多{max(tokens)}；等待中的提示词，最多{max(waiting)}{drawn}",
    )
