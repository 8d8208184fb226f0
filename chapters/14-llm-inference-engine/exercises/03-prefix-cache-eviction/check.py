"""Gates on hits and on the victims, in order, of every request of published and random traces."""

from copy import deepcopy
from dataclasses import dataclass, field
from itertools import takewhile

from sysai.core.language import Text
from sysai.exercises.compare import about
from sysai.exercises.trial import Hint, Trial

DOCUMENT = ["ABCDEF", "p", "q", "r", "ABCDEF", "s", "t", "u", "ABCDEF", "v", "w", "x", "ABCDEF"]
CHATS = ["SYSa", "SYSk", "SYSab", "Xy", "SYSabc", "SYSkl", "Xyz", "SYSabcd", "SYSklm", "SYSabcde"]


def blocks(text: str) -> list[str]:
    """The names of a text's blocks."""
    return [text[:end] for end in range(1, len(text) + 1)]


@dataclass
class Cache:
    """The check's own account: for each block kept, by its name, the event that used it last."""

    num_blocks: int
    last_used: dict[str, int] = field(default_factory=dict)
    running: dict[str, str] = field(default_factory=dict)
    refused: int | None = None  # the last start that found no room

    def hits(self, text: str) -> int:
        return sum(1 for _ in takewhile(self.last_used.__contains__, blocks(text)))

    def lacking(self, text: str) -> int:
        return max(0, len(self.last_used) + len(text) - self.hits(text) - self.num_blocks)

    def holders(self, block: str) -> list[str]:
        return [request for request, text in self.running.items() if text.startswith(block)]

    def idle(self) -> list[str]:
        return [block for block in self.last_used if not self.holders(block)]

    def behind(self, block: str) -> list[str]:
        """Kept blocks that stand directly behind another."""
        return [other for other in self.last_used if other[:-1] == block]

    def start(self, number: int, request: str, text: str) -> tuple[int, list[str]] | None:
        self.running[request] = text
        hits, lacking, victims = self.hits(text), self.lacking(text), []
        if lacking > len(self.idle()):
            del self.running[request]
            self.refused = number
            return None
        for _ in range(lacking):
            leaves = [block for block in self.idle() if not self.behind(block)]
            victims.append(min(leaves, key=self.last_used.get))
            del self.last_used[victims[-1]]
        self.last_used.update(dict.fromkeys(blocks(text), number))
        return hits, victims

    def finish(self, number: int, request: str) -> None:
        self.last_used.update(dict.fromkeys(blocks(self.running.pop(request)), number))


def check(trial: Trial) -> None:
    for texts in (DOCUMENT, CHATS):
        events = [e for i, text in enumerate(texts) for e in (("start", f"r{i}", text), ("finish", f"r{i}"))]
        _check(trial, 8, events)
    two = [("start", "r0", "AB"), ("finish", "r0"), ("start", "r1", "CD"), ("finish", "r1"), ("start", "r2", "ABEF")]
    _check(trial, 5, two)
    for i in range(30):
        num_blocks = trial.random.randint(6, 14)
        _check(trial, num_blocks, _random_events(trial, num_blocks, 6 + 2 * i))


def _random_events(trial: Trial, num_blocks: int, count: int) -> list[tuple]:
    """Requests that mostly go on with an earlier text, a few at a time, some of which find no room."""
    random, cache, texts, events = trial.random, Cache(num_blocks), [""], []
    for number in range(count):
        if cache.running and random.random() < 0.25 * len(cache.running):
            events.append(("finish", random.choice(list(cache.running))))
        else:
            old = random.choice(texts)[: random.randint(1, num_blocks - 2)]
            text = old + "".join(random.choices("ABC", k=random.randint(0 if old else 1, 3)))
            texts.append(text[: num_blocks - 1])
            events.append(("start", f"r{number}", texts[-1]))
        name, *arguments = events[-1]
        getattr(cache, name)(number, *arguments)
    return events


