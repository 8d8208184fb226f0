"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

LOOK_AHEAD = "fewest.get(advance(state, text, max_depth), inf) <= tokens_left - 1"
WHOLE_TEXTS_END = Text(
    "You allow the end token where the text is not a whole expression, or where no token is left.",
    "文本还不是完整的表达式，或者已经没有剩余词元，你却允许了结束词元。",
)

FAULTS = [
    Fault(
        "leading_zeros",
        "Lets digits follow a 0.",
        edits=[
            (
                'last == "number":\n            pass',
                'last in ("number", "zero"):\n            last = "number"',
            ),
        ],
        hint=Text(
            "No digit can follow a number 0. All characters must be legal, not only the first.",
            "0这个数后面不能再有数字。每个字符都要合法，而不只是第一个。",
        ),
    ),
    Fault(
        "ends_in_zero",
        "Takes every number that ends in 0 for the number 0.",
        edits=[
            (
                'last == "number":\n            pass',
                'last == "number":\n            last = "zero" if character == "0" else "number"',
            ),
        ],
        hint=Text(
            "A number that begins with another digit may end in 0 and go on; only the number 0 itself is 'zero'.",
            "以其他数字开头的数，即使末位是0也还能继续；只有0这个数本身才是“zero”。",
        ),
    ),
    Fault(
        "depth_at_the_end_only",
        "Compares the depth with max_depth when the whole token has been read.",
        edits=[
            (' and last == "operand" and opened < max_depth:', ' and last == "operand":'),
            ("    return opened, last\n", "    return (opened, last) if opened <= max_depth else None\n"),
        ],
        hint=Text(
            "More than max_depth parentheses are open on the way, even if some are closed again.",
            "途中打开的括号超过了max_depth个，即使后来又闭合了一些。",
        ),
    ),
    Fault(
        "closed_before_opened",
        "Lets a parenthesis close that was never opened.",
        edits=[(' and last != "operand" and opened:', ' and last != "operand":')],
        hint=Text(
            "A parenthesis closes that was never opened: how many are open at that character?",
            "有一个右括号没有对应的左括号：读到那个字符时，打开的括号有几个？",
        ),
    ),
    Fault(
        "state_as_list",
        "Returns the state as a list.",
        edits=[("    return opened, last\n", "    return [opened, last]\n")],
    ),
    Fault(
        "special_tokens_allowed",
        "Allows tokens without text, which change nothing.",
        edits=[("bool(text) and ", "")],
        hint=Text(
            "You allow a special token without text: it changes nothing, and takes one of the tokens left.",
            "你允许了没有文本的特殊词元：它什么也不改变，却用掉一个剩余的词元。",
        ),
    ),
    Fault(
        "ends_anywhere",
        "Allows the end token at any time.",
        edits=[("_is_complete(state) and tokens_left >= 1", "tokens_left >= 1")],
        hint=WHOLE_TEXTS_END,
    ),
    Fault(
        "ends_without_a_token",
        "Allows the end token where no token is left.",
        edits=[("_is_complete(state) and tokens_left >= 1", "_is_complete(state)")],
        hint=WHOLE_TEXTS_END,
    ),
    Fault(
        "never_ends",
        "Never allows the end token, which has no text.",
        edits=[("    may[end_id] = _is_complete(state) and tokens_left >= 1\n", "")],
        hint=Text(
            "The text is a whole expression: the end token is allowed.", "文本已是完整的表达式：应允许结束词元。"
        ),
    ),
    Fault(
        "first_character_only",
        "Looks at the first character of a token only.",
        edits=[(LOOK_AHEAD, "advance(state, text[0], max_depth) is not None")],
        hint=Text(
            "You looked at the first character of each token. All of them must be legal, one behind the other.",
            "你只看了每个词元的第一个字符。它的字符必须依次全都合法。",
        ),
    ),
    Fault(
        "tokens_left_ignored",
        "Asks whether there is an end, and not how far it is.",
        edits=[(LOOK_AHEAD, "advance(state, text, max_depth) in fewest")],
        hint=Text(
            "Behind each of these there is a way to the end, but it may be longer than tokens_left.",
            "这些词元之后都有路走到结束，但可能比tokens_left长。",
        ),
    ),
    Fault(
        "never_looks_ahead",
        "Allows whatever is legal now, and runs into dead ends.",
        edits=[(LOOK_AHEAD, "advance(state, text, max_depth) is not None")],
        hint=Text(
            "All of these are legal now, but behind some the way to the end is longer than tokens_left, or there is "
            "none. Look ahead.",
            "这些词元此刻都合法，但其中有些之后，走到结束的路比tokens_left长，或者根本没有路。要往前看。",
        ),
    ),
    Fault(
        "end_token_forgotten",
        "Forgets that the end token takes one of the tokens left, too.",
        edits=[("<= tokens_left - 1", "<= tokens_left")],
        hint=Text(
            "One token too many: tokens_left counts this token as well as the end token.",
            "多用了一个词元：tokens_left既包括这个词元，也包括结束词元。",
        ),
    ),
    Fault(
        "end_token_counted_twice",
        "Takes the end token off tokens_left, although the distance has it already.",
        edits=[("<= tokens_left - 1", "<= tokens_left - 2")],
        hint=Text(
            "One token too few: is the end token counted twice?",
            "少用了一个词元：结束词元是否算了两次？",
        ),
    ),
    Fault(
        "one_token_a_parenthesis",
        "Counts one token for each open parenthesis, whatever the vocabulary has.",
        edits=[
            (
                "    fewest = _fewest(vocabulary, max_depth)",
                """\
    lasts = ("operand", "zero", "number", "closed")
    fewest = {(n, last): n + (last == "operand") + 1 for n in range(max_depth + 1) for last in lasts}""",
            ),
        ],
        hint=Text(
            "You counted a token for each parenthesis that is open. A token may close several, and perhaps none "
            "closes one alone: it depends on the vocabulary.",
            "你给每个打开的括号算了一个词元。一个词元可能闭合好几个，也可能没有词元只闭合一个：要看词表里有什么。",
        ),
    ),
]
