"""Results of the book's longer benchmarks: files beside this one, which chapters show instead of running for minutes.

A file has parts, and a part has rows of numbers and a header: date, hardware, rates measured in the same run,
versions. They are written by the scripts in `code/benchmarks` with `--record`, and never by hand.
"""

import json
from collections.abc import Mapping
from pathlib import Path


def recorded(name: str, part: str) -> dict:
    """Part `part` of the record `name`: {"header": ..., "rows": ...}.

    Raises:
        ValueError: there is no such record, or it has no such part.
    """
    path = record_path(name)
    parts = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if part not in parts:
        raise ValueError(f"{name} has no part {part!r}: run code/benchmarks/{name}.py --record")
    return parts[part]


def record_path(name: str) -> Path:
    """Where the record of a benchmark stands."""
    return Path(__file__).with_name(f"{name}.json")


def origin(header: Mapping) -> str:
    """When, where and with what a part was recorded, in a line."""
    rates = header["rates"]
    versions = ", ".join(f"{name} {version}" for name, version in header["versions"].items())
    return (
        f"{header['date']}, {header['hardware']}, {rates['bandwidth'] / 1e9:.1f} GB/s, "
        f"{rates['flops'] / 1e9:.0f} GFLOP/s; {versions}"
    )
