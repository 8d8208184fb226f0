"""Opening a GGUF file: the header that both the weights and the tokenizer are read from."""

from pathlib import Path

import numpy as np
from gguf import GGUFReader


class GGUFFile(GGUFReader):
    """Sees the mapped file as a plain array: a header is read by some 100,000 views, and those of a memmap are slow."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        super().__init__(str(path))

    @property
    def data(self) -> np.ndarray:
        """The file's bytes."""
        return self._data

    @data.setter
    def data(self, mapped: np.memmap) -> None:
        self._data = mapped.view(np.ndarray)


def open_gguf(source: str | Path | GGUFFile) -> GGUFFile:
    """Open a GGUF file (the header of 49,152 tokens takes a second), or return one that is open.

    Raises:
        ValueError: no file there, or not a whole GGUF file.
    """
    if isinstance(source, GGUFFile):
        return source
    try:
        return GGUFFile(source)
    except OSError as error:
        raise ValueError(f"{source} can't be read ({error.strerror}): give the path of a GGUF file") from None
    except (ValueError, IndexError, OverflowError) as error:
        raise ValueError(f"{source} is no whole GGUF file ({error}): fetch it again") from None
