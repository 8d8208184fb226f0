"""Numbers as a reader wants them: three digits and a prefix."""

from decimal import Decimal

_PREFIXES = ((1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_COUNTS = ((1e12, "T"), (1e9, "B"), (1e6, "M"))


def digits(number: float) -> str:
    """Three significant digits, and all digits of a whole part that has more: `0.0000264`, `8.03`, `59`, `1,342`."""
    return f"{number:,.0f}" if number >= 99.95 else f"{Decimal(f'{number:.3g}'):f}"


def quantity(number: float, unit: str) -> str:
    """A number of bytes, FLOPs or the like with its decimal prefix: `1.07 GB`."""
    for factor, prefix in _PREFIXES:
        if number >= 0.9995 * factor:
            return f"{digits(number / factor)} {prefix}{unit}"
    return f"{digits(number)} {unit}"


def count(number: float) -> str:
    """A number of parameters, as models are named: `8.03B`."""
    for factor, suffix in _COUNTS:
        if number >= 0.9995 * factor:
            return f"{digits(number / factor)}{suffix}"
    return f"{number:,.0f}"
