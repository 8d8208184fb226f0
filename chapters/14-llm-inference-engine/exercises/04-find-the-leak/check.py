"""Gates on the recount of every block after every event of a thousand requests, and on the server's own promises."""

from collections import Counter
from typing import NamedTuple

from sysai.core.language import Text
from sysai.exercises.compare import about
from sysai.exercises.trial import Trial

PLACES = {"device": Text("of the device", "设备上的"), "host": Text("of the host", "主机上的")}


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
        name, output = f"r{number}", random.randint(2, 4 * size)
        parent = f"r{max(1, number - random.randint(1, 6))}"
        if parent in longest and longest[parent] + output <= num_blocks * size and random.random() < 0.4:
            longest[name] = longest[parent] + output
            events.append(("fork", parent, name, output))
        else:
            prompt = random.randint(1, 3 * size)
            longest[name] = prompt + output
            events.append(("add", name, prompt, output))
        for _ in range(random.choice([0, 1, 2, 4, 6])):
            events.append(("step",))
            if random.random() < 0.15:
                events.append(("abort", f"r{max(1, number - random.randint(0, 8))}"))
    return shape, events + [("step",)] * 8


def _check(trial: Trial, shape: tuple, events: list[tuple]) -> None:
    log = trial.call("serve", *shape, events)
    good = type(log) is list and [type(parts) for parts in log] == [tuple] * len(events)
    trial.expect(good, Text("Leave serve as it is in the starter.", "请让`serve`保持起始代码中的样子。"))
    before = State({}, {}, {place: ([0] * n, list(range(n))) for place, n in zip(PLACES, shape, strict=False)})
    for number, (event, (running, waiting, *pools)) in enumerate(zip(events, log, strict=True)):
        requests = [{name: Held(*rest) for name, *rest in side} for side in (running, waiting)]
        after = State(*requests, dict(zip(PLACES, pools, strict=True)))
        _Event(trial, shape, number, event, before, after).check()
        before = after


