"""Gates on the rule that is named, on sixty questions for each rule, about random graphs in random legal groups."""

from dataclasses import dataclass

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

    def of(self, name: str) -> list[str]:
        return next(group for group in self.groups if name in group)

    def edges(self) -> list[tuple[str, str]]:
        """Those between groups."""
        pairs = [(source, name) for name in self.kinds for source in self.inputs[name]]
        return [(a, b) for a, b in pairs if self.of(a) is not self.of(b)]

    def merge(self, a: str, b: str) -> None:
        merged = [name for name in self.kinds if name in self.of(a) or name in self.of(b)]
        self.groups = [group for group in self.groups if a not in group and b not in group] + [merged]

    def broken(self, a: str, b: str) -> list[str]:
        """All rules that the merged group breaks."""
        merged = {*self.of(a), *self.of(b)}
        anchors = [name for name in merged if self.kinds[name] in ("reduction", "matmul")]
        found = {
            "opaque": any(self.kinds[name] == "opaque" for name in merged),
            "anchors": len(anchors) > 1,
            "order": any(self._out_of_order(merged, anchor) for anchor in anchors),
            "cycle": self.cycle(merged, [group for group in self.groups if a not in group and b not in group]),
        }
        return [rule for rule, holds in found.items() if holds]

    def _out_of_order(self, merged: set[str], anchor: str) -> bool:
        before = self._closure({anchor}, {name: [x for x in self.inputs[name] if x in merged] for name in merged})
        users = {name: [user for user in merged if name in self.inputs[user]] for name in merged}
        after = self._closure({anchor}, users)
        allowed = {"movement"} if self.kinds[anchor] == "matmul" else {"movement", "elementwise"}
        return any(self.kinds[name] not in allowed for name in before - {anchor}) or any(
            self.kinds[name] != "elementwise" for name in after - {anchor}
        )

    def cycle(self, merged: set[str], others: list[list[str]]) -> bool:
        """Whether what depends on the merged group, over groups, is also needed by it."""
        groups = [merged, *map(set, others)]
        follows = {
            k: [j for j, other in enumerate(groups) if j != k and any(group & {*self.inputs[x]} for x in other)]
            for k, group in enumerate(groups)
        }
        return any(0 in follows[k] for k in self._closure({0}, follows) if k)

    @staticmethod
    def _closure(start: set, follows: dict) -> set:
        found, waiting = set(start), list(start)
        while waiting:
            new = set(follows[waiting.pop()]) - found
            found |= new
            waiting += new
        return found


def check(trial: Trial) -> None:
    kinds = {"product": "matmul", "gelu": "elementwise", "softmax": "opaque", "sum": "elementwise"}
    inputs = {"product": [], "gelu": ["product"], "softmax": ["gelu"], "sum": ["gelu", "softmax"]}
    _ask(trial, Graph(kinds, inputs, [[name] for name in kinds]), "product", "gelu")
    _ask(trial, Graph(kinds, inputs, [["product", "gelu"], ["softmax"], ["sum"]]), "gelu", "sum")
    _ask(trial, _two_lanes(), "a", "d")
    wanted = dict.fromkeys(ANSWERS, 60)
    while any(count > 0 for count in wanted.values()):
        graph = _random_graph(trial)
        for a, b in graph.edges():
            broken = graph.broken(a, b)
            key = broken[0] if len(broken) == 1 else "yes" if not broken else None
            if key is None or wanted[key] <= 0:
                continue
            _ask(trial, graph, a, b)
            wanted[key] -= 1


def _two_lanes() -> Graph:
    """A third group that takes a value in one node and gives one from another."""
    kinds = dict.fromkeys("abcde", "elementwise")
    inputs = {"a": [], "b": ["a"], "c": [], "d": ["a", "c"], "e": ["b", "c"]}
    return Graph(kinds, inputs, [["a"], ["b", "c", "e"], ["d"]])


def _random_graph(trial: Trial) -> Graph:
    """Nodes that mostly take what was made just before, in groups that are legal."""
    random = trial.random
    names = [chr(ord("a") + k) for k in range(random.randint(5, 12))]
    kinds = {name: random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0] for name in names}
    inputs = {}
    for k, name in enumerate(names):
        recent = names[max(0, k - 4) : k]
        inputs[name] = sorted(random.sample(recent, min(len(recent), random.choice([0, 1, 1, 2, 2]))))
    graph = Graph(kinds, inputs, [[name] for name in names])
    for _ in range(random.randint(0, 6)):
        legal = [edge for edge in graph.edges() if not graph.broken(*edge)]
        if legal:
            graph.merge(*random.choice(legal))
    return graph


def _ask(trial: Trial, graph: Graph, a: str, b: str) -> None:
    broken = graph.broken(a, b)
    got = trial.call("may_fuse", graph.kinds, graph.inputs, graph.groups, producer=a, consumer=b)
    trial.expect_type(got, str)
    names = ", ".join(map(repr, ANSWERS))
    trial.expect(got in ANSWERS, Text(f"Return one of {names}.", f"应返回{names}之一。"))
    trial.picture(_picture(graph, a, b))
    trial.expect_equal(got, got if got in broken else broken[0] if broken else "yes")


def _picture(graph: Graph, a: str, b: str) -> Text:
    """A line a node; the two groups in question are marked."""
    number = {name: k for k, group in enumerate(graph.groups) for name in group}
    lines = Text([f"{a} -> {b}, to be merged: >"], [f"{a} -> {b}，要合并的两组标有 >"])
    for name, kind in graph.kinds.items():
        mark = ">" if name in (*graph.of(a), *graph.of(b)) else " "
        text = f"{mark} {name:<8} = {kind}({', '.join(graph.inputs[name])})"
        lines["en"].append(f"{text:<44}  group {number[name]}")
        lines["zh"].append(f"{text:<44}  第{number[name]}组")
    return Text(*map("\n".join, lines.values()))
