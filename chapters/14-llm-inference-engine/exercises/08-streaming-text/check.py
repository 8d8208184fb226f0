"""Gates on every piece: what is certain is found from all bytes so far, anew at each token."""

import codecs
from itertools import pairwise
from random import Random

from sysai.core.language import Text
from sysai.exercises.trial import Trial

TEXTS = (
    "The answer is 42.\n\nUser: thanks! 🎉 Assistant: you're welcome.",
    "人工智能系统：从屋顶线到强化学习。用户：谢谢👍🏽！助手：不客气。",
    "naïve café, Größe, ½ of €30; über alles → ok ✓ <|end|> rest",
    "a👨‍👩‍👧b👨‍👩‍👧cc汉字汉字汉abcabcabd",
)
LATIN_STOPS = ["User:", "\n\nUser", "<|end|>", "<|e", "abcabd", "→ ok", "ssistant", "stant"]
STOPS = [*LATIN_STOPS, "用户：", "用户", "汉字汉a", "👨‍👩‍👧c", "🎉"]
BROKEN = (b"\xff", b"\xe4\xb8", b"\xf0\x9f\x8e", b"\xc0\xaf", b"\x80", b"\xf4\x90")


def check(trial: Trial) -> None:
    tokens = [b"\xe4\xbd", b"\xa0\xe5\xa5\xbd", b" \xf0\x9f", b"\x91\x8b A", b"B", b"A", b"BC!"]
    _check(trial, tokens, ["ABC"])
    _check(trial, tokens, [])
    _check(trial, [b"x\xe4\xb8", b"y", b"ab", b"c\xf0\x9f\x8e"], ["abcd"])
    _check(trial, [b"x ss", b"ist", b"ant: y", b" z"], ["ssistant", "stant"])
    _check(trial, [b"one, two; three"], [";", ","])
    _check(trial, [b"one <|end|> two"], ["<|e", "<|end|>"])
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


def _shown(text: str, stop: list[str], final: bool = False) -> tuple[str, str | None]:
    """Of certain characters those to be shown, and the stop string that ends them."""
    for end in range(1, len(text) + 1):
        if met := [s for s in stop if text[:end].endswith(s)]:
            longest = max(met, key=len)
            return text[: end - len(longest)], longest
    held = max([n for s in stop for n in range(1, len(s)) if text.endswith(s[:n])], default=0)
    return text[: len(text) - (0 if final else held)], None


def _stream(tokens: list[bytes], stop: list[str]) -> tuple[list[str], str | None]:
    """What is right: the piece of each token and the last one, and the stop string met."""
    certain = [codecs.utf_8_decode(b"".join(tokens[: n + 1]), "replace", False)[0] for n in range(len(tokens))]
    heads = [_shown(text, stop)[0] for text in certain]
    whole, met = _shown(b"".join(tokens).decode("utf-8", errors="replace"), stop, final=True)
    return [after[len(before) :] for before, after in pairwise(["", *heads, whole])], met


def _check(trial: Trial, tokens: list[bytes], stop: list[str]) -> None:
    got, expected = trial.call("stream", tokens, stop), _stream(tokens, stop)
    if len(got[0]) == len(expected[0]):
        trial.picture(_picture(tokens, got[0], expected[0]))
    what = Text("The pieces, the last by `finish`, and the stop string", "各片（最后一片由`finish`返回）和停止串")
    trial.expect_equal(got, expected, what=what)


def _picture(tokens: list[bytes], got: list[str], pieces: list[str]) -> Text:
    """Token by token, around the first difference."""
    first = next((i for i, (a, b) in enumerate(zip(got, pieces, strict=True)) if a != b), 0)
    rows = [("token", "expected", "got")]
    for i in range(max(0, first - 3), min(len(pieces), first + 3)):
        name = repr(tokens[i])[1:] if i < len(tokens) else "finish"
        rows.append((f"{i}  {name}", repr(pieces[i]), repr(got[i]) + ("  <-" if got[i] != pieces[i] else "")))
    widths = [max(len(row[column]) for row in rows) + 2 for column in range(2)]
    table = "\n".join(f"{row[0]:<{widths[0]}}{row[1]:<{widths[1]}}{row[2]}" for row in rows)
    return Text(f"piece by piece\n{table}", f"逐片对照\n{table}")
