"""Which blocks a prefix cache gives up when memory is short."""

from collections.abc import Callable


class PrefixCache:
    """At most `num_blocks` blocks, found by the text up to their end.

    A text is a string, each letter of which stands for the tokens of one block.
    "ABC" has three blocks; the last one is the block of C behind AB, named
    "ABC", and has nothing to do with the block of C behind A, named "AC".
    """

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks

    def start(self, request: str, text: str) -> tuple[int, list[str]] | None:
        """Find the blocks of a text that are kept, and make the others.

        Args:
            request: a name that no running request has.
            text: at least one letter.

        Returns:
            (hits, victims): how many blocks at the start of the text were
            found, and the names of the blocks that were evicted to make room
            for the others, in this order. None, with nothing changed, if there
            is not enough room.
        """
        raise NotImplementedError

    def finish(self, request: str) -> None:
        """The request has ended; its blocks stay, and may be evicted from now on."""
        raise NotImplementedError


def prefixes(text: str) -> list[str]:
    """The names of a text's blocks: of "ABC", "A", "AB" and "ABC"."""
    return [text[:end] for end in range(1, len(text) + 1)]


def replay(num_blocks: int, events: list[tuple], report: Callable[[object], None]) -> None:
    """Report what each event such as ("start", "r1", "ABC") or ("finish", "r1") returns. Leave it as it is."""
    cache = PrefixCache(num_blocks)
    for name, *arguments in events:
        report(getattr(cache, name)(*arguments))
