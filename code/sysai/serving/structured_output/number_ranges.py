"""The decimal numbers between two bounds, as a language.

Numbers of as many digits are compared digit by digit: while the digits written are those of a bound, the next one is
limited by it; as soon as one is strictly between, the rest is free. With k places after the point a number is a whole
number of units 10^-k, and so of the same kind.
"""

import math
from fractions import Fraction

from sysai.serving.structured_output.grammar import EMPTY, Expression, byte_set, concat, literal, repeat, union

MAX_DIGITS = 18  # of a whole number
_MAX_PLACES = 17
_FINER = 2  # places beyond those of the bounds, in which all digits may come


def integers(low: int | None, high: int | None) -> Expression:
    """Whole numbers from `low` to `high`, both included; None for as far as `MAX_DIGITS` go."""
    return _signed(low, high, 0)


def numbers(low: Fraction | None, high: Fraction | None, *, open_low: bool, open_high: bool) -> Expression:
    """Numbers from `low` to `high` without exponents; an open bound is itself excluded, and what is closest to it."""
    places = min(max(_places(low), _places(high)) + _FINER, _MAX_PLACES)
    options = []
    for k in range(places + 1):
        least = None if low is None else math.floor(low * 10**k) + 1 if open_low else math.ceil(low * 10**k)
        most = None if high is None else math.ceil(high * 10**k) - 1 if open_high else math.floor(high * 10**k)
        options.append(_signed(least, most, k))
    finer = repeat(_digits("09"), 1, max(_MAX_PLACES - places, 1))
    return union(*options, _signed(least, most, places, finer))


def _signed(low: int | None, high: int | None, places: int, finer: Expression = EMPTY) -> Expression:
    """`low` to `high` units of so many places, and no -0. Digits `finer` lead away from zero, by less than a unit."""
    room = int(finer is not EMPTY)
    limit = 10 ** (MAX_DIGITS + places) - 1
    low, high = max(-limit, -limit if low is None else low), min(limit, limit if high is None else high)
    positive = concat(_unsigned(max(low, 0), high - room, places), finer)
    negative = concat(literal(b"-"), _unsigned(max(-high, 1), -low - room, places), finer)
    return union(positive, negative)


def _unsigned(low: int, high: int, places: int) -> Expression:
    options = []
    for digits in range(places + 1, len(str(max(high, 0))) + 1 + places):
        least = 0 if digits == places + 1 else 10 ** (digits - 1)
        begin, end = max(low, least), min(high, 10**digits - 1)
        if begin <= end:
            options.append(_between(str(begin).zfill(digits), str(end).zfill(digits), places))
    return union(*options)


def _between(low: str, high: str, places: int) -> Expression:
    """Strings of digits from `low` to `high`, which are of one length, with a point before the last `places`."""
    if not low:
        return EMPTY
    rest = len(low) - 1
    point = literal(b".") if rest == places and places else EMPTY
    zeros, nines = "0" * rest, "9" * rest

    def begins(first: str, last: str, low_rest: str, high_rest: str) -> Expression:
        return concat(_digits(first + last), point, _between(low_rest, high_rest, places))

    if low[0] == high[0] or (low[1:] == zeros and high[1:] == nines):
        return begins(low[0], high[0], low[1:], high[1:])
    options = [begins(low[0], low[0], low[1:], nines), begins(high[0], high[0], zeros, high[1:])]
    if int(high[0]) - int(low[0]) > 1:
        options.append(begins(str(int(low[0]) + 1), str(int(high[0]) - 1), zeros, nines))
    return union(*options)


def _digits(span: str) -> Expression:
    return byte_set(range(ord(span[0]), ord(span[1]) + 1))


def _places(bound: Fraction | None) -> int:
    """Decimal places of a bound, which is a decimal number."""
    places = 0
    while bound is not None and (bound * 10**places).denominator != 1 and places < _MAX_PLACES:
        places += 1
    return places
