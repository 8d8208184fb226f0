"""Results of chapter 14's benchmarks as files: rows of numbers, with the machine, the date and the versions."""

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version

from sysai.core.device import describe_device
from sysai.recorded import record_path

CONTESTANTS = ("transformers", "llama-cpp-python")


def header(rates: Mapping[str, float], contestants: Sequence[str] = CONTESTANTS) -> dict:
    """What a number means nothing without; `rates` are the machine's, measured in the same run."""
    versions = {"python": platform.python_version()}
    for package in ("sysai", "torch", *contestants):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "date": date.today().isoformat(),
        "hardware": str(describe_device("cpu")),
        "rates": dict(rates),
        "versions": versions,
    }


def record(name: str, rates: Mapping[str, float], contestants: Sequence[str] = CONTESTANTS, **parts: object) -> None:
    """Write parts of the record `name` for `sysai.recorded`; those that were not measured now are kept."""
    path = record_path(name)
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    measured = {name: {"header": header(rates, contestants), "rows": rows} for name, rows in parts.items()}
    path.write_text(json.dumps(kept | measured, indent=1) + "\n", encoding="utf-8")
