"""Opening a GGUF file: the header that both the weights and the tokenizer are read from."""

from pathlib import Path

from gguf import GGUFReader


def open_gguf(source: str | Path | GGUFReader) -> GGUFReader:
    """Open a GGUF file (the header of 49,152 tokens takes seconds), or return the reader of an open one.

    Raises:
        ValueError: no file there, or not a whole GGUF file.
    """
    if isinstance(source, GGUFReader):
        return source
    try:
        return GGUFReader(str(source))
    except OSError as error:
        raise ValueError(f"{source} can't be read ({error.strerror}): give the path of a GGUF file") from None
    except (ValueError, IndexError, OverflowError) as error:
        raise ValueError(f"{source} is no whole GGUF file ({error}): fetch it again") from None
