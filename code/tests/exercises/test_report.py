"""Reports as text, HTML and Markdown."""

import dataclasses
import json
from textwrap import dedent

import pytest
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from sysai.core.language import Text
from sysai.exercises.pipes import Printed
from sysai.exercises.report import CheckReport

LANGUAGES = ("en", "zh")


@pytest.fixture
def wrong(grade) -> CheckReport:
    source = """
        def area(width, height):
            print("<script>", width)
            return 2 * (width + height)
        """
    return grade(dedent(source), seed=3)


def test_a_wrong_value_is_told_with_input_expected_got_hint_and_what_was_printed(wrong):
    text = wrong.text("en")
    for part in ("area(", "height=", "cm²", "That is the perimeter", "printed", "<script>"):
        assert part in text
    assert "应得" in wrong.text("zh")
    assert "平方厘米" in wrong.text("zh")


def test_an_exception_is_told_with_the_lines_of_the_answer_alone(grade):
    source = """
        def area(width, height):
            return inner(width)

        def inner(width):
            return [][width]
        """
    report = grade(dedent(source))
    assert report.frames == ((3, "return inner(width)"), (6, "return [][width]"))
    assert report.error == "IndexError: list index out of range"
    assert "child.py" not in report.text("en")


@pytest.mark.parametrize(
    ("source", "reason", "words", "line"),
    [
        ("def area(width, height:\n    pass", "syntax_error", "never closed", 1),
        ("x = 1\nimport nowhere", "import_error", "nowhere", 2),
        ("x = 1", "missing_function", "area()", None),
        ("def area(width, height):\n    raise NotImplementedError", "not_implemented", "area()", 2),
        (
            "def area(width, height):\n    return side(width)\n\ndef side(x):\n    raise NotImplementedError",
            "not_implemented",
            "side() is not written yet",
            5,
        ),
        ("def area(width):\n    return 1", "exception", "unexpected keyword", None),
        ("def area(width, height):\n    while True:\n        x = 1", "time", "2 s", None),
        ("x = [0] * 10**10\ndef area(): pass", "memory", "memory", 1),
    ],
)
def test_each_way_to_fail_says_what_and_where(grade, source, reason, words, line):
    report = grade(source)
    assert report.reason == reason
    assert words in report.text("en")
    if line:
        assert report.frames[-1][0] == line
    for language in LANGUAGES:
        assert "Traceback" not in report.text(language)


def test_the_line_at_which_time_ran_out_is_shown(grade):
    report = grade("def area(width, height):\n    while True:\n        x = 1")
    assert report.frames
    assert report.frames[-1][0] in (2, 3)


def test_a_flood_of_print_is_cut_in_the_middle(grade):
    report = grade("for i in range(20_000): print('line', i)\ndef area(width, height): return 1")
    assert report.printed.head.startswith("line 0\nline 1\n")
    assert "line 19999" in report.printed.tail
    assert report.printed.left_out > 100_000
    assert len(report.text("en").splitlines()) < 40
    assert "characters not shown" in report.text("en")
    whole = "".join(f"line {i}\n" for i in range(20_000))
    assert len(report.printed.head) + len(report.printed.tail) + report.printed.left_out == len(whole)


def test_a_few_lines_are_shown_whole(grade):
    report = grade("for i in range(15): print('line', i)\ndef area(width, height): return 1")
    assert all(f"line {i}" in report.text("en") for i in range(15))
    assert "not shown" not in report.text("en")


def test_control_characters_cannot_rewrite_the_screen(grade):
    report = grade("print('\\x1b[2J\\x1b[H all passed')\ndef area(width, height): raise ValueError('\\x1b[2J')")
    assert "\x1b" not in report.text("en") + report.html("en") + report.markdown("en")


def test_html_escapes_what_the_answer_says(wrong):
    for language in LANGUAGES:
        assert "&lt;script&gt;" in wrong.html(language)
        assert "<script>" not in wrong.html(language)


def test_markdown_shows_every_text_as_it_is(wrong):
    """Backticks and pipes make no code, fence or table of their own; in the book's texts, backticks mean code."""
    words = {
        "message": "Use `a_b|c` and <b> * 2 | 3 _x_ [y](z)",
        "expected": "`a|b`",
        "got": "``` | **x** | ```",
        "returned": "a | b\n--|--\n```\n# c\n````",
        "hint": "`*`, ~ and a | b\n--|--\n1 | one ` alone",
        "picture": "| ` |\n| - |",
    }
    texts = {name: Text(text, text) for name, text in words.items() if name != "returned"}
    report = dataclasses.replace(
        wrong, **texts, returned=words["returned"], call="f('``')", repeat="sysai check", printed=Printed()
    )
    rendered = MarkdownIt("commonmark").enable("table").render(report.markdown("en"))
    shown = BeautifulSoup(rendered, "html.parser")
    code = {"a_b|c", words["expected"], words["got"], words["returned"] + "\n", "*", words["picture"] + "\n", "f('``')"}
    assert {element.text for element in shown.find_all("code")} == code | {"sysai check\n"}
    assert shown.p.text == words["message"].replace("`", "")
    assert "hint *, ~ and a | b\n--|--\n1 | one ` alone" in shown.text
    assert not shown.find_all(["table", "em", "a", "b"])


def test_data_survive_json(wrong):
    assert CheckReport.from_data(json.loads(json.dumps(wrong.data()))) == wrong
    other = dataclasses.replace(wrong, frames=((1, "x"),), picture=Text("·", "·"))
    assert CheckReport.from_data(json.loads(json.dumps(other.data()))) == other


def test_lines_are_no_wider_than_a_terminal(grade):
    report = grade("import no_such_package_at_all")
    for language, width in (("en", 1), ("zh", 2)):
        for line in report.text(language).splitlines():
            assert sum(width if ord(c) > 0x2E7F else 1 for c in line) <= 100
