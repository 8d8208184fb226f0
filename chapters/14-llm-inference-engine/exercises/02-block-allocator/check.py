"""Gates on what every sequence reads back, on the recount of references and free blocks, and on copies and blocks."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from sysai.core.language import Text
from sysai.exercises.trial import Trial

NOBODY = Text("nobody", "无")


@dataclass
class Ledger:
    """The check's own account, in which a block is a number that is never used twice."""

    num_blocks: int
    size: int
    texts: dict[str, list[str]] = field(default_factory=dict)
    tables: dict[str, list[int]] = field(default_factory=dict)
    made: int = 0

    @property
    def used(self) -> int:
        return len({block for table in self.tables.values() for block in table})

    def shares_last(self, sequence: str) -> list[str]:
        """The other holders of a sequence's last block."""
        last = self.tables[sequence][-1]
        return [other for other, table in self.tables.items() if other != sequence and last in table]

    def must_copy(self, sequence: str) -> bool:
        return len(self.texts[sequence]) % self.size > 0 and bool(self.shares_last(sequence))

    def needs(self, name: str, sequence: str, positions: int) -> tuple[int, int]:
        """(new blocks, copies) of an allocate or append."""
        if name == "allocate":
            return -(-positions // self.size), 0
        new = -(-(len(self.texts[sequence]) + positions) // self.size) - len(self.tables[sequence])
        return new, int(self.must_copy(sequence))

    def do(self, name: str, sequence: str, other: object = None) -> bool:
        """Whether the operation fits; if so it is carried out."""
        if name == "free":
            del self.texts[sequence], self.tables[sequence]
        elif name == "fork":
            self.texts[other], self.tables[other] = list(self.texts[sequence]), list(self.tables[sequence])
        else:
            new, copies = self.needs(name, sequence, other)
            if new + copies > self.num_blocks - self.used:
                return False
            text, table = self.texts.setdefault(sequence, []), self.tables.setdefault(sequence, [])
            fresh = list(range(self.made, self.made + new + copies))
            self.made += len(fresh)
            table[len(table) - copies :] = fresh
            text += [f"{sequence}{p}" for p in range(len(text), len(text) + other)]
        return True


def check(trial: Trial) -> None:
    begin = [("allocate", "a", 6), *(("fork", "a", child) for child in "bcd")]
    _check(trial, 10, 4, [*begin, *(("append", sequence, 3) for sequence in "abcd")])
    _check(trial, 8, 4, [*begin, *(("append", sequence, 3) for sequence in "dcba"), ("free", "a"), ("append", "b", 9)])
    for i in range(24):
        num_blocks, size = trial.random.randint(5, 12), trial.random.randint(2, 4)
        _check(trial, num_blocks, size, _random_operations(trial, num_blocks, size, 6 + 3 * i))


def _random_operations(trial: Trial, num_blocks: int, size: int, count: int) -> list[tuple]:
    """Operations on sequences that exist; a good part of them does not fit."""
    random, ledger, operations = trial.random, Ledger(num_blocks, size), []
    names = iter([chr(ord("a") + k % 26) * (1 + k // 26) for k in range(count)])
    for _ in range(count):
        alive = list(ledger.tables)
        kinds = (
            ["allocate", *["fork"] * 2, *["append"] * 6, *["free"] * (1 + len(alive) // 4)] if alive else ["allocate"]
        )
        kind = random.choice(kinds)
        if kind == "allocate":
            operation = (kind, next(names), random.randint(1, 3 * size))
        elif kind == "fork":
            operation = (kind, random.choice(alive), next(names))
        elif kind == "append":
            operation = (kind, random.choice(alive), random.choice([1, 1, 2, size, 2 * size + 1]))
        else:
            operation = (kind, random.choice(alive))
        ledger.do(*operation)
        operations.append(operation)
    return operations


def _check(trial: Trial, num_blocks: int, size: int, operations: list[tuple]) -> None:
    ledger = Ledger(num_blocks, size)
    memory: dict[int, list[str]] = {block: ["-"] * size for block in range(num_blocks)}
    states = [({}, {}, [0] * num_blocks, list(range(num_blocks)))]

    def report(result: object, *state: object) -> None:
        number = len(states) - 1
        _Step(trial, ledger, memory, operations[number], number).check(result, state, states[-1])
        states.append(state)

    trial.call("replay", num_blocks, size, operations, trial.callback(report))
    done = len(states) == len(operations) + 1
    trial.expect(done, Text("Leave replay as it is in the starter.", "请让`replay`保持起始代码中的样子。"))


def _names(names: Iterable[str]) -> dict[str, str]:
    """A list of names."""
    names = list(names)
    return Text(", ".join(names), "、".join(names)) if names else NOBODY


class _Step:
    """One operation: what came back, and what it left behind."""

    def __init__(self, trial: Trial, ledger: Ledger, memory: dict, operation: tuple, number: int) -> None:
        self.trial, self.ledger, self.memory, self.operation = trial, ledger, memory, operation
        name, *arguments = operation
        shown = f"{name}({', '.join(map(repr, arguments))})"
        self.where = Text(f"operations[{number}], {shown}: ", f"operations[{number}]，即{shown}：")

    def check(self, result: object, state: tuple, before: tuple) -> None:
        name, sequence = self.operation[:2]
        ledger = self.ledger
        asks = name in ("allocate", "append")
        new, copies = ledger.needs(*self.operation) if asks else (0, 0)
        full = name == "append" and len(ledger.texts[sequence]) % ledger.size == 0
        old = len(ledger.texts.get(sequence, ()))
        spare = ledger.num_blocks - ledger.used
        fits = ledger.do(*self.operation)
        self._check_types(state)
        self._draw(state)
        if asks:
            self._check_answer(result, fits, new, copies, spare)
        if not fits:
            self._check_unchanged(state, before)
            return
        self._check_tables(state)
        if name == "append":
            self._make_copies(result)
        if asks:
            self._write(state[0], old)
        self._draw(state)
        self._check_contents(state)
        self._check_counts(state)
        if name == "append":
            self._check_copies(result, copies, full, sequence)

    def _check_types(self, state: tuple) -> None:
        message = Text("Leave replay as it is in the starter.", "请让`replay`保持起始代码中的样子。")
        self.trial.expect([type(part) for part in state] == [dict, dict, list, list], message)
        tables, lengths, references, free = state
        blocks = [*free, *(block for table in tables.values() for block in table)]
        in_range = all(type(block) is int and 0 <= block < self.ledger.num_blocks for block in blocks)
        counts = len(references) == self.ledger.num_blocks and all(type(count) is int for count in references)
        message = Text(
            "tables and free_blocks must hold numbers of blocks, references a count for each block.",
            "tables和free_blocks里应当是块号，references里应当是每个块的计数。",
        )
        self.expect(in_range and counts and all(type(n) is int for n in lengths.values()), message)

    def _check_answer(self, result: object, fits: bool, new: int, copies: int, spare: int) -> None:
        name = self.operation[0]
        refused = {"allocate": "False", "append": "None"}[name]
        needs = Text(
            f"needs {new} new blocks and {copies} for copies, {spare} are free",
            f"需要{new}个新块，另需{copies}个块用于复制，空闲的有{spare}个",
        )
        if fits:
            good = result is True if name == "allocate" else type(result) is list
            wanted = "True" if name == "allocate" else "a list of copies"
            wanted_zh = "True" if name == "allocate" else "复制的列表"
            message = Text(
                f"it {needs['en']}, so that it fits: return {wanted}, not {result!r:.60}.",
                f"{needs['zh']}，放得下：应返回{wanted_zh}，而不是{result!r:.60}。",
            )
            self.expect(good, message)
            return
        good = result is False if name == "allocate" else result is None
        message = Text(
            f"it {needs['en']}: return {refused}, not {result!r:.60}.",
            f"{needs['zh']}：应返回{refused}，而不是{result!r:.60}。",
        )
        hint = None
        if copies and new <= spare:
            hint = Text(
                "The copy goes into a block of its own, which must be free as well.",
                "复制也要占一个块，这个块也必须是空闲的。",
            )
        self.expect(good, message, hint)

    def _check_unchanged(self, state: tuple, before: tuple) -> None:
        names = ("tables", "lengths", "references", "free_blocks")
        sides = [[*part[:3], sorted(part[3])] for part in (before, state)]
        changed = [name for name, old, new in zip(names, *sides, strict=True) if old != new]
        message = Text(
            f"it was refused, but {', '.join(changed)} changed.", f"操作被拒绝，但{'、'.join(changed)}变了。"
        )
        hint = Text(
            "First count the blocks needed and compare with those that are free; only then change anything.",
            "先算出需要多少块，与空闲的块数比较，然后才改动。",
        )
        self.expect(not changed, message, hint)

    def _check_tables(self, state: tuple) -> None:
        tables, lengths = state[:2]
        texts = self.ledger.texts
        names = _names(texts)
        message = Text(
            f"tables and lengths must be those of the sequences that there are: {names['en']}.",
            f"tables和lengths里应当正是现有的序列：{names['zh']}。",
        )
        self.expect(tables.keys() == lengths.keys() == texts.keys(), message)
        for sequence, text in texts.items():
            table, wanted = tables[sequence], -(-len(text) // self.ledger.size)
            others = [o for o in tables if o != sequence and len(table) != wanted and tables[o] == table]
            message = Text(
                f"the table of {sequence}, {table}, should have {wanted} different blocks for its {len(text)} "
                "positions.",
                f"{sequence}有{len(text)}个位置，块表{table}应当有{wanted}个不同的块。",
            )
            hint = Text(
                f"It is the same as the table of {', '.join(others)}. Is it a list of its own, or the parent's?",
                f"它与{'、'.join(others)}的块表相同。它是自己的列表，还是父序列的那一个？",
            )
            self.expect(len(set(table)) == len(table) == wanted, message, hint if others else None)
            message = Text(
                f"the length of {sequence} is {lengths[sequence]}, it should be {len(text)}.",
                f"{sequence}的长度是{lengths[sequence]}，应为{len(text)}。",
            )
            self.expect(lengths[sequence] == len(text), message)

    def _make_copies(self, copies: list) -> None:
        blocks = range(self.ledger.num_blocks)
        good = all(type(c) is tuple and len(c) == 2 and all(type(b) is int and b in blocks for b in c) for c in copies)
        message = Text(
            "Return each copy as a tuple of two blocks, (source, destination).",
            "每个复制应写成两个块号的元组：（源，目标）。",
        )
        self.trial.expect(good, message)
        for source, destination in copies:
            self.memory[destination] = list(self.memory[source])

    def _write(self, tables: dict[str, list[int]], old: int) -> None:
        """Write the new positions, which nobody else may hold."""
        sequence, size = self.operation[1], self.ledger.size
        text, table = self.ledger.texts[sequence], tables[sequence]
        for position in range(old, len(text)):
            block = table[position // size]
            others = [other for other in tables if other != sequence and block in tables[other]]
            holders = _names(others)
            message = Text(
                f"position {position} of {sequence} is about to be written into block {block}, which is also "
                f"held by {holders['en']}.",
                f"{sequence}的位置{position}要写进{block}号块，而{holders['zh']}也持有这个块。",
            )
            hint = Text(
                "If it was shared, copy it first. If it was a free block, somebody freed it too early.",
                "如果它是共用的，应当先复制；如果它是从空闲块里取来的，那就是有人释放得太早了。",
            )
            self.expect(not others, message, hint)
            self.memory[block][position % size] = text[position]

    def _check_contents(self, state: tuple) -> None:
        """Every sequence reads what it has written, or its forebears."""
        size = self.ledger.size
        for sequence, text in self.ledger.texts.items():
            table = state[0][sequence]
            read = [self.memory[table[p // size]][p % size] for p in range(len(text))]
            wrong = next((p for p in range(len(text)) if read[p] != text[p]), 0)
            message = Text(
                f"afterwards {sequence} reads {read[wrong]} at position {wrong}, where {text[wrong]} was written "
                f"(block {table[wrong // size]}).",
                f"之后，{sequence}在位置{wrong}读到{read[wrong]}，而那里写的是{text[wrong]}"
                f"（{table[wrong // size]}号块）。",
            )
            hint = Text(
                "What was in the last block before must be in its copy, too. Is each pair (source, destination)?",
                "最后一块里原有的内容，副本里也要有。每一对的次序是（源，目标）吗？",
            )
            self.expect(read == text, message, hint if self.operation[0] == "append" else None)

    def _check_counts(self, state: tuple) -> None:
        tables, _, references, free = state
        counted = Counter(block for table in tables.values() for block in table)
        for block in range(self.ledger.num_blocks):
            holders = _names(sequence for sequence, table in tables.items() if block in table)
            message = Text(
                f"block {block} stands in {counted[block]} tables ({holders['en']}), but its references are "
                f"{references[block]}.",
                f"{block}号块出现在{counted[block]}张块表里（{holders['zh']}），而它的引用计数是{references[block]}。",
            )
            hint = None
            if self.operation[0] == "append" and references[block] == counted[block] + 1:
                hint = Text(
                    "Whoever has gone over to a copy no longer holds the block that was copied.",
                    "改用副本之后，就不再持有原来那个块了。",
                )
            self.expect(references[block] == counted[block], message, hint)
            times = free.count(block)
            message = Text(
                f"block {block} is held by {holders['en']}, and stands in free_blocks {times} times.",
                f"{block}号块的持有者：{holders['zh']}；它在free_blocks里出现了{times}次。",
            )
            self.expect(times == (counted[block] == 0), message)

    def _check_copies(self, copies: list, needed: int, full: bool, sequence: str) -> None:
        hint = None
        if len(copies) > needed and full:
            hint = Text(
                "The last block is full. New positions go into the next one; the shared one is not written into.",
                "最后一块已经写满，新的位置在下一块里，共用的这一块不会再写。",
            )
        elif len(copies) > needed == 0:
            hint = Text(
                f"Nobody but {sequence} holds the last block any more: it may be written into.",
                f"除了{sequence}，已经没有谁持有最后一块，可以直接往里写。",
            )
        elif len(copies) > needed:
            hint = Text(
                "Only the block that is about to be written into needs a copy, the last one. Others stay shared.",
                "只有将要写入的块才要复制，即最后一块；其余的可以继续共用。",
            )
        message = Text(
            f"blocks copied: {len(copies)}; needed: {needed}.", f"复制了{len(copies)}个块，需要复制的是{needed}个。"
        )
        self.expect(len(copies) <= needed, message, hint)

    def _draw(self, state: tuple) -> None:
        """A line a block: its references, what is in it, and whose it is."""
        tables, _, references, free = state
        rows = []
        for block, tokens in self.memory.items():
            holders = " ".join(sequence for sequence, table in tables.items() if block in table)
            cells = " ".join(f"{token:<4}" for token in tokens)
            rows.append(f"{block:>5}  {references[block]:>4}  {cells}  {holders}{' ·' * (block in free)}")
        table = "\n".join(rows)
        self.trial.picture(
            Text(
                f"afterwards: block, references, tokens, and the sequences that hold it; · is free\n{table}",
                f"操作之后：块号，引用计数，其中的词元，以及持有这个块的序列；· 表示空闲\n{table}",
            )
        )

    def expect(self, condition: bool, message: dict[str, str], hint: dict[str, str] | None = None) -> None:
        self.trial.expect(condition, {language: self.where[language] + message[language] for language in message}, hint)