class _Event:
    """One event: the states before and after it."""

    def __init__(self, trial: Trial, shape: tuple, number: int, event: tuple, before: State, after: State) -> None:
        self.trial, (*_, self.size, self.places), self.event = trial, shape, event
        self.name, *self.arguments = event
        self.before, self.after = before, after
        shown = f"{self.name}({', '.join(map(repr, self.arguments))})"
        self.where = Text(f"After events[{number}], {shown}", f"events[{number}]即{shown}之后")

    def check(self) -> None:
        for place in PLACES:
            self._recount(place)
        self._check_requests()
        if self.name == "fork":
            self._check_fork()
        elif self.name == "step":
            self._check_step()

    def expect(self, condition: bool, message: Text, hint: Text | None = None) -> None:
        self.trial.expect(condition, about(self.where, message), hint)

    def _recount(self, place: str) -> None:
        """Every block is counted as often as it is held, and free if nobody holds it."""
        references, free = self.after.pools[place]
        requests = self.after.running if place == "device" else self.after.waiting
        held, times = Counter(block for request in requests.values() for block in request.blocks), Counter(free)
        wrong = [b for b, count in enumerate(references) if count != held[b] or times[b] != (count == 0)]
        if not wrong:
            return
        block = wrong[0]
        self._draw(place, block)
        now, once = (state.holders(place, block) for state in (self.after, self.before))
        message = Text(
            f"block {block} {PLACES[place]['en']} has {references[block]} references and stands in the list of free "
            f"blocks {times[block]} times. Held now by {', '.join(now) or 'nobody'}, before by "
            f"{', '.join(once) or 'nobody'}.",
            f"{PLACES[place]['zh']}{block}号块的引用计数是{references[block]}，在空闲块列表里出现{times[block]}次。"
            f"现在的持有者：{'、'.join(now) or '无'}；此前的持有者：{'、'.join(once) or '无'}。",
        )
        why = self._why_leaked(place, once) if references[block] > held[block] else self._why_freed(place)
        self.expect(False, message, why)

    def _why_leaked(self, place: str, once: list[str]) -> Text:
        moved = [request for request in once if request in self.after.running]
        if self.name == "abort" and place == "host":
            return Text(
                f"A leak. {self.arguments[0]} was waiting, swapped out: what it held lay on the host.",
                f"泄漏。{self.arguments[0]}当时在等待，已被换出：它持有的块在主机上。",
            )
        if self.name == "step" and moved and place == "host":
            return Text(
                f"A leak. {' and '.join(moved)} came back to the device; what it had on the host was not given back.",
                f"泄漏。{'、'.join(moved)}回到了设备上，它在主机上的块却没有归还。",
            )
        if self.name == "step" and place == "host":
            return Text(
                "A leak. It was taken for a request that was preempted in this step and found too little room on "
                "the host.",
                "泄漏。它是为这一步中被抢占的请求取来的，而主机上的块不够那个请求用。",
            )
        if self.name == "step" and moved:
            return Text(
                f"A leak. {' and '.join(moved)} went over to a copy of this block; its count was not lowered.",
                f"泄漏。{'、'.join(moved)}改用了这个块的副本，它的计数却没有减。",
            )
        return Text("A leak: whoever counts as a holder does not hold it.", "泄漏：计入的持有者其实并不持有它。")

    def _why_freed(self, place: str) -> Text:
        if self.name == "abort" and place == "device" and self.arguments[0] in self.before.waiting:
            return Text(
                f"Freed twice. {self.arguments[0]} was waiting: its blocks on the device had been given back when it "
                "was preempted, and may be another's by now.",
                f"重复释放。{self.arguments[0]}当时在等待：它在设备上的块，被抢占时就已归还，现在可能已经是别人的了。",
            )
        return Text(
            "Freed too often: it was given back by somebody who did not hold it, or no longer.",
            "释放过多：有人归还了自己并不持有，或者已经不再持有的块。",
        )

    def _check_requests(self) -> None:
        """Nobody is lost or invented, and tables are as long as they must be."""
        alive, there = {*self.before.alive}, {*self.after.alive}
        if self.name == "add":
            alive.add(self.arguments[0])
        elif self.name == "fork" and self.arguments[0] in self.before.running:
            alive.add(self.arguments[1])
        elif self.name == "abort":
            alive.discard(self.arguments[0])
        done = {request for request, held in self.before.alive.items() if self.name == "step" and held.remaining == 1}
        lost, more = sorted(alive - there - done), sorted(there - alive)
        message = Text(
            f"requests lost: {', '.join(lost) or '-'}; requests that should not be there: {', '.join(more) or '-'}.",
            f"丢失的请求：{'、'.join(lost) or '-'}；不该存在的请求：{'、'.join(more) or '-'}。",
        )
        self.expect(not lost and not more, message)
        for request, held in self.after.alive.items():
            wanted = -(-held.length // self.size)
            message = Text(
                f"{request} has {held.length} positions and the blocks {held.blocks}: it should have {wanted}.",
                f"{request}有{held.length}个位置，持有的块是{held.blocks}，应当有{wanted}块。",
            )
            enough = len(set(held.blocks)) == len(held.blocks) == wanted
            self.expect(enough or (request in self.after.waiting and not held.blocks), message)

    def _check_fork(self) -> None:
        parent, child, _ = self.arguments
        if parent in self.before.running and len(self.before.running) < self.places:
            blocks, mine = self.before.running[parent].blocks, self.after.running.get(child)
            message = Text(
                f"{child} should run at once, in the blocks of {parent}: {blocks}.",
                f"{child}应当立即运行，并使用{parent}的块：{blocks}。",
            )
            self.expect(mine is not None and mine.blocks == blocks, message)

    def _check_step(self) -> None:
        """Somebody advances, nobody writes into shared blocks, and those preempted go to the host if there is room."""
        before, after = (sum(held.remaining for held in s.alive.values()) for s in (self.before, self.after))
        message = Text("no token was written, although there are requests.", "还有请求，却一个词元也没有写。")
        self.expect(after < before or not before, message)
        for request, held in self.after.running.items():
            last = held.blocks[-1]
            others = [other for other in self.after.holders("device", last) if other != request]
            message = Text(
                f"{request} wrote into block {last}, which is also held by {', '.join(others)}.",
                f"{request}往{last}号块里写了，而{'、'.join(others)}也持有这个块。",
            )
            self.expect(not others, message)
        preempted = [held for request, held in self.after.waiting.items() if request in self.before.running]
        needed, room = sum(-(-held.length // self.size) for held in preempted), len(self.before.pools["host"][1])
        message = Text(
            f"who was preempted should lie on the host: blocks needed there {needed}, free {room}.",
            f"被抢占的请求应当换出到主机：需要{needed}块，空闲{room}块。",
        )
        self.expect(needed > room or all(held.blocks for held in preempted), message)

    def _draw(self, place: str, marked: int) -> None:
        """A line a block of one pool: its references and holders, before and after."""
        table = ""
        for block in range(len(self.after.pools[place][0])):
            table += f"\n{'>' if block == marked else ' '}{block:>4}"
            for state in (self.before, self.after):
                references, free = state.pools[place]
                word = " ".join(state.holders(place, block)) or ("·" if block in free else "-")
                table += f"  {references[block]:>3}  {word:<22}"
        self.trial.picture(
            Text(
                f"blocks {PLACES[place]['en']}: references, holders, before and after; · is free{table}",
                f"{PLACES[place]['zh']}块：事件前后的引用计数和持有者；· 表示空闲{table}",
            )
        )
