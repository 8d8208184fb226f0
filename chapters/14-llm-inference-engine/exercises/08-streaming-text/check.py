"""Gates on every piece: what is certain is found from all bytes so far, anew at each token."""

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial

TEXTS = (
    "The answer is 42.\n\nUser: thanks! 🎉 Assistant: you're welcome.",
    "人工智能系统：从屋顶线到强化学习。用户：谢谢👍🏽！助手：不客气。",
    "naïve café, Größe, ½ of €30; über alles → ok ✓ <|end|> rest",
    "a👨‍👩‍👧b👨‍👩‍👧cc汉字汉字汉abcabcabd",
)
STOPS = (
    "User:",
    "\n\nUser",
    "用户：",
    "用户",
    "<|end|>",
    "<|e",
    "abcabd",
    "汉字汉a",
    "👨‍👩‍👧c",
    "→ ok",
    "🎉",
    "ssistant",
    "stant",
)
BROKEN = (b"\xff", b"\xe4\xb8", b"\xf0\x9f\x8e", b"\xc0\xaf", b"\x80", b"\xf4\x90")
REPLACEMENT = "�"


@dataclass(frozen=True)
class Answer:
    """What is right for all bytes up to a token."""

    shown: str  # in all
    met: str | None


def check(trial: Trial) -> None:
    tokens = [b"\xe4\xbd", b"\xa0\xe5\xa5\xbd", b" \xf0\x9f", b"\x91\x8b A", b"B", b"A", b"BC!"]
    _check(trial, tokens, ["ABC"])
    _check(trial, tokens, [])
    _check(trial, [b"x\xe4\xb8", b"y", b"ab", b"c\xf0\x9f\x8e"], ["abcd"])
    _check(trial, [b"x ss", b"ist", b"ant: y", b" z"], ["stant", "ssistant"])
    _check(trial, [b"one, two; three"], [";", ","])
    for text in TEXTS:
        for k in range(6):
            stop = [] if k == 0 else trial.random.sample(STOPS, k)
            _check(trial, _cut(trial.random, text.encode(), trial.random.choice([1, 2, 4, 9])), stop)
        data = bytearray(text.encode())
        for _ in range(3):
            i = trial.random.randrange(len(data))
            data[i:i] = trial.random.choice(BROKEN)
        data += trial.random.choice(BROKEN[1:3])
        _check(trial, _cut(trial.random, bytes(data), 3), trial.random.sample(STOPS, 2))


def _cut(random: Random, data: bytes, mean: int) -> list[bytes]:
    """Tokens of 1 to 2 * mean bytes, wherever characters end."""
    tokens, start = [], 0
    while start < len(data):
        end = start + random.randint(1, 2 * mean)
        tokens.append(data[start:end])
        start = end
    return tokens


@lru_cache(maxsize=10_000)
def _unfinished(tail: bytes) -> bool:
    """Whether further bytes can make one character of these, found by trying."""
    if len(tail) > 3:
        return False
    for byte in (0x80, 0x90, 0xA0, 0xBF):  # behind any first byte, one of these is allowed
        longer = tail + bytes([byte])
        try:
            if len(longer.decode()) == 1:
                return True
        except UnicodeDecodeError:
            if _unfinished(longer):
                return True
    return False


def _certain(data: bytes) -> str:
    """The characters that no further byte changes."""
    end = next((len(data) - n for n in (3, 2, 1) if n <= len(data) and _unfinished(data[-n:])), len(data))
    return data[:end].decode("utf-8", errors="replace")


def _answer(text: str, stop: list[str], final: bool = False) -> Answer:
    """Of certain characters: those shown, and the stop string that ends them."""
    for end in range(1, len(text) + 1):
        met = [s for s in stop if text[:end].endswith(s)]
        if met:
            longest = max(met, key=len)
            return Answer(text[: end - len(longest)], longest)
    held = max([n for s in stop for n in range(1, len(s)) if text.endswith(s[:n])], default=0)
    return Answer(text[: len(text) - (0 if final else held)], None)


def _pieces(tokens: list[bytes], stop: list[str]) -> tuple[list[str], str | None]:
    """What is right: the piece of each token, the last piece, and the stop string met."""
    pieces, shown = [], ""
    data = b""
    for token in tokens:
        data += token
        answer = _answer(_certain(data), stop)
        pieces.append(answer.shown[len(shown) :])
        shown = answer.shown
    answer = _answer(data.decode("utf-8", errors="replace"), stop, final=True)
    return [*pieces, answer.shown[len(shown) :]], answer.met


def _always_held(tokens: list[bytes], stop: list[str]) -> list[str]:
    """The pieces, if as many characters are held back as the longest stop string has, less one."""
    most, shown, pieces = max(map(len, stop), default=1) - 1, 0, []
    for i in range(len(tokens)):
        text = _certain(b"".join(tokens[: i + 1]))
        answer = _answer(text, stop)
        end = len(answer.shown) if answer.met else max(shown, len(text) - most)
        pieces.append(text[shown:end])
        shown = max(shown, end)
    return pieces


def _check(trial: Trial, tokens: list[bytes], stop: list[str]) -> None:
    got = trial.call("stream", tokens, stop)
    pieces, met = _pieces(tokens, stop)
    form = type(got) is tuple and len(got) == 2 and type(got[0]) is list and all(type(x) is str for x in got[0])
    trial.expect(
        form and len(got[0]) == len(pieces),
        Text(
            "`push` and `finish` return text (str). Leave `stream` as it is: the pieces and the stop string.",
            "`push`和`finish`应返回字符串（str）。请保留`stream`原样：它返回各片和停止串。",
        ),
    )
    trial.picture(_picture(tokens, got[0], pieces))
    for i, (mine, right) in enumerate(zip(got[0], pieces, strict=True)):
        if i < len(tokens):
            what = Text(f"The piece of token {i} ({tokens[i]!r})", f"{i}号词元（{tokens[i]!r}）的一片")
        else:
            what = Text("The last piece, of `finish`", "最后一片，即`finish`的返回值")
        trial.expect_equal(mine, right, what=what, hints=_hints(tokens, stop, got[0], pieces, i))
    what = Text("The stop string met (`met`)", "遇到的停止串（`met`）")
    trial.expect_equal(got[1], met, what=what)


