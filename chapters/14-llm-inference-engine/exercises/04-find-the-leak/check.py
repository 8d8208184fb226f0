"""Gates on the recount of every block after every event of a thousand requests, and on the server's own promises."""

from math import inf
from typing import NamedTuple

from sysai.core.language import Text
from sysai.exercises.compare import about
from sysai.exercises.trial import Trial

PLACES = {"device": "设备", "host": "主机"}
LEAKS = {  # by event, place, and whether a request that held the block before runs now
    ("abort", "host", False): Text(
        "A leak. The request was waiting, swapped out: what it held lay on the host.",
        "泄漏。这个请求当时在等待，已被换出：它持有的块在主机上。",
    ),
    ("step", "host", True): Text(
        "A leak. Its holder came back to the device; what it had on the host was not given back.",
        "泄漏。它的持有者回到了设备上，在主机上的块却没有归还。",
    ),
    ("step", "host", False): Text(
        "A leak. It was taken for a request that was preempted in this step and found too little room on the host.",
        "泄漏。它是为这一步中被抢占的请求取来的，而主机上的块不够那个请求用。",
    ),
    ("step", "device", True): Text(
        "A leak. A request went over to a copy of this block; the count of the block was not lowered.",
        "泄漏。有请求改用了这个块的副本，这个块的计数却没有减。",
    ),
}
FREED = Text(
    "Freed too often: by somebody who did not hold it, or no longer. A request that waits holds nothing on the device.",
    "释放过多：归还它的请求并不持有它，或者已经不再持有。等待的请求在设备上一个块也不持有。",
)


class Held(NamedTuple):
    """A request: its positions, the tokens that it lacks, and its blocks on the device or on the host."""

    length: int
    remaining: int
    blocks: list[int]


class State(NamedTuple):
    """What an event left; pools are (references, free blocks)."""

    running: dict[str, Held]
    waiting: dict[str, Held]
    pools: dict[str, tuple[list[int], list[int]]]

    @property
    def alive(self) -> dict[str, Held]:
        return self.running | self.waiting

    def holders(self, place: str, block: int) -> list[str]:
        requests = self.running if place == "device" else self.waiting
        return [name for name, held in requests.items() if block in held.blocks]


def check(trial: Trial) -> None:
    step = ("step",)
    fork = [("add", "r1", 5, 4), step, ("fork", "r1", "r2", 3), step, step, step]
    _check(trial, (8, 4, 4, 4), fork)
    crowd = [("add", "r1", 6, 9), ("add", "r2", 6, 9), *[step] * 4]  # the seventh block is lacking in the third step
    _check(trial, (5, 4, 4, 4), [*crowd, ("abort", "r2"), *[step] * 8])
    _check(trial, (5, 1, 4, 4), [*crowd, *[step] * 12, ("abort", "r2")])
    for requests in [4] * 30 + [20] * 14 + [100] * 6:
        shape, events = _random_events(trial, requests)
        _check(trial, shape, events)


def _random_events(trial: Trial, requests: int) -> tuple[tuple, list[tuple]]:
    """Requests that come in bursts, fork, and leave early; each would fit alone."""
    random = trial.random
    size, num_blocks = random.randint(2, 4), random.randint(7, 12)
    shape = (num_blocks, random.randint(2, 8), size, random.randint(3, 5))
    events, longest = [], {}
    for number in range(1, requests + 1):
        name, parent = f"r{number}", f"r{max(1, number - random.randint(1, 6))}"
        prompt, output = random.randint(1, 3 * size), random.randint(2, 4 * size)
        event = ("add", name, prompt, output)
        if longest.get(parent, inf) + output <= num_blocks * size and random.random() < 0.4:
            prompt, event = longest[parent], ("fork", parent, name, output)
        longest[name] = prompt + output
        events.append(event)
        for _ in range(random.choice([0, 1, 2, 4, 6])):
            events.append(("step",))
            if random.random() < 0.15:
                events.append(("abort", f"r{max(1, number - random.randint(0, 8))}"))
    return shape, events + [("step",)] * 8


def _check(trial: Trial, shape: tuple, events: list[tuple]) -> None:
    log = trial.call("serve", *shape, events)
    message = Text("Leave serve as it is in the starter.", "请让`serve`保持起始代码中的样子。")
    trial.expect(len(log) == len(events), message)
    before = State({}, {}, {place: ([0] * n, list(range(n))) for place, n in zip(PLACES, shape, strict=False)})
    for number, (event, (running, waiting, *pools)) in enumerate(zip(events, log, strict=True)):
        requests = [{name: Held(*rest) for name, *rest in side} for side in (running, waiting)]
        after = State(*requests, dict(zip(PLACES, pools, strict=True)))
        _Event(trial, shape, number, event, before, after).check()
        before = after


