"""Gates on the recount of every block after every event of a thousand requests, and on the server's own promises."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from sysai.core.language import Text
from sysai.exercises.trial import Trial

AS_IT_IS = Text("Leave serve as it is in the starter.", "请让`serve`保持起始代码中的样子。")
NOBODY = Text("nobody", "无")
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

    def holders(self, place: str, block: int) -> list[str]:
        requests = self.running if place == "device" else self.waiting
        return [name for name, held in requests.items() if block in held.blocks]

    @property
    def unwritten(self) -> int:
        """Tokens that all requests lack."""
        return sum(held.remaining for held in (*self.running.values(), *self.waiting.values()))


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
    num_blocks, host_blocks, size, places = shape
    pools = {
        "device": ([0] * num_blocks, list(range(num_blocks))),
        "host": ([0] * host_blocks, list(range(host_blocks))),
    }
    before = State({}, {}, pools)
    log = trial.call("serve", *shape, events)
    trial.expect(type(log) is list and [type(parts) for parts in log] == [tuple] * len(events), AS_IT_IS)
    for number, (event, parts) in enumerate(zip(events, log, strict=True)):
        after = _read(trial, parts, num_blocks, host_blocks)
        _Event(trial, size, places, number, event, before, after).check()
        before = after


def _read(trial: Trial, parts: tuple, num_blocks: int, host_blocks: int) -> State:
    trial.expect([type(part) for part in parts] == [list, list, tuple, tuple], AS_IT_IS)
    running, waiting, device, host = parts
    blocks = [*device[1], *host[1], *(block for request in (*running, *waiting) for block in request[3])]
    counts = [*device[0], *host[0]]
    trial.expect(
        all(type(x) is int for x in (*blocks, *counts)) and (len(device[0]), len(host[0])) == (num_blocks, host_blocks),
        Text("Blocks and counts must be whole numbers (int).", "块号和计数必须是整数（int）。"),
    )
    tables = [{name: Held(*rest) for name, *rest in requests} for requests in (running, waiting)]
    return State(*tables, {"device": device, "host": host})


def _names(names: Iterable[str]) -> dict[str, str]:
    """A list of names."""
    names = list(names)
    return Text(", ".join(names), "、".join(names)) if names else NOBODY


class _Event:
    """One event: the states before and after it."""

    def __init__(
        self, trial: Trial, size: int, places: int, number: int, event: tuple, before: State, after: State
    ) -> None:
        self.trial, self.size, self.places, self.event = trial, size, places, event
        self.before, self.after = before, after
        name, *arguments = event
        shown = f"{name}({', '.join(map(repr, arguments))})"
        self.where = Text(f"After events[{number}], {shown}: ", f"events[{number}]即{shown}之后：")

    def check(self) -> None:
        for place in ("device", "host"):
            self._recount(place)
        self._check_requests()
        if self.event[0] == "fork":
            self._check_fork()
        elif self.event[0] == "step":
            self._check_step()

    def _recount(self, place: str) -> None:
        """Every block is counted as often as it is held, and free if nobody holds it."""
        references, free = self.after.pools[place]
        requests = self.after.running if place == "device" else self.after.waiting
        held = Counter(block for request in requests.values() for block in request.blocks)
        times = Counter(free)
        for block, count in enumerate(references):
            if count == held[block] and times[block] == (count == 0):
                continue
            self._draw(place, block)
            now, once = _names(self.after.holders(place, block)), _names(self.before.holders(place, block))
            where = PLACES[place]
            message = Text(
                f"block {block} {where['en']} has {count} references and stands in the list of free blocks "
                f"{times[block]} times. Held now by {now['en']}, before by {once['en']}.",
                f"{where['zh']}{block}号块的引用计数是{count}，在空闲块列表里出现{times[block]}次。"
                f"现在的持有者：{now['zh']}；此前的持有者：{once['zh']}。",
            )
            leaked = count > held[block]
            self.expect(False, message, self._why_leaked(place, block) if leaked else self._why_freed(place, block))

    def _why_leaked(self, place: str, block: int) -> dict[str, str]:
        name, *arguments = self.event
        if name == "abort" and place == "host":
            return Text(
                f"A leak. {arguments[0]} was waiting, swapped out: what it held lay on the host.",
                f"泄漏。{arguments[0]}当时在等待，已被换出：它持有的块在主机上。",
            )
        if name == "step" and place == "host":
            return Text(
                "A leak. It was taken for a request that was preempted in this step and found too little room "
                "on the host.",
                "泄漏。它是为这一步中被抢占的请求取来的，而主机上的块不够那个请求用。",
            )
        copied = [r for r in self.before.holders(place, block) if r in self.after.running]
        if name == "step" and copied:
            return Text(
                f"A leak. {' and '.join(copied)} went over to a copy of this block; its count was not lowered.",
                f"泄漏。{'、'.join(copied)}改用了这个块的副本，它的计数却没有减。",
            )
        return Text("A leak: whoever counts as a holder does not hold it.", "泄漏：计入的持有者其实并不持有它。")

    def _why_freed(self, place: str, block: int) -> dict[str, str]:
        name, *arguments = self.event
        if name == "abort" and place == "device" and arguments[0] in self.before.waiting:
            return Text(
                f"Freed twice. {arguments[0]} was waiting: its blocks on the device had been given back when it "
                "was preempted, and may be another's by now.",
                f"重复释放。{arguments[0]}当时在等待：它在设备上的块，被抢占时就已归还，现在可能已经是别人的了。",
            )
        return Text(
            "Freed too often: it was given back by somebody who did not hold it, or no longer.",
            "释放过多：有人归还了自己并不持有，或者已经不再持有的块。",
        )

    def _check_requests(self) -> None:
        """Nobody is lost or invented, and tables are as long as they must be."""
        name, *arguments = self.event
        alive = {*self.before.running, *self.before.waiting}
        if name == "add" or (name == "fork" and arguments[0] in self.before.running):
            alive.add(arguments[0] if name == "add" else arguments[1])
        if name == "abort":
            alive.discard(arguments[0])
        if name == "step":
            alive -= {request for request, held in self.before.running.items() if held.remaining == 1}
        there = {*self.after.running, *self.after.waiting}
        lost = alive - there - self._maybe_done()
        more = there - alive - {*self.before.running}
        message = Text(
            f"requests lost: {_names(lost)['en']}; requests that should not be there: {_names(more)['en']}.",
            f"丢失的请求：{_names(lost)['zh']}；不该存在的请求：{_names(more)['zh']}。",
        )
        self.expect(not lost and not more, message)
        for request, held in (*self.after.running.items(), *self.after.waiting.items()):
            wanted = -(-held.length // self.size)
            message = Text(
                f"{request} has {held.length} positions and the blocks {held.blocks}: it should have {wanted}.",
                f"{request}有{held.length}个位置，持有的块是{held.blocks}，应当有{wanted}块。",
            )
            enough = len(set(held.blocks)) == len(held.blocks) == wanted
            self.expect(enough or (request in self.after.waiting and not held.blocks), message)

    def _maybe_done(self) -> set[str]:
        """Those who may have been admitted and written their last token within one step."""
        if self.event != ("step",):
            return set()
        return {request for request, held in self.before.waiting.items() if held.remaining == 1}

    def _check_fork(self) -> None:
        _, parent, child, _ = self.event
        if parent in self.before.running and len(self.before.running) < self.places:
            mine = self.after.running.get(child)
            message = Text(
                f"{child} should run at once, in the blocks of {parent}: {self.before.running[parent].blocks}.",
                f"{child}应当立即运行，并使用{parent}的块：{self.before.running[parent].blocks}。",
            )
            self.expect(mine is not None and mine.blocks == self.before.running[parent].blocks, message)

    def _check_step(self) -> None:
        """Somebody advances, nobody writes into shared blocks, and those preempted go to the host if there is room."""
        message = Text("no token was written, although there are requests.", "还有请求，却一个词元也没有写。")
        self.expect(self.after.unwritten < self.before.unwritten or not self.before.unwritten, message)
        for request, held in self.after.running.items():
            others = [r for r in self.after.holders("device", held.blocks[-1]) if r != request]
            message = Text(
                f"{request} wrote into block {held.blocks[-1]}, which is also held by {_names(others)['en']}.",
                f"{request}往{held.blocks[-1]}号块里写了，而{_names(others)['zh']}也持有这个块。",
            )
            self.expect(not others, message)
        preempted = [r for r in self.after.waiting if r in self.before.running]
        needed = sum(-(-self.after.waiting[r].length // self.size) for r in preempted)
        room = len(self.before.pools["host"][1])
        message = Text(
            f"{', '.join(preempted)} should lie on the host: blocks needed there {needed}, free {room}.",
            f"{'、'.join(preempted)}应当换出到主机：需要{needed}块，空闲{room}块。",
        )
        self.expect(needed > room or all(self.after.waiting[r].blocks for r in preempted), message)

    def _draw(self, place: str, marked: int) -> None:
        """A line a block of one pool: its references and holders, before and after."""
        rows = []
        for block in range(len(self.after.pools[place][0])):
            sides = []
            for state in (self.before, self.after):
                references, free = state.pools[place]
                word = " ".join(state.holders(place, block)) or ("·" if block in free else "-")
                sides.append(f"{references[block]:>3}  {word:<22}")
            rows.append(f"{'>' if block == marked else ' '}{block:>4}  {'  '.join(sides)}".rstrip())
        table = "\n".join(rows)
        self.trial.picture(
            Text(
                f"blocks {PLACES[place]['en']}: references, holders, before and after; · is free\n{table}",
                f"{PLACES[place]['zh']}块：事件前后的引用计数和持有者；· 表示空闲\n{table}",
            )
        )

    def expect(self, condition: bool, message: dict[str, str], hint: dict[str, str] | None = None) -> None:
        self.trial.expect(condition, {language: self.where[language] + message[language] for language in message}, hint)
