"""The report that a student reads after a check: what was expected, what came, for which input, and how to repeat it.

One `CheckReport` an exercise; it is written as text, HTML, Markdown, or data for machines, from the same parts.
"""

import html
import re
import unicodedata
from dataclasses import asdict, dataclass

from sysai.core.language import Text
from sysai.exercises.messages import LABELS, VERDICTS
from sysai.exercises.pipes import Printed
from sysai.exercises.show import plain

PASSED, FAILED = 0, 1  # exit codes of `sysai check`

_MARKS = {"passed": "✓", "failed": "✗", "not started": "·"}
_WIDTH = 100
_PRINTED_LINES = 10
_NOTHING = Printed()


@dataclass(frozen=True)
class CheckReport:
    """The result of one exercise. `verdict` is passed, failed or not started; `reason` one of `failure.REASONS`.

    `frames` are (line number, source line) of the answer; `check_lines` are those of check.py that led to the failure;
    `held` counts expectations that held; `loaded` tells whether the answer's top level ran to its end; `repeat` is the
    command for the same inputs; `seconds` tells how long the check took and decides nothing.
    """

    id: str
    number: str
    title: Text
    verdict: str
    reason: str | None = None
    message: Text | None = None
    call: str | None = None
    expected: Text | None = None
    got: Text | None = None
    returned: str | None = None
    hint: Text | None = None
    error: str | None = None
    frames: tuple[tuple[int, str], ...] = ()
    check_lines: tuple[int, ...] = ()
    picture: Text | None = None
    printed: Printed = _NOTHING
    held: int = 0
    loaded: bool = False
    seed: int | None = None
    repeat: str | None = None
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every expectation held."""
        return self.verdict == "passed"

    def data(self) -> dict:
        """Every field, texts in both languages, ready for JSON."""
        return {**vars(self), "printed": asdict(self.printed)}

    @classmethod
    def from_data(cls, data: dict) -> "CheckReport":
        """The report whose `data` this is."""
        frames = tuple((line, source) for line, source in data["frames"])
        lines = tuple(data["check_lines"])
        return cls(**{**data, "frames": frames, "check_lines": lines, "printed": Printed(**data["printed"])})

    def text(self, language: str) -> str:
        """The report as plain text, for a terminal."""
        lines = [self._headline(language)]
        if self.message:
            lines += ["", *_wrap(self._message(language), "  ")]
        parts = self._parts(language)
        if parts:
            column = max(_columns(label) for label, _, _ in parts) + 3
            lines.append("")
            for label, content, is_code in parts:
                lines += _aligned(label, content, column, is_code)
        if self._ending(language):
            lines += ["", *_wrap(self._ending(language), "  ")]
        if self._depends_on_inputs:
            lines += ["", f"      {self.repeat}"]
        return "\n".join(lines) + "\n"

    def html(self, language: str) -> str:
        """The report as HTML, for a notebook; everything that the answer produced is escaped."""
        colour = {"passed": "#2e7d32", "failed": "#b3261e"}.get(self.verdict, "#666")
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left;vertical-align:top;padding:.2em 1em .2em 0">{label}</th>'
            f'<td style="text-align:left;padding:.2em 0">{_html(content, is_code)}</td></tr>'
            for label, content, is_code in self._parts(language)
        )
        message = f"<p>{_html(self._message(language), False)}</p>" if self.message else ""
        ending = f"<p>{_html(self._ending(language), False)}</p>" if self._ending(language) else ""
        if self._depends_on_inputs:
            ending += _html(self.repeat, True)
        return (
            f'<div lang="{_bcp47(language)}" style="border-left:4px solid {colour};padding:.2em 1em">'
            f"<p><strong>{html.escape(self._headline(language))}</strong></p>"
            f"{message}{f'<table>{rows}</table>' if rows else ''}{ending}</div>"
        )

    def markdown(self, language: str) -> str:
        """The report as Markdown, for a workflow's summary."""
        lines = [f"### {_escape(self._headline(language))}", ""]
        if self.message:
            lines += [_escape(self._message(language)), ""]
        for label, content, is_code in self._parts(language):
            if is_code and "\n" in content:
                fence = "`" * max(3, _longest_run(content, "`") + 1)
                lines += [f"**{label}**", "", fence + "text", content, fence, ""]
            elif is_code:
                fence = "`" * (_longest_run(content, "`") + 1)
                lines += [f"**{label}** {fence} {content} {fence}", ""]
            else:
                lines += [f"**{label}** {_escape(content)}", ""]
        if self._ending(language):
            lines += [_escape(self._ending(language)), ""]
        if self._depends_on_inputs:
            lines += ["```text", self.repeat, "```", ""]
        return "\n".join(lines)

    def _headline(self, language: str) -> str:
        mark, verdict = _MARKS[self.verdict], VERDICTS[self.verdict][language]
        return (
            f"{mark} {self.number} {self.title[language]} ({self.id}): {verdict}"
            if language == "en"
            else (f"{mark} {self.number} {self.title[language]}（{self.id}）：{verdict}")
        )

    def _parts(self, language: str) -> list[tuple[str, str, bool]]:
        """(label, content, whether it is code), in the order in which they are read."""
        where = "\n".join(f"answer.py:{line}  {source}".rstrip() for line, source in self.frames)
        contents = [
            ("call", self.call, True),
            ("expected", self.expected and self.expected[language], True),
            ("got", self.got and self.got[language], True),
            ("returned", self.returned, True),
            ("error", self.error, True),
            ("where", where, True),
            ("hint", self.hint and self.hint[language], False),
            ("picture", self.picture and self.picture[language], True),
            ("printed", self._printed(language), True),
        ]
        return [(LABELS[key][language], plain(content), is_code) for key, content, is_code in contents if content]

    def _printed(self, language: str) -> str:
        """The first and the last lines, and how many characters between them are not shown."""
        head, tail = self.printed.head.rstrip("\n"), self.printed.tail.rstrip("\n")
        first = head.split("\n")
        last = tail.split("\n") if tail else first[_PRINTED_LINES:]
        shown, end = "\n".join(first[:_PRINTED_LINES]), "\n".join(last[-_PRINTED_LINES:])
        total = len(head) + len(tail) + self.printed.left_out
        left_out = total - len(shown) - len(end)
        if not end:
            return shown
        cut = Text(f"… {left_out:,} characters not shown …", f"……{left_out:,}个字符未显示……")[language]
        return "\n".join([shown, cut, end] if left_out > 1 else [shown, end])

    def _message(self, language: str) -> str:
        return plain(self.message[language])

    @property
    def _depends_on_inputs(self) -> bool:
        return self.verdict == "failed" and self.call is not None and self.repeat is not None

    def _ending(self, language: str) -> str:
        times = Text(f"{self.held} comparison{'s' * (self.held != 1)}", f"{self.held}次比较")[language]
        if self.passed:
            return Text(
                f"{times} held, on random inputs (seed {self.seed}).",
                f"{times}全部相符，输入是随机产生的（种子{self.seed}）。",
            )[language]
        if not self._depends_on_inputs:
            return ""
        before = Text(f"{times} held before this one. ", f"在此之前有{times}相符。")[language]
        again = Text("To check the same inputs again:", "用同样的输入再检查一次：")[language]
        return (before if self.held else "") + again


