"""Fusion: partition a graph into groups, each of which becomes one kernel.

Memory traffic is what fusion saves. An operator on its own reads its operands from memory and writes its result; in
a group, only what enters and leaves the group moves. For a chain of k elementwise operators on n bytes:

    apart 2 k n bytes          fused 2 n bytes

The search is greedy, in the order of the graph: each node absorbs the groups that make its operands, as long as
`groups.classify` finds no fault and no other group would have to run between the two. What costs nothing to
compute again (a mask made of indices, another way to read an input) is copied into every reader. What torch runs
stays in the graph's order: random operators take their numbers from one generator.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from sysai.compiler.errors import IllegalFusion
from sysai.compiler.graph import Graph, Value
from sysai.compiler.graph.operators import ELEMENTWISE, SOURCE, operator_of
from sysai.compiler.graph.sizes import evaluate, product
from sysai.compiler.passes.groups import CHEAP_EXPRESSION, COSTLY, Context, Group, classify
from sysai.compiler.tir.expr import ITEM_BYTES

FREE_MOVEMENTS = ("reshape", "permute", "expand", "slice")


@dataclass(frozen=True)
class Verdict:
    """Whether two parts of a graph may be one kernel, in a sentence."""

    legal: bool
    reason: str

    def __bool__(self) -> bool:
        return self.legal


@dataclass(frozen=True)
class GroupTraffic:
    """Bytes that a group moves, and that its operators would move one by one; each operand is counted once."""

    group: Group
    fused: int
    apart: int


def fuse_operators(graph: Graph) -> tuple[Group, ...]:
    """The groups of a graph of core operators, in an order in which they can run."""
    return _Fusion(graph).run()


def explain(graph: Graph, producer: str | Iterable[str], consumer: str | Iterable[str]) -> Verdict:
    """Whether the nodes called `producer` and those called `consumer` may be one kernel.

    Raises:
        ValueError: a name is not that of a node's output.
    """
    context = Context(graph)
    producer, consumer = ({names} if isinstance(names, str) else set(names) for names in (producer, consumer))
    if unknown := (producer | consumer) - set(context.producers):
        raise ValueError(f"no node makes {', '.join(sorted(unknown))}: take one of {', '.join(context.producers)}")
    names = producer | consumer
    if between := _between(context, names):
        return Verdict(False, f"{between} must run between them: it needs one part, and the other part needs it")
    try:
        group = classify(context, names)
    except IllegalFusion as error:
        return Verdict(False, str(error))
    stay = [name for name in context.producers if name in names and name not in {v.name for v in group.outputs}]
    saved = f"{', '.join(stay)} never go to memory" if stay else "their operands are read once"
    return Verdict(True, f"one kernel of class {group.kind}: {saved}")


def traffic(groups: Iterable[Group], sizes: Mapping[str, int] | None = None) -> list[GroupTraffic]:
    """The bytes that each group moves at given sizes; those of views are none."""
    sizes = sizes or {}
    result = []
    for group in groups:
        fused = 0 if group.kind == "view" else _bytes((*group.inputs, *group.outputs), sizes)
        moving = [node for node in group.nodes if node.op != "reshape" and operator_of(node).kind != SOURCE]
        apart = sum(_bytes((*dict.fromkeys(node.inputs), node.output), sizes) for node in moving)
        apart = fused if group.kind == "opaque" else apart
        result.append(GroupTraffic(group, fused, apart))
    return result


def _bytes(values: Iterable[Value], sizes: Mapping[str, int]) -> int:
    return sum(evaluate(product(value.shape), sizes) * _item_bytes(value.dtype) for value in values)


def _item_bytes(dtype: str) -> int:
    """Of any of torch's dtypes: those that the compiler has not have their bits in their name."""
    return ITEM_BYTES.get(dtype) or int(re.search(r"\d+", dtype)[0]) // 8


def _between(context: Context, names: set[str]) -> str | None:
    """A node outside `names` that depends on them and on which they depend."""
    depends: set[str] = set()
    for node in context.graph.nodes:
        name = node.output.name
        if any(value.name in names or value.name in depends for value in node.inputs) and name not in names:
            depends.add(name)
    inputs = (value.name for name in names for value in context.producers[name].inputs)
    return next((name for name in inputs if name in depends), None)


