import pytest
from sysai.core.language import reader_language

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
