"""The language of the reader: what reports and controls speak outside the site, whose pages know their own."""

import locale
import os
from collections.abc import Mapping

LANGUAGES = ("en", "zh")


class Text(dict):
    """One message in both languages: `Text("a number", "数")` is ``{"en": "a number", "zh": "数"}``."""

    def __init__(self, en: str, zh: str):
        super().__init__(en=en, zh=zh)


def in_language(texts: Mapping[str, Text], language: str) -> dict[str, str]:
    """The texts of a table in one language, under their names."""
    return {name: text[language] for name, text in texts.items()}


def with_unit(number: str, unit: str, language: str) -> str:
    """A number and its unit: `3 GB`, `3 requests`, `1 request`, `3%`; in Chinese `3 GB`, `3个请求`."""
    if language == "en" and number == "1" and unit.isalpha() and len(unit) > 2:
        unit = unit.removesuffix("s")
    space = " " if unit and unit[0] != "%" and (language != "zh" or unit[0].isascii()) else ""
    return number + space + unit


def reader_language() -> str:
    """`en` or `zh`: the environment variable SYSAI_LANGUAGE, else the system's language, else English.

    Raises:
        ValueError: SYSAI_LANGUAGE names another language.
    """
    chosen = os.environ.get("SYSAI_LANGUAGE")
    if chosen:
        if chosen not in LANGUAGES:
            raise ValueError(f"SYSAI_LANGUAGE is {chosen!r}: set it to one of {', '.join(LANGUAGES)}")
        return chosen
    named = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), locale.getlocale()[0] or "")
    return "zh" if named.lower().startswith(("zh", "chinese")) else "en"