def _hints(tokens: list[bytes], stop: list[str], got: list[str], pieces: list[str], i: int) -> list[Hint]:
    whole = b"".join(tokens).decode("utf-8", errors="replace")
    text = _certain(b"".join(tokens[: i + 1]))
    alone = tokens[i].decode("utf-8", errors="replace") if i < len(tokens) else ""
    before = "".join(pieces[:i])
    met = _answer(text, stop).met
    same_end = [pieces[i] + met[: -len(s)] for s in stop if met and s != met and met.endswith(s)]
    return [
        Hint(
            lambda value: REPLACEMENT in value and REPLACEMENT not in pieces[i] and value == alone,
            Text(
                "You decoded the token by itself. A character may begin in one token and end in a later one: keep its "
                "bytes until it is complete.",
                "你单独解码了这个词元。一个字符可能从一个词元开始、到后面的词元才结束：应把它的字节留到完整为止。",
            ),
        ),
        Hint(
            lambda value: REPLACEMENT in value and pieces[i].count(REPLACEMENT) < value.count(REPLACEMENT),
            Text(
                "A U+FFFD that is not right: its bytes can still become a character, or belong to one that is "
                "complete.",
                "多了一个不该有的U+FFFD：它的那些字节还可能成为一个字符，或者属于一个完整的字符。",
            ),
        ),
        Hint(
            lambda value: i == len(tokens) and not value,
            Text(
                "Something is held back still: text that might have become a stop string, or bytes of an unfinished "
                "character. Nothing follows, so out with it.",
                "还有东西留着没有交出：可能成为停止串的文字，或者未完成的字符的字节。后面不会再有了，应当交出来。",
            ),
        ),
        Hint(
            lambda value: i == len(tokens) and bool(value) and pieces[i].startswith(value),
            Text(
                "The bytes of the unfinished character at the end are missing: they become U+FFFD.",
                "末尾未完成的字符的字节丢了：它们应变成U+FFFD。",
            ),
        ),
        Hint(
            lambda value: value in same_end,
            Text(
                "Of stop strings that end with the same character, the longest counts: it begins first.",
                "几个停止串在同一个字符处结束时，取最长的：它最先开始。",
            ),
        ),
        Hint(
            lambda value: met is not None and value.startswith(pieces[i]),
            Text(
                "The stop string is no part of the text, nor is anything behind it, in the same token or a later one.",
                "停止串不属于文本，它后面的一切也不属于，无论在同一个词元里还是在后面的词元里。",
            ),
        ),
        Hint(
            lambda value: value != pieces[i] and value.startswith(pieces[i]) and text.startswith(before + value),
            Text(
                "This is too early: the end of the text may be the beginning of a stop string, and what has been shown "
                "can't be taken back.",
                "太早了：文本的末尾可能是停止串的开头，而给人看过的收不回来。",
            ),
        ),
        Hint(
            lambda _: got[: len(tokens)] == _always_held(tokens, stop),
            Text(
                "You always hold back as many characters as a stop string may still need. Hold back only an end "
                "that is "
                "the beginning of one.",
                "你总是留下停止串可能还需要的那么多字符。只有末尾确实是某个停止串的开头时才需要留。",
            ),
        ),
        Hint(
            lambda value: not value and i < len(tokens) and REPLACEMENT in alone,
            Text(
                "Only the bytes of the unfinished character must wait. The characters before it are certain, and a "
                "broken byte must not hold up what follows.",
                "要等的只是未完成的字符的那些字节。它前面的字符已经确定；坏掉的字节也不能拦住后面的。",
            ),
        ),
        Hint(
            lambda value: pieces[i].startswith(value),
            Text(
                "This is too late: all of the expected piece is certain now. So is a broken byte as soon as no "
                "further one can complete it.",
                "太迟了：应得的这一片现在已全部确定。坏掉的字节也一样，一旦后面的字节不可能再补全它，就确定了。",
            ),
        ),
        Hint(
            lambda value: before + value not in whole and value.endswith(pieces[i]) and bool(pieces[i]),
            Text(
                "Text comes twice: what you had held back has been returned already.",
                "文字重复了：你留着的那部分已经交出过了。",
            ),
        ),
    ]


def _picture(tokens: list[bytes], got: list[str], pieces: list[str]) -> dict[str, str]:
    """Token by token, around the first difference."""
    first = next((i for i, (a, b) in enumerate(zip(got, pieces, strict=True)) if a != b), 0)
    rows = [("token", "expected", "got")]
    for i in range(max(0, first - 3), min(len(pieces), first + 3)):
        name = repr(tokens[i])[1:] if i < len(tokens) else "finish"
        rows.append((f"{i}  {name}", repr(pieces[i]), repr(got[i]) + ("  <-" if got[i] != pieces[i] else "")))
    widths = [max(len(row[column]) for row in rows) + 2 for column in range(2)]
    table = "\n".join(f"{row[0]:<{widths[0]}}{row[1]:<{widths[1]}}{row[2]}" for row in rows)
    return Text(f"piece by piece\n{table}", f"逐片对照\n{table}")
