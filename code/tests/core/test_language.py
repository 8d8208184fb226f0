import pytest
from sysai.core.language import reader_language, with_unit

VARIABLES = ("SYSAI_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LC_ALL": "zh_TW.UTF-8", "LANG": "en_US.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "SYSAI_LANGUAGE": "en"}, "en"),
        ({}, "en"),
    ],
)
def test_the_choice_wins_over_the_system(monkeypatch, environment, expected):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert reader_language() == expected


def test_a_language_that_the_book_does_not_have_is_refused(monkeypatch):
    monkeypatch.setenv("SYSAI_LANGUAGE", "fr")
    with pytest.raises(ValueError, match="set it to one of en, zh"):
        reader_language()


def test_a_unit_stands_apart_except_in_chinese():
    assert with_unit("3", "requests", "en") == "3 requests"
    assert (with_unit("3", "GB", "zh"), with_unit("3", "个请求", "zh"), with_unit("3", "FLOPs/词元", "zh")) == (
        "3 GB",
        "3个请求",
        "3 FLOPs/词元",
    )
    assert with_unit("3", "", "en") == "3"
    assert [with_unit("3", "%", language) for language in ("en", "zh")] == ["3%", "3%"]
    assert with_unit("1", "requests", "en") == "1 request"
    assert [with_unit("1", unit, "en") for unit in ("ms", "tokens/s")] == ["1 ms", "1 tokens/s"]