def _check(trial: Trial, num_blocks: int, events: list[tuple]) -> None:
    cache, rest = Cache(num_blocks), iter(enumerate(events))

    def report(result: object) -> None:
        number, (name, request, *text) = next(rest)
        before = deepcopy(cache)
        expected = getattr(cache, name)(number, request, *text)
        if name == "start":
            shown = f"start({request!r}, {text[0]!r})"
            where = Text(f"events[{number}], {shown}", f"events[{number}]，{shown}")
            before.running[request] = text[0]
            _check_start(trial, where, before, text[0], result, expected)

    trial.call("replay", num_blocks, events, trial.callback(report))
    done = next(rest, None) is None
    trial.expect(done, Text("Leave replay as it is in the starter.", "请让`replay`保持起始代码中的样子。"))


def _check_start(trial: Trial, where: Text, cache: Cache, text: str, got: object, expected: tuple | None) -> None:
    """Compare what a start returned; `cache` is as it was before, with the request among those that run."""
    pair = type(got) is tuple and [type(part) for part in got] == [int, list]
    (hits, victims), evicted = expected or (0, []), got[1] if pair else []
    trial.picture(_picture(cache, victims, evicted))
    lacking, idle, wanted = cache.lacking(text), len(cache.idle()), "(hits, [victim, ...])" if expected else "None"
    message = Text(
        f"blocks lacking: {lacking}; not in use: {idle}. Return {wanted}, not {got!r:.60}.",
        f"缺{lacking}个块，没有在使用的有{idle}个。应返回{wanted}，而不是{got!r:.60}。",
    )
    why = _why(cache, text, evicted, victims)
    trial.expect(pair if expected else got is None, about(where, message), None if expected else why)
    found = Text(
        f"Found is {text[:hits]!r}: a block is named by the whole text up to its end, and the first not kept ends it.",
        f"找到的是{text[:hits]!r}：块以到它末尾为止的整段文本命名，遇到第一个不在前缀缓存里的为止。",
    )
    refused = Text(
        f"events[{cache.refused}] found no room. Did it change something all the same?",
        f"events[{cache.refused}]放不下，被拒绝了。它是不是仍然改动了什么？",
    )
    hints = [
        Hint(lambda got: cache.refused is not None and (got[0], len(got[1])) < (hits, len(victims)), refused),
        Hint(lambda got: got[0] != hits, found),
        Hint(lambda _: True, why),
    ]
    trial.expect_equal(got, expected, what=about(where, Text("(hits, victims)", "(hits, victims)")), hints=hints)


def _why(cache: Cache, text: str, evicted: list, victims: list[str]) -> Text:
    """What is wrong with the first block evicted that is not the victim wanted."""
    cache, lacking = deepcopy(cache), cache.lacking(text)
    for n, mine in enumerate(evicted):
        used = cache.last_used
        if mine not in used:
            return Text(
                f"{mine!r:.40} is not in the cache (any more).", f"{mine!r:.40}不在前缀缓存里（或者已经不在）。"
            )
        if holders := cache.holders(mine):
            return Text(
                f"{mine} is in use by {', '.join(holders)}. What has just been found for a request is in use, too.",
                f"{mine}正由{'、'.join(holders)}使用。刚为一个请求找到的块，也算在使用。",
            )
        if behind := cache.behind(mine):
            return Text(
                f"{', '.join(behind)} stands behind {mine}, without which nobody can find it any more.",
                f"{mine}后面还有{'、'.join(behind)}。没有了它，后面的块就查找不到了。",
            )
        if mine != (wanted := victims[n] if n < len(victims) else mine):
            return Text(
                f"{mine} was last used by events[{used[mine]}], {wanted} by events[{used[wanted]}], longer ago.",
                f"{mine}上次使用是events[{used[mine]}]，{wanted}是events[{used[wanted]}]，更久以前。",
            )
        del used[mine]
    return Text(f"Evict as many blocks as are lacking: {lacking}.", f"缺几个块，就淘汰几个：{lacking}个。")


def _picture(cache: Cache, expected: list[str], got: list) -> Text:
    """The tree of what is kept, before the event."""
    table = ""
    for block in sorted(cache.last_used):
        places = " ".join(f"{side.index(block) + 1 if block in side else '':>4}" for side in (expected, got))
        name, users = "  " * (len(block) - 1) + block[-1], " ".join(cache.holders(block))
        table += f"\n{name:<18}{cache.last_used[block]:>6}  {places}  {users}".rstrip()
    return Text(
        f"before: last use (events[]); which victim, yours; in use by{table}",
        f"在此之前：上次使用（events[]）；应第几个淘汰，你第几个淘汰；使用者{table}",
    )
