"""Which tokens keep an arithmetic expression completable.

The language, over the characters 0 to 9, + - * / ( ):

    expression = term (operator term)*       operator = + | - | * | /
    term       = number | "(" expression ")"
    number     = "0" | a digit from 1 to 9, then any digits

At most max_depth parentheses are open at a time.

A state tells what may follow, and is a tuple (open, last):

    open    how many parentheses are open
    last    "operand"   a term must begin: at the start, behind an operator,
                        and behind "("
            "zero"      behind a number 0, to which no digit can be added
            "number"    behind any other number
            "closed"    behind ")"

The start is (0, "operand").
"""

State = tuple[int, str]


def advance(state: State, text: str, max_depth: int) -> State | None:
    """Return the state behind `text`, None if no expression goes on so.

    Args:
        state: as above.
        text: any characters, perhaps several or none.
        max_depth: parentheses that may be open at a time.

    Example: from (0, "operand"), "(12" leads to (1, "number").
    """
    raise NotImplementedError


def allowed(state: State, vocabulary: list[str], end_id: int, tokens_left: int, max_depth: int) -> list[bool]:
    """Return for each token whether it may come next.

    A token may come if, with it and tokens of the vocabulary behind it, the
    text can become a whole expression and be ended, in `tokens_left` tokens at
    most: this token and the end token included.

    Args:
        state: of the text so far.
        vocabulary: the text of each token, of any characters. A token without
            text, "", is a special one: never allowed, except the end token.
        end_id: the token that ends the text; allowed where it is a whole
            expression.
        tokens_left: tokens that may still come, at least 0.
        max_depth: parentheses that may be open at a time.
    """
    raise NotImplementedError
