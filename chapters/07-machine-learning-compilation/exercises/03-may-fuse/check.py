"""Gates on the rule that is named, on sixty questions for each rule, about random graphs in random legal groups."""

from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from random import Random

from sysai.core.language import Text
from sysai.exercises.trial import Trial

ANSWERS = ("yes", "opaque", "anchors", "order", "cycle")
WEIGHTS = {"elementwise": 6, "movement": 2, "reduction": 2, "matmul": 1, "opaque": 1}


@dataclass
class Graph:
    """Nodes in an order in which they can run, and the groups so far."""

    kinds: dict[str, str]
    inputs: dict[str, list[str]]
    groups: list[list[str]]

    def edges(self) -> list[tuple[str, str]]:
        """Those between groups."""
        number = {name: k for k, group in enumerate(self.groups) for name in group}
        pairs = [(source, name) for name in self.kinds for source in self.inputs[name]]
        return [(a, b) for a, b in pairs if number[a] != number[b]]

    def merged(self, a: str, b: str) -> list[list[str]]:
        """The groups with those of a and b as one, the last."""
        apart = [group for group in self.groups if a not in group and b not in group]
        return [*apart, [name for name in self.kinds if not any(name in group for group in apart)]]

    def broken(self, a: str, b: str) -> list[str]:
        """All rules that the merged group breaks."""
        groups = self.merged(a, b)
        kinds = {name: self.kinds[name] for name in groups[-1]}
        anchors = [name for name, kind in kinds.items() if kind in ("reduction", "matmul")]
        found = {
            "opaque": "opaque" in kinds.values(),
            "anchors": len(anchors) > 1,
            "order": any(self._is_out_of_order(kinds, anchor) for anchor in anchors),
            "cycle": self._is_cyclic(groups),
        }
        return [rule for rule, holds in found.items() if holds]

    def _is_out_of_order(self, kinds: dict[str, str], anchor: str) -> bool:
        def needed(name: str) -> set[str]:
            inside = {source for source in self.inputs[name] if source in kinds}
            return inside.union(*map(needed, inside))

        before = {kinds[name] for name in needed(anchor)}
        after = {kinds[name] for name in kinds if anchor in needed(name)}
        allowed = {"movement"} if kinds[anchor] == "matmul" else {"movement", "elementwise"}
        return not (before <= allowed and after <= {"elementwise"})

    def _is_cyclic(self, groups: list[list[str]]) -> bool:
        number = {name: k for k, group in enumerate(groups) for name in group}
        needs = [{number[source] for name in group for source in self.inputs[name]} for group in groups]
        try:
            TopologicalSorter({k: sources - {k} for k, sources in enumerate(needs)}).prepare()
        except CycleError:
            return True
        return False


def check(trial: Trial) -> None:
    kinds = {"product": "matmul", "gelu": "elementwise", "softmax": "opaque", "sum": "elementwise"}
    inputs = {"product": [], "gelu": ["product"], "softmax": ["gelu"], "sum": ["gelu", "softmax"]}
    _ask(trial, Graph(kinds, inputs, [[name] for name in kinds]), "product", "gelu")
    _ask(trial, Graph(kinds, inputs, [["product", "gelu"], ["softmax"], ["sum"]]), "gelu", "sum")
    # a third group that takes a value in one node and gives one from another
    inputs = {"a": [], "b": ["a"], "c": [], "d": ["a", "c"], "e": ["b", "c"]}
    _ask(trial, Graph(dict.fromkeys(inputs, "elementwise"), inputs, [["a"], ["b", "c", "e"], ["d"]]), "a", "d")
    wanted = dict.fromkeys(ANSWERS, 60)
    while any(wanted.values()):
        graph = _random_graph(trial.random)
        for a, b in graph.edges():
            answer, *more = graph.broken(a, b) or ["yes"]
            if wanted[answer] and not more:
                _ask(trial, graph, a, b)
                wanted[answer] -= 1


def _random_graph(random: Random) -> Graph:
    """Nodes that mostly take what was made just before, in groups that are legal."""
    names = "abcdefghijkl"[: random.randint(5, 12)]
    kinds = dict(zip(names, random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=len(names)), strict=True))
    inputs = {}
    for k, name in enumerate(names):
        recent = names[max(0, k - 4) : k]
        inputs[name] = sorted(random.sample(recent, min(len(recent), random.choice([0, 1, 1, 2, 2]))))
    graph = Graph(kinds, inputs, [[name] for name in names])
    for _ in range(random.randint(0, 6)):
        legal = [edge for edge in graph.edges() if not graph.broken(*edge)]
        if legal:
            graph.groups = graph.merged(*random.choice(legal))
    return graph


def _ask(trial: Trial, graph: Graph, a: str, b: str) -> None:
    broken = graph.broken(a, b) or ["yes"]
    got = trial.call("may_fuse", graph.kinds, graph.inputs, graph.groups, producer=a, consumer=b)
    trial.picture(_picture(graph, a, b))
    trial.expect_equal(got, got if got in broken else broken[0])


def _picture(graph: Graph, a: str, b: str) -> Text:
    """A line a node; the two groups in question are marked."""
    lines = Text([f"{a} -> {b}, to be merged: >"], [f"{a} -> {b}，要合并的两组标有 >"])
    for name, kind in graph.kinds.items():
        number = next(k for k, group in enumerate(graph.groups) if name in group)
        mark = ">" if name in graph.merged(a, b)[-1] else " "
        text = f"{mark} {name:<8} = {kind}({', '.join(graph.inputs[name])})"
        lines["en"].append(f"{text:<44}  group {number}")
        lines["zh"].append(f"{text:<44}  第{number}组")
    return Text(*map("\n".join, lines.values()))
