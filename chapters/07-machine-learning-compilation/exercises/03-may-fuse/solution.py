"""Whether two groups of nodes may become one kernel."""

ANCHORS = ("reduction", "matmul")


def may_fuse(
    kinds: dict[str, str],
    inputs: dict[str, list[str]],
    groups: list[list[str]],
    producer: str,
    consumer: str,
) -> str:
    """Return "yes", or a rule that the merged group breaks."""
    number = {name: k for k, group in enumerate(groups) for name in group}
    merged = {name for name in kinds if number[name] in (number[producer], number[consumer])}
    if any(kinds[name] == "opaque" for name in merged):
        return "opaque"
    anchors = [name for name in merged if kinds[name] in ANCHORS]
    if len(anchors) > 1:
        return "anchors"
    if anchors and not _is_ordered(kinds, inputs, merged, anchors[0]):
        return "order"
    return "cycle" if _makes_cycle(inputs, groups, merged) else "yes"


def _is_ordered(kinds: dict[str, str], inputs: dict[str, list[str]], merged: set[str], anchor: str) -> bool:
    before, behind = {anchor}, {anchor}
    for name in reversed(kinds):
        if name in merged and any(name in inputs[user] for user in before):
            before.add(name)
    for name in kinds:
        if name in merged and behind & set(inputs[name]):
            behind.add(name)
    allowed = ("movement",) if kinds[anchor] == "matmul" else ("movement", "elementwise")
    return all(kinds[name] in allowed for name in before - {anchor}) and all(
        kinds[name] == "elementwise" for name in behind - {anchor}
    )


def _makes_cycle(inputs: dict[str, list[str]], groups: list[list[str]], merged: set[str]) -> bool:
    """Whether some other group needs the merged one and is needed by it: by groups, as a group runs as a whole."""
    whole = {name: set(group) for group in groups for name in group} | dict.fromkeys(merged, merged)
    needed, waiting = set(), list(merged)
    while waiting:
        for source in inputs[waiting.pop()]:
            if source in needed or source in merged:
                continue
            needed |= whole[source]
            waiting += whole[source]
    return any(merged & set(inputs[name]) for name in needed)
