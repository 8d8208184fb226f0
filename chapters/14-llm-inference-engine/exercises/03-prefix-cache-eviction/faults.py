"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "as_many_as_new",
        "Evicts a block for each new one as soon as not all of them fit.",
        told="Evict as many blocks as are lacking: 1.",
        edits=[
            (
                "        victims = [self._evict(held) for _ in range(lacking)]",
                """\
        new = min(len(text) - len(found), len(self.last_used) - len(held)) if lacking > 0 else 0
        victims = [self._evict(held) for _ in range(new)]""",
            ),
        ],
    ),
    Fault(
        "depth_first",
        "Evicts the longest text first, and looks at its age only then.",
        told="ABCDEF was last used by events[9], q by events[5], longer",
        edits=[
            (
                "parents, key=self.last_used.get)",
                "parents, key=lambda block: (-len(block), self.last_used[block]))",
            ),
        ],
    ),
    Fault(
        "finish_is_no_use",
        "Counts only starts as uses.",
        told="BBC was last used by events[13], AAAC by events[12], longer",
        edits=[
            ("self._use(self.running.pop(request))", "del self.running[request]"),
        ],
    ),
    Fault(
        "in_use_evicted",
        "Protects only what was found, and evicts blocks of running requests.",
        told="BBC is in use by r6. What has just been found for a request",
        edits=[
            (
                "held = {block for other in self.running.values() for block in prefixes(other)}.union(found)",
                "held = set(found)",
            ),
        ],
    ),
    Fault(
        "oldest_made",
        "Evicts what was made first: finding a block is no use of it.",
        told="BBC was last used by events[13], AAAC by events[12], longer",
        edits=[
            (
                "        self.last_used.update(dict.fromkeys(prefixes(text), self.clock))",
                """\
        for block in prefixes(text):
            self.last_used.setdefault(block, self.clock)""",
            ),
        ],
    ),
    Fault(
        "own_prefix_evicted",
        "Evicts blocks that it has just found for the same request.",
        told="ABCDE is in use by r4. What has just been found for a request",
        edits=[
            (".union(found)", ""),
        ],
    ),
    Fault(
        "place_and_letter",
        "Takes a block for found if the same letter is kept at the same place, whatever stands before it.",
        told="Found is 'A': a block is named by the whole text",
        edits=[
            (
                "        found = [block for block in prefixes(text) if block in self.last_used]",
                """\
        found = [
            block
            for block in prefixes(text)
            if any(len(other) == len(block) and other[-1] == block[-1] for other in self.last_used)
        ]""",
            ),
        ],
    ),
    Fault(
        "plain_lru",
        "Evicts the block used longest ago, whatever stands behind it.",
        told="AB stands behind A, without which nobody can find it",
        edits=[
            (
                "found = [block for block in prefixes(text) if block in self.last_used]",
                "found = [block for block in prefixes(text) if self.last_used.keys() >= {*prefixes(block)}]",
            ),
            (
                "min(self.last_used.keys() - held - parents, key=self.last_used.get)",
                "min((block for block in self.last_used if block not in held), key=self.last_used.get)",
            ),
        ],
    ),
    Fault(
        "whole_texts_only",
        "Finds a text only as a whole, and not its beginning.",
        told="Found is 'ABCDE': a block is named by the whole text",
        edits=[("prefixes(text) if block in self.last_used]", "prefixes(text) if text in self.last_used]")],
    ),
    Fault(
        "full_is_refused",
        "Refuses a request instead of evicting.",
        edits=[("if lacking > len(self.last_used) - len(held):", "if lacking > 0:")],
    ),
    Fault(
        "victims_counted",
        "Returns how many blocks were evicted instead of which.",
        edits=[("return len(found), victims", "return len(found), len(victims)")],
    ),
    Fault(
        "named_by_the_letter",
        "Names a victim by its own letter, without the text before it.",
        told="'F' is not in the cache (any more).",
        edits=[("return victim\n", "return victim[-1]\n")],
    ),
    Fault(
        "last_event_left_out",
        "Changes replay.",
        edits=[("*arguments in events:", "*arguments in events[:-1]:")],
    ),
    Fault(
        "refused_too_late",
        "Evicts what it can, and refuses then.",
        told="events[12] found no room. Did it change something all the",
        edits=[
            (
                """\
        if lacking > len(self.last_used) - len(held):
            return None
        victims = [self._evict(held) for _ in range(lacking)]""",
                """\
        victims = [self._evict(held) for _ in range(min(lacking, len(self.last_used) - len(held)))]
        if len(victims) < lacking:
            return None""",
            ),
        ],
    ),
]
