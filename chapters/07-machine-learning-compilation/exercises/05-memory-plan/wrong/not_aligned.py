"""Places values behind one another without rounding up to cache lines."""

LINE = 64


def plan(kernels: list[tuple[str, list[str]]], sizes: dict[str, int], outputs: list[str]) -> dict[str, int]:
    """Return the offset, in bytes, of each value that a kernel makes: the largest are placed first."""
    first = {made: step for step, (made, _) in enumerate(kernels)}
    last = dict(first)
    for step, (_, reads) in enumerate(kernels):
        last.update({name: step for name in reads if name in first})
    last.update(dict.fromkeys((name for name in outputs if name in first), len(kernels)))

    offsets: dict[str, int] = {}
    rounded = {name: sizes[name] for name in first}
    for name in sorted(first, key=rounded.get, reverse=True):
        taken = sorted(
            (offsets[other], offsets[other] + rounded[other])
            for other in offsets
            if first[other] <= last[name] and first[name] <= last[other]
        )
        offsets[name] = _smallest_gap(taken, rounded[name])
    return offsets


def _smallest_gap(taken: list[tuple[int, int]], room: int) -> int:
    """Where the smallest gap between the intervals begins that is large enough; else the end of them all."""
    end, gaps = 0, []
    for low, high in taken:
        if low - end >= room:
            gaps.append((low - end, end))
        end = max(end, high)
    return min(gaps)[1] if gaps else end
