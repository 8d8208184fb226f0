"""Gates on hits and on the victims, in order, of every request of published and random traces."""

from dataclasses import dataclass, field, replace

from sysai.core.language import Text
from sysai.exercises.compare import about
from sysai.exercises.trial import Hint, Trial

DOCUMENT = ["ABCDEF", "p", "q", "r", "ABCDEF", "s", "t", "u", "ABCDEF", "v", "w", "x", "ABCDEF"]
CHATS = ["SYSa", "SYSk", "SYSab", "Xy", "SYSabc", "SYSkl", "Xyz", "SYSabcd", "SYSklm", "SYSabcde"]
BLOCKS = Text("blocks", "块")


@dataclass
class Cache:
    """The check's own account: for each block kept, by its text, the event that used it last."""

    num_blocks: int
    last_used: dict[str, int] = field(default_factory=dict)
    running: dict[str, str] = field(default_factory=dict)
    refused: int | None = None  # the last start that found no room

    def found(self, text: str) -> list[str]:
        """Blocks at the start of a text that are kept."""
        blocks = []
        while len(blocks) < len(text) and text[: len(blocks) + 1] in self.last_used:
            blocks.append(text[: len(blocks) + 1])
        return blocks

    def holders(self, block: str) -> list[str]:
        return [request for request, text in self.running.items() if text.startswith(block)]

    def behind(self, block: str) -> list[str]:
        """Kept blocks that stand directly behind another."""
        return [other for other in self.last_used if other[:-1] == block]

    def start(self, number: int, request: str, text: str) -> tuple[int, list[str]] | None:
        before, found, victims = dict(self.last_used), self.found(text), []
        while len(self.last_used) - len(found) + len(text) > self.num_blocks:
            idle = [b for b in self.last_used if not (self.holders(b) or self.behind(b) or b in found)]
            if not idle:
                self.last_used, self.refused = before, number
                return None
            victims.append(min(idle, key=self.last_used.get))
            del self.last_used[victims[-1]]
        self.running[request] = text
        self.use(number, text)
        return len(found), victims

    def finish(self, number: int, request: str) -> None:
        self.use(number, self.running.pop(request))

    def use(self, number: int, text: str) -> None:
        for end in range(1, len(text) + 1):
            self.last_used[text[:end]] = number


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
    random, cache, texts, events = trial.random, Cache(num_blocks), [], []
    for number in range(count):
        if cache.running and random.random() < 0.25 * len(cache.running):
            event = ("finish", random.choice(list(cache.running)))
            cache.finish(number, *event[1:])
        else:
            old = random.choice(texts)[: random.randint(1, num_blocks - 2)] if texts and random.random() < 0.8 else ""
            new = "".join(random.choices("ABC", k=random.randint(0 if old else 1, 3)))
            event = ("start", f"r{number}", (old + new)[: num_blocks - 1])
            cache.start(number, *event[1:])
            texts.append(event[2])
        events.append(event)
    return events


def _check(trial: Trial, num_blocks: int, events: list[tuple]) -> None:
    cache = Cache(num_blocks)
    numbers = iter(range(len(events)))

    def report(result: object) -> None:
        number = next(numbers)
        if events[number][0] == "finish":
            cache.finish(number, events[number][1])
        else:
            _check_start(trial, cache, number, *events[number][1:], result)

    trial.call("replay", num_blocks, events, trial.callback(report))
    done = next(numbers, None) is None
    trial.expect(done, Text("Leave replay as it is in the starter.", "请让`replay`保持起始代码中的样子。"))


