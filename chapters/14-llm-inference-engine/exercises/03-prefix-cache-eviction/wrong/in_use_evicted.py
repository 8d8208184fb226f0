"""Protects only what was found, and evicts blocks of running requests."""

from collections.abc import Callable


class PrefixCache:
    """At most `num_blocks` blocks, found by the text up to their end.

    A text is a string, each letter of which stands for the tokens of one block.
    "ABC" has three blocks; the last one is the block of C behind AB, named
    "ABC", and has nothing to do with the block of C behind A, named "AC".
    """

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.last_used: dict[str, int] = {}  # for each block kept, the event that used it last
        self.running: dict[str, str] = {}
        self.clock = 0

    def start(self, request: str, text: str) -> tuple[int, list[str]] | None:
        """Find the blocks of a text that are kept, and make the others; None if there is not enough room."""
        found = [block for block in prefixes(text) if block in self.last_used]
        held = set(found)
        lacking = len(text) - len(found) - (self.num_blocks - len(self.last_used))
        if lacking > len(self.last_used) - len(held):
            return None
        victims = [self._evict(held) for _ in range(lacking)]
        self.running[request] = text
        self._use(text)
        return len(found), victims

    def finish(self, request: str) -> None:
        """The request has ended; its blocks stay, and may be evicted from now on."""
        self._use(self.running.pop(request))

    def _evict(self, held: set[str]) -> str:
        """Drop the leaf that was used longest ago, of those that nobody holds."""
        parents = {block[:-1] for block in self.last_used}
        victim = min(self.last_used.keys() - held - parents, key=self.last_used.get)
        del self.last_used[victim]
        return victim

    def _use(self, text: str) -> None:
        """Every block of a text is used now."""
        self.clock += 1
        self.last_used.update(dict.fromkeys(prefixes(text), self.clock))


def prefixes(text: str) -> list[str]:
    """The names of a text's blocks: of "ABC", "A", "AB" and "ABC"."""
    return [text[:end] for end in range(1, len(text) + 1)]


def replay(num_blocks: int, events: list[tuple], report: Callable[[object], None]) -> None:
    """Report what each event such as ("start", "r1", "ABC") or ("finish", "r1") returns. Leave it as it is."""
    cache = PrefixCache(num_blocks)
    for name, *arguments in events:
        report(getattr(cache, name)(*arguments))