class _Fusion:
    """Groups in the making, each a set of node names under the name of its newest node.

    A free node stays a group of its own, and copies of it go into the groups that read it.
    """

    def __init__(self, graph: Graph) -> None:
        self.context = Context(graph)
        self.free = _free_nodes(self.context)
        self.members: dict[str, set[str]] = {}
        self.group_of: dict[str, str] = {}  # a node's name -> the group that may store it
        self.read: dict[str, list[str]] = {}  # what _reads found for groups, until they change
        fallbacks = (node.output.name for node in graph.nodes if node.op == "fallback")
        self.before = {second: first for first, second in pairwise(fallbacks)}

    def run(self) -> tuple[Group, ...]:
        for node in self.context.graph.nodes:
            name = node.output.name
            self.members[name], self.group_of[name] = {name}, name
            if node.op == "fallback":
                self._join_call(name)
            elif node.op != "reshape":
                while self._absorb_one(name):
                    pass
        return self._in_order()

    def _join_call(self, name: str) -> None:
        """Make one group of all results of a call."""
        before = self.before.get(name)
        if before and self._call(before) == self._call(name):
            self.members[name] |= self.members.pop(before)
            self.group_of.update(dict.fromkeys(self.members[name], name))

    def _call(self, name: str) -> str:
        return self.context.producers[name].attributes["call"]

    def _absorb_one(self, group: str) -> bool:
        """Take in one of the groups that make the group's operands, if any may be."""
        for value in self._reads(group):
            producer = self.group_of[value]
            free = value in self.free
            if not free and self._runs_between(producer, group):
                continue
            names = self.members[group] | ({value} if free else self.members[producer])
            try:
                classify(self.context, names, self._stored(group, names))
            except IllegalFusion:
                continue
            self.members[group] = names
            self.read.pop(group, None)
            if not free:
                del self.members[producer]
                self.group_of.update(dict.fromkeys((name for name in names if name not in self.free), group))
            return True
        return False

    def _reads(self, group: str) -> list[str]:
        """Names of the values that nodes make and a group waits for, the newest first: it reads them, or torch does."""
        if group not in self.read:
            names = self.members[group]
            inputs = {value.name for name in names for value in self.context.producers[name].inputs}
            inputs |= {self.before[name] for name in names if name in self.before}
            computed = [name for name in inputs - names if name in self.context.producers]
            self.read[group] = sorted(computed, key=self.context.position.get, reverse=True)
        return self.read[group]

    def _stored(self, group: str, names: set[str]) -> list[str]:
        return [name for name in names if (name not in self.free or name == group) and self._escapes(name, names)]

    def _escapes(self, name: str, names: set[str]) -> bool:
        """Whether a value is needed outside, also by copies of free nodes there."""
        return name in self.context.outputs or any(
            user.output.name not in names or (user.output.name in self.free and self._escapes(user.output.name, names))
            for user in self.context.users.get(name, ())
        )

    def _runs_between(self, producer: str, group: str) -> bool:
        """Whether another group needs `producer` and is needed by `group`."""
        first = min(self.context.position[name] for name in self.members[producer])
        waiting = [self.group_of[value] for value in self._reads(group)]
        seen = {producer, group}
        while waiting:
            other = waiting.pop()
            if other in seen or self.context.position[other] < first:  # a group's name is that of its newest node
                continue
            seen.add(other)
            groups = {self.group_of[value] for value in self._reads(other)}
            if producer in groups:
                return True
            waiting.extend(groups)
        return False

    def _in_order(self) -> tuple[Group, ...]:
        """The groups that are needed, each after those that it reads."""
        order: list[str] = []
        called = [node.output.name for node in self.context.graph.nodes if node.op == "fallback"]
        waiting = [self.group_of[name] for name in reversed([*called, *self.context.outputs]) if name in self.group_of]
        open_groups: set[str] = set()
        while waiting:
            group = waiting[-1]
            missing = [self.group_of[value] for value in self._reads(group) if self.group_of[value] not in order]
            if group in order or not missing:
                waiting.pop()
                if group not in order:
                    order.append(group)
                continue
            assert group not in open_groups, f"groups wait for each other around {group}"
            open_groups.add(group)
            waiting.extend(missing)
        groups = ((name, self.members[name]) for name in order)
        return tuple(classify(self.context, nodes, self._stored(name, nodes)) for name, nodes in groups)


def _free_nodes(context: Context) -> set[str]:
    """Names of nodes that every reader can as well compute itself: indices, numbers, other ways to read memory."""
    free: set[str] = set()
    operators: dict[str, int] = {}
    for node in context.graph.nodes:
        name, kind = node.output.name, operator_of(node).kind
        made_of_indices = kind in (SOURCE, ELEMENTWISE) and all(value.name in operators for value in node.inputs)
        if made_of_indices and node.op not in COSTLY:
            count = 1 + sum(operators[value.name] for value in node.inputs)
            if count <= 2 * CHEAP_EXPRESSION:
                operators[name] = count
                free.add(name)
        elif node.op in FREE_MOVEMENTS and len(context.users.get(name, ())) > 1:
            free.add(name)
    return free
