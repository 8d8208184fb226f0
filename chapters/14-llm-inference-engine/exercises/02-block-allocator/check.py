"""Gates on what every sequence reads back, on the recount of references and free blocks, and on copies and blocks."""

from dataclasses import dataclass, field
from typing import NamedTuple

from sysai.core.language import Text
from sysai.exercises.compare import about
from sysai.exercises.trial import Hint, Trial


def holders(tables: dict[str, list[int]], block: int) -> list[str]:
    """The sequences in whose tables a block stands."""
    return [sequence for sequence, table in tables.items() if block in table]


@dataclass
class Ledger:
    """The check's own account, in which a block is a number that is never used twice."""

    num_blocks: int
    size: int
    texts: dict[str, list[str]] = field(default_factory=dict)
    tables: dict[str, list[int]] = field(default_factory=dict)
    made: int = 0

    @property
    def spare(self) -> int:
        return self.num_blocks - len({block for table in self.tables.values() for block in table})

    def needs(self, name: str, sequence: str, positions: object = None) -> tuple[int, int]:
        """(new blocks, copies) of an operation."""
        if name not in ("allocate", "append"):
            return 0, 0
        length, table = len(self.texts.get(sequence, ())), self.tables.get(sequence, ())
        copies = length % self.size > 0 and len(holders(self.tables, table[-1])) > 1
        return -(-(length + positions) // self.size) - len(table), int(copies)

    def do(self, name: str, sequence: str, other: object = None) -> bool:
        """Whether the operation fits; if so it is carried out."""
        new, copies = self.needs(name, sequence, other)
        if new + copies > self.spare:
            return False
        if name == "free":
            del self.texts[sequence], self.tables[sequence]
        elif name == "fork":
            self.texts[other], self.tables[other] = list(self.texts[sequence]), list(self.tables[sequence])
        else:
            text, table = self.texts.setdefault(sequence, []), self.tables.setdefault(sequence, [])
            table[len(table) - copies :] = range(self.made, self.made + new + copies)
            self.made += new + copies
            text += [f"{sequence}{p}" for p in range(len(text), len(text) + other)]
        return True


def check(trial: Trial) -> None:
    _check(trial, 10, 4, [("allocate", "a", 4), ("fork", "a", "b"), ("append", "b", 1)])
    begin = [("allocate", "a", 6), *(("fork", "a", child) for child in "bcd")]
    _check(trial, 10, 4, [*begin, *(("append", sequence, 3) for sequence in "abcd")])
    _check(trial, 8, 4, [*begin, *(("append", sequence, 3) for sequence in "dcba"), ("free", "a"), ("append", "b", 9)])
    for i in range(24):
        num_blocks, size = trial.random.randint(5, 12), trial.random.randint(2, 4)
        _check(trial, num_blocks, size, _random_operations(trial, num_blocks, size, 6 + 3 * i))


def _random_operations(trial: Trial, num_blocks: int, size: int, count: int) -> list[tuple]:
    """Operations on sequences that exist; a good part of them does not fit."""
    random, ledger, operations = trial.random, Ledger(num_blocks, size), []
    for number in range(count):
        new, alive = chr(ord("a") + number % 26) * (1 + number // 26), list(ledger.tables)
        old = random.choice(alive or [new])
        kinds = ["allocate", *["fork", *["append"] * 3] * 2, *["free"] * (1 + len(alive) // 4)]
        kind = random.choice(kinds if alive else ["allocate"])
        arguments = {
            "allocate": (new, random.randint(1, 3 * size)),
            "fork": (old, new),
            "append": (old, random.choice([1, 1, 2, size, 2 * size + 1])),
            "free": (old,),
        }
        operations.append((kind, *arguments[kind]))
        ledger.do(*operations[-1])
    return operations


def _check(trial: Trial, num_blocks: int, size: int, operations: list[tuple]) -> None:
    replay = Replay(trial, Ledger(num_blocks, size), operations)
    trial.call("replay", num_blocks, size, operations, trial.callback(replay.report))
    message = Text("Leave replay as it is in the starter.", "请让`replay`保持起始代码中的样子。")
    trial.expect(next(replay.operations, None) is None, message)


class State(NamedTuple):
    """What an operation left."""

    tables: dict[str, list[int]]
    lengths: dict[str, int]
    references: list[int]
    free_blocks: list[int]


class Replay:
    """The check's side of a replay: the memory, and what the operations so far have left."""

    def __init__(self, trial: Trial, ledger: Ledger, operations: list[tuple]) -> None:
        self.trial, self.ledger, self.operations = trial, ledger, iter(enumerate(operations))
        self.memory = [["-"] * ledger.size for _ in range(ledger.num_blocks)]
        self.before = State({}, {}, [0] * ledger.num_blocks, list(range(ledger.num_blocks)))

    def report(self, result: object, *parts: object) -> None:
        """Compare what an operation returned and left with what it must."""
        number, operation = next(self.operations)
        name, sequence, *_ = operation
        shown = f"{name}({', '.join(map(repr, operation[1:]))})"
        self.where = Text(f"operations[{number}], {shown}", f"operations[{number}]，即{shown}")
        ledger, state = self.ledger, State(*parts)
        old, spare, (new, copies) = len(ledger.texts.get(sequence, ())), ledger.spare, ledger.needs(*operation)
        fits = ledger.do(*operation)
        self._check_form(state)
        self._draw(state)
        if name in ("allocate", "append"):
            self._check_answer(name, result, fits, new, copies, spare)
        if not fits:
            self._check_unchanged(state)
            return
        self._check_tables(state)
        if name == "append":
            self._copy(result)
        if name in ("allocate", "append"):
            self._write(sequence, state.tables, old)
        self._draw(state)
        self._check_contents_and_counts(state, name)
        if name == "append":
            self._check_copies(len(result), copies, old % ledger.size == 0, sequence)
        self.before = state

    def _check_form(self, state: State) -> None:
        blocks = [*state.free_blocks, *(block for table in state.tables.values() for block in table)]
        numbers = [*blocks, *state.lengths.values(), *state.references]
        good = all(type(n) is int for n in numbers) and {*blocks} <= {*range(self.ledger.num_blocks)}
        message = Text(
            "tables and free_blocks must hold numbers of blocks, references a count for each block.",
            "tables和free_blocks里应当是块号，references里应当是每个块的计数。",
        )
        self.trial.expect(good and len(state.references) == self.ledger.num_blocks, about(self.where, message))

    def _check_answer(self, name: str, result: object, fits: bool, new: int, copies: int, spare: int) -> None:
        good = result is fits if name == "allocate" else type(result) is (list if fits else type(None))
        en, zh = ("a list of copies", "复制的列表") if fits else ("None", "None")
        if name == "allocate":
            en = zh = str(fits)
        message = Text(
            f"it needs {new} new blocks and {copies} for copies, {spare} are free: return {en}, not {result!r:.60}.",
            f"需要{new}个新块，另需{copies}个块用于复制，空闲的有{spare}个：应返回{zh}，而不是{result!r:.60}。",
        )
        hint = Text(
            "The copy goes into a block of its own, which must be free as well.",
            "复制也要占一个块，这个块也必须是空闲的。",
        )
        self.trial.expect(good, about(self.where, message), hint if new <= spare < new + copies else None)

    def _check_unchanged(self, state: State) -> None:
        sides = [side._replace(free_blocks=sorted(side.free_blocks)) for side in (self.before, state)]
        changed = [name for name, old, new in zip(State._fields, *sides, strict=True) if old != new]
        message = Text(
            f"it was refused, but {', '.join(changed)} changed.", f"操作被拒绝，但{'、'.join(changed)}变了。"
        )
        hint = Text(
            "First count the blocks needed and compare with those that are free; only then change anything.",
            "先算出需要多少块，与空闲的块数比较，然后才改动。",
        )
        self.trial.expect(not changed, about(self.where, message), hint)

    def _check_tables(self, state: State) -> None:
        lengths = {sequence: len(text) for sequence, text in self.ledger.texts.items()}
        blocks = {sequence: -(-length // self.ledger.size) for sequence, length in lengths.items()}
        got = {sequence: len({*table}) for sequence, table in state.tables.items()}
        one_list = Hint(
            lambda got: any(got.get(sequence, 0) > n for sequence, n in blocks.items()),
            Text(
                "Is the table of a child a list of its own, or the parent's?",
                "子序列的块表是它自己的列表，还是父序列的那一个？",
            ),
        )
        what = Text("how many blocks stand in the table of each sequence", "各序列的块表里有几个块")
        self.trial.expect_equal(got, blocks, what=about(self.where, what), hints=[one_list])
        self.trial.expect_equal(state.lengths, lengths, what=about(self.where, Text("lengths", "lengths")))

    def _copy(self, copies: list) -> None:
        blocks = range(self.ledger.num_blocks)
        good = all(type(c) is tuple and len(c) == 2 and c[0] in blocks and c[1] in blocks for c in copies)
        message = Text(
            "return each copy as a tuple of two blocks, (source, destination).",
            "每个复制应写成两个块号的元组：（源，目标）。",
        )
        self.trial.expect(good, about(self.where, message))
        for source, destination in copies:
            self.memory[destination] = list(self.memory[source])

    def _write(self, sequence: str, tables: dict[str, list[int]], old: int) -> None:
        """Write the new positions, which nobody else may hold."""
        size, text = self.ledger.size, self.ledger.texts[sequence]
        for position in range(old, len(text)):
            block = tables[sequence][position // size]
            others = [other for other in holders(tables, block) if other != sequence]
            message = Text(
                f"position {position} is about to be written into block {block}, also held by {', '.join(others)}.",
                f"位置{position}要写进{block}号块，而{'、'.join(others)}也持有这个块。",
            )
            hint = Text(
                "If it was shared, copy it first. If it was a free block, somebody freed it too early.",
                "如果它是共用的，应当先复制；如果它是从空闲块里取来的，那就是有人释放得太早了。",
            )
            self.trial.expect(not others, about(self.where, message), hint)
            self.memory[block][position % size] = text[position]

    def _check_contents_and_counts(self, state: State, name: str) -> None:
        size, texts, blocks = self.ledger.size, self.ledger.texts, range(self.ledger.num_blocks)
        read = {
            sequence: [self.memory[state.tables[sequence][p // size]][p % size] for p in range(len(text))]
            for sequence, text in texts.items()
        }
        reversed_ = Hint(
            lambda _: name == "append",
            Text(
                "What was in the last block before must be in its copy, too. Is each pair (source, destination)?",
                "最后一块里原有的内容，副本里也要有。每一对的次序是（源，目标）吗？",
            ),
        )
        what = Text("the tokens that each sequence reads afterwards", "操作之后各序列读到的词元")
        self.trial.expect_equal(read, texts, what=about(self.where, what), hints=[reversed_])
        counts = [len(holders(state.tables, block)) for block in blocks]
        kept = Hint(
            lambda got: name == "append" and sum(got) == sum(counts) + 1,
            Text(
                "Whoever has gone over to a copy no longer holds the block that was copied.",
                "改用副本之后，就不再持有原来那个块了。",
            ),
        )
        what = about(self.where, Text("references, as the tables have it", "references（以各块表为准）"))
        self.trial.expect_equal(state.references, counts, what=what, hints=[kept])
        free = [block for block in blocks if counts[block] == 0]
        what = about(self.where, Text("free_blocks, sorted", "free_blocks（排序后）"))
        self.trial.expect_equal(sorted(state.free_blocks), free, what=what)

    def _check_copies(self, copies: int, needed: int, full: bool, sequence: str) -> None:
        hint = Text(
            "Only the block that is about to be written into needs a copy, the last one. Others stay shared.",
            "只有将要写入的块才要复制，即最后一块；其余的可以继续共用。",
        )
        if full:
            hint = Text(
                "The last block is full. New positions go into the next one; the shared one is not written into.",
                "最后一块已经写满，新的位置在下一块里，共用的这一块不会再写。",
            )
        elif not needed:
            hint = Text(
                f"Nobody but {sequence} holds the last block any more: it may be written into.",
                f"除了{sequence}，已经没有谁持有最后一块，可以直接往里写。",
            )
        message = Text(f"blocks copied: {copies}; needed: {needed}.", f"复制了{copies}个块，需要复制的是{needed}个。")
        self.trial.expect(copies <= needed, about(self.where, message), hint)

    def _draw(self, state: State) -> None:
        """A line a block: its references, what is in it, and whose it is."""
        table = ""
        for block, tokens in enumerate(self.memory):
            cells = " ".join(f"{token:<4}" for token in tokens)
            whose = " ".join([*holders(state.tables, block), *"·" * (block in state.free_blocks)])
            table += f"\n{block:>5}  {state.references[block]:>4}  {cells}  {whose}"
        self.trial.picture(
            Text(
                f"afterwards: block, references, tokens, and the sequences that hold it; · is free{table}",
                f"操作之后：块号，引用计数，其中的词元，以及持有这个块的序列；· 表示空闲{table}",
            )
        )