def _wrap(text: str, indent: str) -> list[str]:
    """Lines of at most `_WIDTH` columns; Chinese breaks anywhere but before a closing mark."""
    lines, line = [], indent
    for word in _words(text):
        if _columns(line + word.rstrip()) > _WIDTH and line.strip():
            lines.append(line.rstrip())
            line = indent + word.lstrip()
        else:
            line += word
    return [*lines, line.rstrip()]


def _words(text: str) -> list[str]:
    """Pieces that stay on one line: Latin words with the space after them, Chinese characters with closing marks."""
    words: list[str] = []
    for char in text:
        closing = char in "，。：；？！）”、》]"
        joins = (
            words and not words[-1].endswith(" ") and (_is_wide(char) == _is_wide(words[-1][-1]) is False or closing)
        )
        if words and (joins or char == " "):
            words[-1] += char
        else:
            words.append(char)
    return words


def _aligned(label: str, content: str, column: int, is_code: bool) -> list[str]:
    indent = " " * (2 + column)
    lines = [indent + line for line in content.split("\n")] if is_code else _wrap(content, indent)
    first = "  " + label + " " * (column - _columns(label)) + lines[0][len(indent) :]
    return [first, *lines[1:]]


def _is_wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WF"


def _columns(text: str) -> int:
    return sum(2 if _is_wide(char) else 1 for char in text)


def _html(content: str, is_code: bool) -> str:
    escaped = html.escape(content)
    return f'<pre style="margin:0;white-space:pre-wrap">{escaped}</pre>' if is_code else escaped


def _escape(text: str) -> str:
    """Markdown that shows `text` as it is; what stands between backticks is code, in which a backslash is itself."""
    return re.sub(r"(`[^`]*`)|([\\*_\[\]<>#|])", lambda match: match[1] or "\\" + match[2], text)


def _longest_run(text: str, char: str) -> int:
    return max((len(run) for run in "".join(c if c == char else " " for c in text).split()), default=0)


def _bcp47(language: str) -> str:
    return Text("en", "zh-Hans")[language]
