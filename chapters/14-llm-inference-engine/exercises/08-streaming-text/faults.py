"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

BEHIND_THE_STOP = Text(
    "The stop string is no part of the text, nor is anything behind it, in the same token or a later one.",
    "停止串不属于文本，它后面的一切也不属于，无论在同一个词元里还是在后面的词元里。",
)
DECODER = '        self._held = ""  # certain characters that begin a stop string'

FAULTS = [
    Fault(
        "token_by_token",
        "Decodes each token by itself.",
        edits=[("self._decoder.decode(token)", 'token.decode("utf-8", errors="replace")')],
        hint=Text(
            "You decoded the token by itself. A character may begin in one token and end in a later one: keep its "
            "bytes until it is complete.",
            "你单独解码了这个词元。一个字符可能从一个词元开始、到后面的词元才结束：应把它的字节留到完整为止。",
        ),
    ),
    Fault(
        "replaced_too_early",
        "Decodes all bytes so far, and shows those of an unfinished character as U+FFFD.",
        edits=[
            (DECODER, f'{DECODER}\n        self._bytes, self._seen = b"", 0'),
            (
                "        return self._extend(self._decoder.decode(token))",
                """\
        self._bytes += token
        text = self._bytes.decode("utf-8", errors="replace")
        new, self._seen = text[self._seen :], len(text)
        return self._extend(new)""",
            ),
        ],
        hint=Text(
            "A U+FFFD that is not right: its bytes can still become a character, or belong to one that is complete.",
            "多了一个不该有的U+FFFD：它的那些字节还可能成为一个字符，或者属于一个完整的字符。",
        ),
    ),
    Fault(
        "waits_for_valid_text",
        "Waits until all its bytes can be decoded, and a broken one holds up everything.",
        edits=[
            (DECODER, f'{DECODER}\n        self._bytes = b""'),
            (
                "        return self._extend(self._decoder.decode(token))",
                """\
        self._bytes += token
        try:
            text = self._bytes.decode()
        except UnicodeDecodeError:
            return ""
        self._bytes = b""
        return self._extend(text)""",
            ),
            ('self._decoder.decode(b"", final=True)', 'self._bytes.decode("utf-8", errors="replace")'),
        ],
        hint=Text(
            "Only the bytes of the unfinished character must wait. The characters before it are certain, and a broken "
            "byte must not hold up what follows.",
            "要等的只是未完成的字符的那些字节。它前面的字符已经确定；坏掉的字节也不能拦住后面的。",
        ),
    ),
    Fault(
        "no_flush",
        "Forgets at the end what it has held back.",
        edits=[
            (
                """\
        text = self._extend(self._decoder.decode(b"", final=True)) + self._held
        self._held = ""
        return text""",
                '        return ""',
            ),
        ],
        hint=Text(
            "Something is held back still: text that might have become a stop string, or bytes of an unfinished "
            "character. Nothing follows, so out with it.",
            "还有东西留着没有交出：可能成为停止串的文本，或者未完成的字符的字节。后面不会再有了，应当交出来。",
        ),
    ),
    Fault(
        "broken_tail_dropped",
        "Leaves out the bytes of an unfinished character at the end.",
        edits=[('self._extend(self._decoder.decode(b"", final=True)) + self._held', "self._held")],
        hint=Text(
            "The bytes of the unfinished character at the end are missing: they become U+FFFD.",
            "末尾未完成的字符的字节丢了：它们应变成U+FFFD。",
        ),
    ),
    Fault(
        "stop_shown",
        "Ends the text after the stop string instead of before it.",
        edits=[("return text[: end - len(self.met)]", "return text[:end]")],
        hint=BEHIND_THE_STOP,
    ),
    Fault(
        "goes_on_behind_the_stop",
        "Shows what stands behind a stop string in later tokens.",
        edits=[
            (
                """\
        if self.met is not None:
            return ""
""",
                "",
            ),
        ],
        hint=BEHIND_THE_STOP,
    ),
    Fault(
        "shortest_stop",
        "Takes the first stop string in the list that stands in the text.",
        edits=[("min(ends)", "ends[0]")],
        hint=Text(
            "The stop string that is complete first counts, wherever it stands in the list; of those that end with the "
            "same character, the longest.",
            "最先完整出现的停止串算数，与它在列表中的次序无关；在同一个字符处结束的，取最长的。",
        ),
    ),
    Fault(
        "shorter_of_two",
        "Takes the shorter of two stop strings that end with the same character.",
        edits=[("-len(stop), stop)", "len(stop), stop)")],
        hint=Text(
            "Of stop strings that end with the same character, the longest counts: it begins first.",
            "几个停止串在同一个字符处结束时，取最长的：它最先开始。",
        ),
    ),
    Fault(
        "begins_first",
        "Takes the stop string that begins first, although another is complete before it.",
        edits=[
            ("(text.index(stop) + len(stop), -len(stop), stop)", "(text.index(stop), -len(stop), stop)"),
            ("return text[: end - len(self.met)]", "return text[:end]"),
        ],
        hint=Text(
            "The stop string that is complete first ends the text, even if another one has begun before it.",
            "最先完整出现的停止串结束文本，即使另一个停止串更早开始。",
        ),
    ),
    Fault(
        "stop_in_one_token",
        "Looks for a stop string in the newest characters only, and holds nothing back.",
        edits=[('len(text) - max(_overlap(text, stop) for stop in [*self.stop, ""])', "len(text)")],
        hint=Text(
            "This is too early: the end of the text may be the beginning of a stop string, and what has been shown "
            "can't be taken back.",
            "太早了：文本的末尾可能是停止串的开头，而已经显示的收不回来。",
        ),
    ),
    Fault(
        "always_holds_back",
        "Always holds back as many characters as the longest stop string has, less one.",
        edits=[
            (
                'len(text) - max(_overlap(text, stop) for stop in [*self.stop, ""])',
                'max(0, len(text) - max(len(stop) - 1 for stop in [*self.stop, "."]))',
            ),
        ],
        hint=Text(
            "You always hold back as many characters as a stop string may still need. Hold back only an end that is "
            "the beginning of one.",
            "你总是留下停止串可能还需要的那么多字符。只有末尾确实是某个停止串的开头时才需要留。",
        ),
    ),
    Fault(
        "held_from_the_first_letter",
        "Holds back all from the first character on with which a stop string begins.",
        edits=[
            (
                'len(text) - max(_overlap(text, stop) for stop in [*self.stop, ""])',
                "min([text.index(stop[0]) for stop in self.stop if stop[0] in text], default=len(text))",
            ),
        ],
        hint=Text(
            "This is too late: all of the expected piece is certain now. So is a broken byte as soon as no further "
            "one can complete it.",
            "太迟了：应得的这一片现在已全部确定。坏掉的字节也一样，一旦后面的字节不可能再补全它，就确定了。",
        ),
    ),
    Fault(
        "shown_twice",
        "Keeps what was held back after it has been returned.",
        edits=[("self._held = text[certain:]", "self._held = text[certain:] or self._held")],
        hint=Text(
            "Text comes twice: what you had held back has been returned already.",
            "文本重复了：你留着的那部分已经交出过了。",
        ),
    ),
    Fault(
        "none_for_nothing",
        "Returns None where no text has become certain.",
        edits=[("self._extend(self._decoder.decode(token))", "self._extend(self._decoder.decode(token)) or None")],
        told="Does every path through your function end in a return?",
    ),
]