class _Event:
    """One event: the states before and after it."""

    def __init__(self, trial: Trial, shape: tuple, number: int, event: tuple, before: State, after: State) -> None:
        self.trial, (*_, self.size, self.places), (self.name, *self.arguments) = trial, shape, event
        self.before, self.after = before, after
        shown = f"{self.name}({', '.join(map(repr, self.arguments))})"
        self.where = Text(f"After events[{number}], {shown}", f"events[{number}]即{shown}之后")

    def check(self) -> None:
        for place in PLACES:
            self._recount(place)
        self._check_requests()
        if self.name == "fork":
            self._check_fork(*self.arguments)
        elif self.name == "step":
            self._check_step()

    def _recount(self, place: str) -> None:
        """Every block is counted as often as it is held, and free if nobody holds it."""
        references, free = self.after.pools[place]
        for block, count in enumerate(references):
            now, once = (state.holders(place, block) for state in (self.after, self.before))
            times = free.count(block)
            if (count, times) == (len(now), not now):
                continue
            self._draw(place, block)
            held = ", ".join(now) or "-"
            message = Text(
                f"block {block} of the {place}, held by {held}: {count} references, {times} times in the free list.",
                f"{PLACES[place]}上的{block}号块，持有者{held}：引用计数是{count}，在空闲块列表里出现{times}次。",
            )
            leak = LEAKS.get((self.name, place, any(request in self.after.running for request in once)))
            self._expect(False, message, hint=leak if count > len(now) else FREED)

    def _check_requests(self) -> None:
        """Nobody is lost or invented, and tables are as long as they must be."""
        alive, there = {*self.before.alive}, {*self.after.alive}
        if self.name == "add":
            alive.add(self.arguments[0])
        elif self.name == "fork" and self.arguments[0] in self.before.running:
            alive.add(self.arguments[1])
        elif self.name == "abort":
            alive.discard(self.arguments[0])
        elif self.name == "step":  # the last token may have been written
            alive -= {request for request, held in self.before.alive.items() if held.remaining == 1} - there
        wrong = ", ".join(sorted(alive ^ there))
        message = Text(f"lost, or there and should not be: {wrong}.", f"丢失的，或者不该存在的请求：{wrong}。")
        self._expect(not wrong, message)
        for request, held in self.after.alive.items():
            wanted = -(-held.length // self.size)
            message = Text(
                f"{request} has {held.length} positions and the blocks {held.blocks}: it should have {wanted}.",
                f"{request}有{held.length}个位置，持有的块是{held.blocks}，应当有{wanted}块。",
            )
            enough = len({*held.blocks}) == len(held.blocks) == wanted
            self._expect(enough or (request in self.after.waiting and not held.blocks), message)

    def _check_fork(self, parent: str, child: str, _: int) -> None:
        if parent in self.before.running and len(self.before.running) < self.places:
            blocks, mine = self.before.running[parent].blocks, self.after.running.get(child)
            message = Text(
                f"{child} should run at once, in the blocks of {parent}: {blocks}.",
                f"{child}应当立即运行，并使用{parent}的块：{blocks}。",
            )
            self._expect(mine is not None and mine.blocks == blocks, message)

    def _check_step(self) -> None:
        """Somebody advances, nobody writes into shared blocks, and those preempted go to the host if there is room."""
        before, after = (sum(held.remaining for held in s.alive.values()) for s in (self.before, self.after))
        message = Text("no token was written, although there are requests.", "还有请求，却一个词元也没有写。")
        self._expect(after < before or not before, message)
        for request, held in self.after.running.items():
            others = ", ".join(o for o in self.after.holders("device", held.blocks[-1]) if o != request)
            message = Text(
                f"{request} wrote into block {held.blocks[-1]}, which is also held by {others}.",
                f"{request}往{held.blocks[-1]}号块里写了，而{others}也持有这个块。",
            )
            self._expect(not others, message)
        preempted = [held for request, held in self.after.waiting.items() if request in self.before.running]
        needed, room = sum(-(-held.length // self.size) for held in preempted), len(self.before.pools["host"][1])
        message = Text(
            f"who was preempted should lie on the host: blocks needed there {needed}, free {room}.",
            f"被抢占的请求应当换出到主机：需要{needed}块，空闲{room}块。",
        )
        self._expect(needed > room or all(held.blocks for held in preempted), message)

    def _expect(self, condition: bool, message: Text, hint: Text | None = None) -> None:
        self.trial.expect(condition, about(self.where, message), hint)

    def _draw(self, place: str, marked: int) -> None:
        """A line a block of one pool: its references and holders, before and after."""
        table = ""
        for block in range(len(self.after.pools[place][0])):
            table += f"\n{'>' if block == marked else ' '}{block:>4}"
            for state in (self.before, self.after):
                references, free = state.pools[place]
                word = " ".join(state.holders(place, block)) or ("·" if block in free else "-")
                table += f"  {references[block]:>3}  {word:<22}"
        picture = Text(
            f"blocks of the {place}: references, holders, before and after; · is free{table}",
            f"{PLACES[place]}上的块：事件前后的引用计数和持有者；· 表示空闲{table}",
        )
        self.trial.picture(picture)
