"""Gates on simulated time: gaps, throughput, first tokens and the longest wait; four workloads, one heavy-tailed."""

from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial
from sysai.serving.simulation.latency import percentiles

MS = Text("ms", "ms")
COLUMNS, LEVELS = 64, " ▁▂▃▄▅▆▇█"
LEAST = 0.95  # of the reference's throughput
AGING = 1000  # the reference's: tokens that a second of waiting counts as, where a token takes 0.1 ms
FIRST_COME = 1e9

Plan = list[tuple[int, int]]


@dataclass(frozen=True)
class Case:
    """A workload, the prices of a step and the targets; all times are whole microseconds."""

    name: Text
    arrivals: list[int]
    prompts: list[int]  # tokens
    outputs: list[int]  # tokens
    budget: int
    fixed: int
    per_token: int
    gap: int
    ttft: int
    patience: int

    @property
    def room(self) -> int:
        """Tokens of a step that keep budget and gap."""
        return min(self.budget, (self.gap - self.fixed) // self.per_token)

    @property
    def arguments(self) -> dict[str, int]:
        """What is the same at every step."""
        return {name: getattr(self, name) for name in ("budget", "fixed", "per_token", "gap", "ttft", "patience")}


@dataclass
class Run:
    """What a planner made of a case."""

    end: int = 0
    stopped: bool = False  # before all was served
    times: list[list[int]] = field(default_factory=list)  # of each request's tokens
    sizes: list[tuple[int, int, int]] = field(default_factory=list)  # (start, tokens, prompts waiting) of each step
    left_out: int = 0  # steps that gave some decoding request nothing
    no_prompt: int = 0  # steps with decoding requests and prompts that read none of the prompts
    small: int = 0  # steps that left prompts waiting and half of the room empty


# Name, requests, load, variation of their gaps, prompt, output, and how many prompts are long, of what length.
HEAVY = (Text("heavy tail", "重尾"), 200, 0.52, 1.0, (60, 300), (10, 60), (1, 6000, 8000))
CROWD = (Text("crowd", "拥挤"), 600, 0.97, 0.3, (60, 200), (10, 30), (2, 1200, 1800))
BURSTS = (Text("bursts", "突发"), 150, 0.46, 2.0, (60, 300), (10, 60), (1, 5500, 7500))
SMALL_BUDGET = (Text("small budget", "小预算"), 120, 0.75, 1.0, (100, 400), (10, 60), (0, 0, 0))


def check(trial: Trial) -> None:
    _check(trial, _case(Random(14), *HEAVY, fixed=8000, per_token=100, room=420))
    for workload in (CROWD, BURSTS, SMALL_BUDGET):
        _check(trial, _instructive(trial.random, workload))


def _instructive(random: Random, workload: tuple) -> Case:
    """A random case on which the reference keeps all targets with room to spare, and the order matters."""
    while True:
        fixed, per_token, room = random.randint(6000, 11_000), random.randint(80, 120), random.randint(380, 460)
        budget = room - random.randint(40, 80) if workload is SMALL_BUDGET else 2048
        case = _case(random, *workload, fixed, per_token, room, budget)
        run, shortest, first_come = (_simulate(case, _aging(case, rate)) for rate in (AGING, 0, FIRST_COME))
        kept = _ttft(case, run) < 0.9 * case.ttft and _longest(case, run) < 0.8 * case.patience
        starves = _longest(case, shortest) > 1.2 * case.patience and _ttft(case, shortest) < case.ttft
        late = _ttft(case, first_come) > 1.1 * case.ttft
        if kept and (starves or workload is not CROWD) and (late or workload is not BURSTS):
            return case


def _case(random, name, count, load, cv, prompt, output, long, fixed, per_token, room, budget=2048) -> Case:
    """`count` requests at `load` times what full steps can do."""
    prompts = [random.randint(*prompt) for _ in range(count)]
    outputs = [random.randint(*output) for _ in range(count)]
    step = fixed + per_token * min(room, budget)
    mean = (sum(prompts) + sum(outputs)) / count * step / min(room, budget) / load
    arrivals, now = [], 0.0
    for _ in range(count):
        now += random.gammavariate(1 / cv**2, cv**2 * mean)
        arrivals.append(int(now))
    many, low, high = long
    for k in range(many):
        prompts[int(count * (0.05 + 0.5 * (k + random.random()) / many))] = random.randint(low, high)
    unit = fixed + per_token * room
    return Case(name, arrivals, prompts, outputs, budget, fixed, per_token, unit, 12 * unit, 60 * unit)


def _simulate(case: Case, planner, until: float = float("inf")) -> Run:
    """Serve the case, step by step, at most to the time `until`."""
    run = Run(times=[[] for _ in case.arrivals])
    decoding: dict[int, int] = {}  # request -> tokens of output to come
    prompts: dict[int, int] = {}  # request -> tokens of its prompt still to be read
    now, come = 0, 0
    while (come < len(case.arrivals) or decoding or prompts) and now <= until:
        if not decoding and not prompts:
            now = max(now, case.arrivals[come])
        while come < len(case.arrivals) and case.arrivals[come] <= now:
            prompts[come] = case.prompts[come]
            come += 1
        waiting = [(i, case.arrivals[i], left) for i, left in prompts.items()]
        plan = planner(now, list(decoding), waiting) if waiting else [(i, 1) for i in decoding]
        tokens, read = sum(n for _, n in plan), sum(n for i, n in plan if i in prompts)
        run.sizes.append((now, tokens, len(prompts)))
        run.left_out += tokens - read < len(decoding)
        run.no_prompt += bool(decoding and prompts and not read)
        run.small += sum(prompts.values()) > read and tokens < case.room / 2
        now += case.fixed + case.per_token * tokens
        for i, n in plan:
            if i in prompts:
                prompts[i] -= n
                if prompts[i]:
                    continue
                del prompts[i]
                decoding[i] = case.outputs[i]
            run.times[i].append(now)
            decoding[i] -= 1
            if not decoding[i]:
                del decoding[i]
    run.end, run.stopped = now, bool(come < len(case.arrivals) or decoding or prompts)
    return run


def _aging(case: Case, rate: float):
    """Decodes, then the least left first, where a second of waiting counts as `rate` tokens less, at 0.1 ms a token."""

    def planner(now: int, decoding: list[int], prompts: list[tuple[int, int, int]]) -> Plan:
        plan = [(i, 1) for i in decoding]
        room = case.room - len(plan)
        for i, _, left in sorted(prompts, key=lambda x: x[2] - rate * (now - x[1]) / 1e4 / case.per_token):
            if room > 0:
                plan.append((i, min(left, room)))
                room -= min(left, room)
        return plan

    return planner


def _ttft(case: Case, run: Run) -> float:
    """The 99th percentile of the time to the first token."""
    return percentiles([times[0] - came for times, came in zip(run.times, case.arrivals, strict=True)], [99])[99]


def _longest(case: Case, run: Run) -> int:
    return max(times[0] - came for times, came in zip(run.times, case.arrivals, strict=True))


def _check(trial: Trial, case: Case) -> None:
    reference = _simulate(case, _aging(case, AGING))

    def planner(now: int, decoding: list[int], prompts: list[tuple[int, int, int]]) -> Plan:
        plan = trial.call("plan_step", now, decoding, prompts, **case.arguments)
        _check_plan(trial, plan, decoding, {i: left for i, _, left in prompts}, case.budget)
        return plan

    run = _simulate(case, planner, until=1.15 * reference.end)
    # What follows concerns all calls, not the last one.
    arguments = ", ".join(f"{name}={value}" for name, value in case.arguments.items())
    trial.last_call, trial.last_value = f"plan_step(now, decoding, prompts, {arguments})", None
    trial.picture(_picture(run))
    gaps = [after - before for times in run.times for before, after in pairwise(times)]
    gap = percentiles(gaps, [99])[99] if gaps else 0.0
    common = _hints(case, run)
    trial.expect_at_most(gap / 1000, case.gap / 1000, what=_what(case, GAP), unit=MS, hints=_gap_hints(case, run))
    end = _what(case, STOPPED if run.stopped else END)
    trial.expect_at_most(run.end / 1000, reference.end / LEAST / 1000, what=end, unit=MS, hints=common)
    first_come, shortest = _simulate(case, _aging(case, FIRST_COME)), _simulate(case, _aging(case, 0))
    in_order = Text(
        "This is what first come, first served gives: behind a prompt of thousands of tokens, everybody waits until "
        "it has been read. A short prompt may pass it.",
        "这正是先来先服务的结果：一个几千词元的提示词没读完，后面的都要等。应当允许短的提示词超过它。",
    )
    by_length = Text(
        "This is what shortest first gives: as long as shorter prompts keep coming, the long one gets nothing. Let "
        "the time that it has waited count as well.",
        "这正是短请求优先的结果：只要还有更短的提示词到来，长的就什么也得不到。应当把已等待的时间也算进去。",
    )
    starves = Text(
        "Somebody starves: when must a prompt no longer be passed, however long it is?",
        "有请求快饿死了：一个提示词无论多长，等到什么时候就不能再被超过？",
    )
    order = Text(
        "If the steps were full while prompts waited, it is the order. Short ones first; and let the advantage of "
        "having waited grow little by little, or a long prompt takes all steps at once.",
        "如果有提示词在等时每一步都装满了，那就是次序的问题。短的在前；等待带来的优先应当一点一点地增加，"
        "否则一个长提示词会一下子占住所有的步。",
    )
    hints = [Hint(_ttft(case, first_come) / 1000, in_order), *common, Hint(lambda _: True, order)]
    trial.expect_at_most(_ttft(case, run) / 1000, case.ttft / 1000, what=_what(case, TTFT), unit=MS, hints=hints)
    hints = [Hint(_longest(case, shortest) / 1000, by_length), Hint(lambda _: True, starves)]
    trial.expect_at_most(_longest(case, run) / 1000, case.patience / 1000, what=_what(case, WAIT), unit=MS, hints=hints)


GAP = Text("the 99th percentile of the gaps between tokens", "词元间隔的99百分位数")
END = Text("the simulated time to the last token of all", "到全部完成为止的模拟时间")
STOPPED = Text("the simulated time, at which the last token of all had not come", "还没有全部完成的模拟时间")
TTFT = Text("the 99th percentile of the time to the first token", "首词元延迟的99百分位数")
WAIT = Text("the longest time to a first token", "最长的首词元延迟")


def _what(case: Case, what: Text) -> Text:
    en, zh = case.name["en"], case.name["zh"]
    return Text(f"{what['en']} (workload '{en}')", f"{what['zh']}（负载“{zh}”）")


def _gap_hints(case: Case, run: Run) -> list[Hint]:
    most = max(tokens for _, tokens, _ in run.sizes)
    stalls = Text(
        f"{run.left_out} steps gave some decoding request no token: while prompts are read whole, all others stall. "
        "Every decoding request needs its token in every step.",
        f"有{run.left_out}步没有给某些正在解码的请求词元：整段读提示词时，别人都停了下来。"
        "每一步都应给每个正在解码的请求一个词元。",
    )
    decodes = Text(
        f"A step of {case.room} tokens takes just the gap allowed; yours have up to {most}. The tokens of the "
        "decoding requests count, too.",
        f"{case.room}个词元的一步正好用完允许的间隔，你的一步多达{most}个。正在解码的请求的词元也要算在内。",
    )
    large = Text(
        f"Your steps have up to {most} tokens. The budget allows that, the gap does not: fixed + per_token * tokens "
        f"must stay within it, that is {case.room} tokens.",
        f"你的一步多达{most}个词元。预算允许，间隔却不允许：fixed + per_token * 词元数不应超过它，"
        f"即至多{case.room}个词元。",
    )
    return [
        Hint(lambda _: run.left_out > len(run.sizes) // 100, stalls),
        Hint(lambda _: case.room + 1 < most <= case.room + len(run.times) // 4, decodes),
        Hint(lambda _: most > case.room, large),
    ]


def _hints(case: Case, run: Run) -> list[Hint]:
    steps = len(run.sizes)
    starved = Text(
        f"{run.no_prompt} of {steps} steps only decoded while prompts waited. As long as anything decodes, the "
        "prompts starve, and the steps stay almost empty. Read a part of a prompt in every step.",
        f"{steps}步中有{run.no_prompt}步在提示词等待时只做了解码。只要还有请求在解码，提示词就会饿死，每一步又几乎是空的。"
        "应当每一步都读一段提示词。",
    )
    small = Text(
        f"{run.small} of {steps} steps left prompts waiting and more than half of the room for {case.room} tokens "
        "empty. Every step costs `fixed`, however little it does: fill it.",
        f"{steps}步中有{run.small}步明明有提示词在等，{case.room}个词元的余地却空了一半以上。"
        "一步再小也要付`fixed`：应把它装满。",
    )
    return [Hint(lambda _: run.no_prompt > steps // 10, starved), Hint(lambda _: run.small > steps // 10, small)]


def _check_plan(trial: Trial, plan: object, decoding: list[int], prompts: dict[int, int], budget: int) -> None:
    pairs = type(plan) is list and all(type(x) is tuple and [type(n) for n in x] == [int, int] for x in plan)
    text = Text("Return a list of pairs (request, tokens).", "应返回由二元组`(request, tokens)`组成的列表。")
    trial.expect(pairs, text)
    text = Text("The plan is empty, although there is work: a deadlock.", "有活可做，计划却是空的：死锁了。")
    trial.expect(bool(plan), text)
    most, planned = {**dict.fromkeys(decoding, 1), **prompts}, set()
    for i, n in plan:
        text = Text(
            f"Request {i} cannot compute {n} tokens now: at least 1 and at most {most.get(i, 0)}, once a step.",
            f"请求{i}现在不能计算{n}个词元：至少1个，至多{most.get(i, 0)}个，一步只有一次。",
        )
        trial.expect(1 <= n <= most.get(i, 0) and i not in planned, text)
        planned.add(i)
    decodes = Text(
        "The budget holds for all tokens of the step, those of the decoding requests included.",
        "预算管的是这一步的全部词元，正在解码的请求的词元也在内。",
    )
    both = Text("The gap may allow more than the budget does: both hold.", "间隔允许的可能比预算多：两者都要遵守。")
    hints = [Hint(lambda tokens: tokens - len(decoding) <= budget, decodes), Hint(lambda _: True, both)]
    trial.expect_at_most(sum(n for _, n in plan), budget, what=Text("tokens of a step", "一步的词元数"), hints=hints)


def _picture(run: Run) -> Text:
    """Over the time: how full the steps were, and how many prompts waited."""
    tokens, waiting = [0] * COLUMNS, [0] * COLUMNS
    for start, size, prompts in run.sizes:
        column = min(COLUMNS - 1, start * COLUMNS // max(1, run.end))
        tokens[column], waiting[column] = max(tokens[column], size), max(waiting[column], prompts)

    def line(values: list[int]) -> str:
        return "".join(LEVELS[-(-value * 8 // max(1, *values))] for value in values)

    return Text(
        f"over time: tokens of a step, at most {max(tokens)}; prompts waiting, at most {max(waiting)}\n"
        f"tokens   {line(tokens)}\nprompts  {line(waiting)}",
        f"随时间变化：一步的词元数，最多{max(tokens)}；等待中的提示词，最多{max(waiting)}\n"
        f"tokens   {line(tokens)}\nprompts  {line(waiting)}",
    )
