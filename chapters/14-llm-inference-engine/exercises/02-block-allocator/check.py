"""Gates on what every sequence reads back, on the recount of references and free blocks, and on copies and blocks."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from string import ascii_letters

from sysai.core.language import Text
from sysai.exercises.compare import about
from sysai.exercises.trial import Hint, Trial


@dataclass
class Ledger:
    """The check's own account, in which a block is a list of tokens."""

    num_blocks: int
    size: int
    tables: dict[str, list[list[str]]] = field(default_factory=dict)

    def text(self, sequence: str) -> list[str]:
        return [token for block in self.tables.get(sequence, []) for token in block]

    def do(self, name: str, sequence: str, other: object = None) -> tuple[int, int, int]:
        """Carry out an operation if it fits; (new blocks, copies, blocks that were free)."""
        table, length, new, copies = list(self.tables.get(sequence, [])), len(self.text(sequence)), 0, 0
        spare = self.num_blocks - len({id(block) for table in self.tables.values() for block in table})
        if name == "free":
            del self.tables[sequence]
        elif name == "fork":
            self.tables[other] = table
        else:
            new = -(-(length + other) // self.size) - len(table)
            if length % self.size and sum(table[-1] is held[-1] for held in self.tables.values()) > 1:
                copies, table[-1] = 1, list(table[-1])
            if new + copies <= spare:
                self.tables[sequence] = table + [[] for _ in range(new)]
                for position in range(length, length + other):
                    self.tables[sequence][position // self.size].append(f"{sequence}{position}")
        return new, copies, spare


def check(trial: Trial) -> None:
    _check(trial, 10, 4, [("allocate", "a", 4), ("fork", "a", "b"), ("append", "b", 1)])
    begin = [("allocate", "a", 6), *(("fork", "a", child) for child in "bcd")]
    _check(trial, 10, 4, [*begin, *(("append", sequence, 3) for sequence in "abcd")])
    _check(trial, 8, 4, [*begin, *(("append", sequence, 3) for sequence in "dcba"), ("free", "a"), ("append", "b", 9)])
    for i in range(24):
        num_blocks, size = trial.random.randint(5, 12), trial.random.randint(2, 4)
        _check(trial, num_blocks, size, _random_operations(trial, num_blocks, size, 6 + 2 * i))


def _random_operations(trial: Trial, num_blocks: int, size: int, count: int) -> list[tuple]:
    """Operations on sequences that exist; a good part of them does not fit."""
    random, ledger, operations = trial.random, Ledger(num_blocks, size), []
    for number in range(count):
        new, alive = ascii_letters[number], list(ledger.tables)
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


def _parts(tables: dict, lengths: dict, references: list, free_blocks: Iterable) -> dict:
    return {"tables": tables, "lengths": lengths, "references": references, "free_blocks": sorted(free_blocks)}


class Replay:
    """The check's side of a replay: the memory, and what the last operation left."""

    def __init__(self, trial: Trial, ledger: Ledger, operations: list[tuple]) -> None:
        self.trial, self.ledger, self.operations = trial, ledger, iter(enumerate(operations))
        self.memory = [["-"] * ledger.size for _ in range(ledger.num_blocks)]
        self.left = _parts({}, {}, [0] * ledger.num_blocks, range(ledger.num_blocks))

    def report(self, result: object, tables: dict, lengths: dict, references: list, free_blocks: list) -> None:
        """Compare what an operation returned and left with what it must."""
        number, operation = next(self.operations)
        name, sequence, *_ = operation
        shown = f"{name}({', '.join(map(repr, operation[1:]))})"
        self.where = Text(f"operations[{number}], {shown}", f"operations[{number}]，即{shown}")
        ledger, old = self.ledger, len(self.ledger.text(sequence))
        new, copies, spare = ledger.do(*operation)
        fits = new + copies <= spare
        blocks = [*free_blocks, *(block for table in tables.values() for block in table)]
        message = Text(
            "tables and free_blocks must hold numbers of blocks, references a count for each block.",
            "tables和free_blocks里应当是块号，references里应当是每个块的计数。",
        )
        good = self._are_blocks(blocks) and [type(count) for count in references] == [int] * ledger.num_blocks
        self._expect(good, message)
        before, self.left = self.left, _parts(tables, lengths, references, free_blocks)
        self._draw()
        if name in ("allocate", "append"):
            wanted, good = str(fits), result is fits
            if name == "append":
                wanted = "[(source, destination), ...]" if fits else "None"
                good = self._are_copies(result) if fits else result is None
            message = Text(
                f"needed: {new} new blocks, {copies} for copies; free: {spare}. Return {wanted}, not {result!r:.60}.",
                f"需要{new}个新块，另需{copies}个用于复制，空闲的有{spare}个：应返回{wanted}，而不是{result!r:.60}。",
            )
            hint = Text("A copy, too, goes into a block that must be free.", "复制也要占一个空闲块。")
            self._expect(good, message, hint if new <= spare < new + copies else None)
        if not fits:
            changed = ", ".join(part for part in before if before[part] != self.left[part])
            message = Text(f"it was refused, but {changed} changed.", f"操作被拒绝，但{changed}变了。")
            hint = Text(
                "Count the blocks needed and compare with those that are free before you change anything.",
                "先算出需要多少块，与空闲的块数比较，然后才改动。",
            )
            self._expect(not changed, message, hint)
            return
        made = result if name == "append" else []
        for source, destination in made:
            self.memory[destination] = list(self.memory[source])
        self._write(sequence, old)
        self._draw()
        self._recount(appended=name == "append")
        message = Text(f"blocks copied: {len(made)}; needed: {copies}.", f"复制了{len(made)}块，需要的是{copies}块。")
        hint = Text(
            "Only a last block that is partly filled, and that others hold as well, needs a copy: no other is written.",
            "只有最后一块，在没有写满而且还有别人持有时，才要复制：别的块不会再写。",
        )
        self._expect(len(made) <= copies, message, hint)

    def _expect(self, condition: bool, message: Text, hint: Text | None = None) -> None:
        self.trial.expect(condition, about(self.where, message), hint)

    def _are_blocks(self, numbers: Iterable) -> bool:
        return all(type(n) is int and 0 <= n < self.ledger.num_blocks for n in numbers)

    def _are_copies(self, result: object) -> bool:
        return type(result) is list and all(type(c) is tuple and len(c) == 2 and self._are_blocks(c) for c in result)

    def _holders(self, block: int) -> list[str]:
        """The sequences in whose tables a block stands."""
        return [sequence for sequence, table in self.left["tables"].items() if block in table]

    def _write(self, sequence: str, old: int) -> None:
        """Write the new positions, which nobody else may hold."""
        places = [(block, i) for block in self.left["tables"].get(sequence, []) for i in range(self.ledger.size)]
        for (block, i), token in list(zip(places, self.ledger.text(sequence), strict=False))[old:]:
            others = ", ".join(other for other in self._holders(block) if other != sequence)
            message = Text(
                f"{token} is about to be written into block {block}, which is also held by {others}.",
                f"{token}要写进{block}号块，而{others}也持有这个块。",
            )
            hint = Text(
                "If it was shared, copy it first. If it was free: was it freed too early, or do two share one table?",
                "如果它是共用的，应当先复制；如果是空闲的：是释放得太早，还是两个序列用着同一张块表？",
            )
            self._expect(not others, message, hint)
            self.memory[block][i] = token

    def _recount(self, appended: bool) -> None:
        """Compare what the sequences read and what the tables say with what must be."""
        tables, texts = self.left["tables"], {s: self.ledger.text(s) for s in self.ledger.tables}
        counts = [len(self._holders(block)) for block in range(self.ledger.num_blocks)]
        read = {s: [token for block in table for token in self.memory[block]] for s, table in tables.items()}
        got = {
            "blocks of the tables": {sequence: len(table) for sequence, table in tables.items()},
            "tokens read": {sequence: tokens[: len(texts.get(sequence, []))] for sequence, tokens in read.items()},
            **self.left,
        }
        expected = {
            "blocks of the tables": {sequence: len(table) for sequence, table in self.ledger.tables.items()},
            "tokens read": texts,
            "tables": tables,
            "lengths": {sequence: len(text) for sequence, text in texts.items()},
            "references": counts,
            "free_blocks": [block for block, count in enumerate(counts) if count == 0],
        }
        reversed_ = Text(
            "What was in the last block must be in its copy, too. Is each pair (source, destination)?",
            "最后一块里原有的内容，副本里也要有。每一对的次序是（源，目标）吗？",
        )
        kept = Text(
            "Whoever has gone over to a copy no longer holds the block that was copied.",
            "改用副本之后，就不再持有原来那个块了。",
        )
        held = Text(
            "A block on the free list is still held: free it when its last holder has left.",
            "空闲列表里的一个块还有持有者：最后一个持有者离开时才能释放它。",
        )
        hints = [
            Hint(lambda got: any(self._holders(block) for block in got["free_blocks"]), held),
            Hint(lambda got: appended and got["tokens read"] != texts, reversed_),
            Hint(lambda got: appended and sum(got["references"]) > sum(counts), kept),
        ]
        what = about(self.where, Text("what is left, as the tables have it", "留下的账目（以各块表为准）"))
        self.trial.expect_equal(got, expected, what=what, hints=hints)

    def _draw(self) -> None:
        """A line a block: its references, what is in it, and whose it is."""
        table = ""
        for block, tokens in enumerate(self.memory):
            cells = " ".join(f"{token:<4}" for token in tokens)
            whose = " ".join([*self._holders(block), *"·" * (block in self.left["free_blocks"])])
            table += f"\n{block:>5}  {self.left['references'][block]:>4}  {cells}  {whose}"
        picture = Text(
            f"afterwards: block, references, tokens, and the sequences that hold it; · is free{table}",
            f"操作之后：块号，引用计数，其中的词元，以及持有这个块的序列；· 表示空闲{table}",
        )
        self.trial.picture(picture)