def _check_start(trial: Trial, cache: Cache, number: int, request: str, text: str, got: object) -> None:
    """Compare what a start returned; the cache goes on to the state after it."""
    before = replace(cache, last_used=dict(cache.last_used), running=dict(cache.running))
    expected = cache.start(number, request, text)
    pair = type(got) is tuple and len(got) == 2 and type(got[0]) is int and type(got[1]) is list
    hits, victims = expected or (0, [])
    trial.picture(_picture(before, text, victims, got[1] if pair else []))
    shown = f"start({request!r}, {text!r})"
    where = Text(f"events[{number}], {shown}", f"events[{number}]，{shown}")
    if expected is None:
        message = Text("too many blocks are in use, return None.", "正在使用的块太多，放不下，应返回None。")
        hints = (_fault(before, text, victim) for victim in (got[1] if pair else []))
        trial.expect(got is None, about(where, message), next(filter(None, hints), None))
        return
    message = Text(
        f"return (hits, victims), a whole number and a list, not {got!r:.60}.",
        f"应返回（命中的块数，被淘汰的块的列表），而不是{got!r:.60}。",
    )
    hint = Text(
        f"There is room: {hits} blocks are found, and {len(victims)} may be evicted.",
        f"放得下：找到{hits}个块，可以淘汰{len(victims)}个块。",
    )
    trial.expect(pair, about(where, message), hint if got is None else None)
    more = Text(
        "A block is found only if all tokens up to its end agree, and all blocks before it are kept.",
        "一个块，只有到它末尾为止的全部词元都相同，而且前面各块都还在，才算找到。",
    )
    fewer = Text(f"{text[:hits]} is kept: see the picture.", f"{text[:hits]}还在缓存里，见图。")
    refused = Text(
        f"events[{before.refused}] found no room. Did it change something all the same?",
        f"events[{before.refused}]放不下，被拒绝了。它是不是仍然改动了什么？",
    )
    less = refused if before.refused is not None else None
    hints = [Hint(lambda got: got > hits, more), Hint(lambda got: got < hits, less or fewer)]
    what = about(where, Text("the hits", "命中数"))
    trial.expect_equal(got[0], hits, unit=BLOCKS, what=what, hints=hints)
    hints = [Hint(lambda got: less and len(got) < len(victims), less)]
    hints.append(Hint(lambda got: got != victims, _why_wrong(before, text, got[1], victims)))
    trial.expect_equal(got[1], victims, what=about(where, Text("the victims", "淘汰的块")), hints=hints)


def _why_wrong(cache: Cache, text: str, got: list, expected: list[str]) -> Text | None:
    """What is wrong with the first victim that differs."""
    cache = replace(cache, last_used=dict(cache.last_used))
    for mine, wanted in zip(got, expected, strict=False):
        if mine != wanted:
            used = cache.last_used
            return _fault(cache, text, mine) or Text(
                f"{mine} was last used by events[{used[mine]}], {wanted} by events[{used[wanted]}], longer ago.",
                f"{mine}上次使用是events[{used[mine]}]，{wanted}是events[{used[wanted]}]，更久以前。",
            )
        del cache.last_used[mine]
    return Text(
        f"Blocks lacking: {len(expected)}. Evict so many, no more and no fewer.",
        f"缺{len(expected)}个块，就淘汰{len(expected)}个，不多也不少。",
    )


def _fault(cache: Cache, text: str, victim: object) -> Text | None:
    """Why a block may not be evicted now."""
    if victim not in cache.last_used:
        return Text(f"{victim!r:.40} is not in the cache (any more).", f"{victim!r:.40}不在缓存里（或者已经不在）。")
    if holders := cache.holders(victim):
        return Text(
            f"{victim} is in use by {', '.join(holders)}, which still reads it.",
            f"{victim}正由{'、'.join(holders)}使用，还要读它。",
        )
    if victim in cache.found(text):
        return Text(
            f"{victim} has just been found for this request. Hold what was found before you look for victims.",
            f"{victim}刚刚为这个请求找到。应先占住找到的块，再去挑选要淘汰的块。",
        )
    if behind := cache.behind(victim):
        return Text(
            f"{', '.join(behind)} stands behind {victim}. Without it nobody can reach that block: a text must not "
            "lose its middle.",
            f"{victim}后面还有{'、'.join(behind)}。没有了它，后面的块谁也找不到：文本不能缺了中间。",
        )
    return None


def _picture(cache: Cache, text: str, expected: list[str], got: list) -> Text:
    """The tree of what is kept, before the event."""
    found, table = cache.found(text), ""
    for block in sorted(cache.last_used):
        places = " ".join(f"{side.index(block) + 1 if block in side else '':>4}" for side in (expected, got))
        users = " ".join([*cache.holders(block), *"+" * (block in found)])
        table += f"\n{'  ' * (len(block) - 1) + block[-1]:<18}{cache.last_used[block]:>6}  {places}  {users}".rstrip()
    return Text(
        f"before: last use (events[]); which victim, yours; in use by, + if found{table}",
        f"在此之前：上次使用（events[]）；应第几个淘汰，你第几个淘汰；使用者，+表示找到{table}",
    )
