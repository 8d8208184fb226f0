"""Gates on the verdicts, and on inputs that make the wrong programs differ in one row, in the reference interpreter."""

from pathlib import Path
from runpy import run_path

import numpy as np
from sysai.compiler.tir.interpret import interpret
from sysai.compiler.tir.statement import PrimFunc
from sysai.compiler.tir.text import parse
from sysai.core.language import Text
from sysai.exercises.trial import Trial

STARTER = run_path(str(Path(__file__).with_name("starter.py")))
VERDICTS = ("sound", "order", "domain", "init")
RULES = {
    "split": "sound",
    "overlap_copy": "sound",
    "stage_next": "order",
    "lanes_sum": "sound",
    "interchange": "sound",
    "lanes_max": "init",
    "stage_previous": "sound",
    "overlap_sum": "domain",
}
WHY = {
    "split": Text(
        "The predicate leaves out what is beyond the row, and every column is visited once.",
        "谓词排除了行尾以外的部分，每一列都恰好访问一次。",
    ),
    "overlap_copy": Text(
        "The last tile begins earlier, so that some columns are stored twice. Do both stores write the same?",
        "最后一块提前开始，于是有几列存了两次。两次写的相同吗？",
    ),
    "stage_next": Text(
        "Follow the last column of a tile: which element of E does it read, and who has made that by then?",
        "请看一块的最后一列：它读`E`的哪个元素？到那时，这个元素算出来了吗？",
    ),
    "lanes_sum": Text(
        "Each lane begins with 0 and adds every fourth column. Only the order of the sum is another.",
        "每个通道都从0开始，每四列加一个数。不同的只是求和的次序。",
    ),
    "interchange": Text(
        "An element needs the one above it, in the same column. In the new order, has that been computed?",
        "一个元素需要同一列中它上方的那个元素。按新的次序，那个元素算好了吗？",
    ),
    "lanes_max": Text("What does a lane hold that has seen only negative numbers?", "只遇到过负数的通道，里面是什么？"),
    "stage_previous": Text(
        "Follow the first column of a tile: which element of E does it read, and who has made that by then? "
        "Tiles run one after the other.",
        "请看一块的第一列：它读`E`的哪个元素？到那时，这个元素算出来了吗？各块是依次运行的。",
    ),
    "overlap_sum": Text(
        "The last tile begins earlier. What happens to the columns that it shares with the one before?",
        "最后一块提前开始。它与前一块共有的那几列会怎样？",
    ),
}
OTHER_RULE = Text(
    "This program is wrong indeed, but it breaks another of the three rules.",
    "这个程序确实是错的，但它违反的是另一条规则。",
)


def check(trial: Trial) -> None:
    got = trial.call("verdicts")
    trial.expect(
        got.keys() == RULES.keys() and {*got.values()} <= {*VERDICTS},
        Text(
            f"Return one of {', '.join(VERDICTS)} for each of {', '.join(RULES)}.",
            f"应为{'、'.join(RULES)}各返回{'、'.join(VERDICTS)}之一。",
        ),
    )
    for name, rule in RULES.items():
        message = Text(f"The verdict on {name}, {got[name]!r}, is wrong.", f"对{name}的判断{got[name]!r}不对。")
        trial.expect(got[name] == rule, message, WHY[name] if "sound" in (rule, got[name]) else OTHER_RULE)
    for name, rule in RULES.items():
        for _ in range(6 if rule != "sound" else 0):
            rows = trial.random.randint(2, 5)
            columns = 4 * trial.random.randint(1, 4) + trial.random.randint(1, 3)
            _check_witness(trial, name, rows, columns, trial.random.randrange(rows))


def _check_witness(trial: Trial, name: str, rows: int, columns: int, row: int) -> None:
    got = trial.call("witness", name, rows, columns, row=row)
    trial.expect(
        [len(line) for line in got] == [columns] * rows,
        Text(f"Return {rows} lists of {columns} numbers.", f"应返回{rows}个列表，每个含{columns}个数。"),
    )
    trial.expect(
        all(abs(x) <= 8 and 8 * x % 1 == 0 for line in got for x in line),
        Text(
            "The numbers must be multiples of 1/8 from -8 to 8, so that sums are exact.",
            "所用的数必须是-8与8之间、1/8的整数倍，这样求和才没有误差。",
        ),
    )
    before, after = (_run(parse(STARTER[kind][name]), got) for kind in ("BEFORE", "AFTER"))
    trial.picture(_picture(before, after))
    differ = [i for i in range(rows) if any(not np.array_equal(before[b][i], after[b][i]) for b in before)]
    trial.expect(
        row in differ,
        Text(
            f"BEFORE and AFTER give the same in row {row}: this input does not show that {name} is wrong.",
            f"`BEFORE`和`AFTER`在第{row}行的结果相同：这个输入显不出{name}的错误。",
        ),
        WHY[name],
    )
    others = ", ".join(str(i) for i in differ if i != row)
    trial.expect(
        not others,
        Text(
            f"BEFORE and AFTER differ in other rows as well: {others}.",
            f"`BEFORE`和`AFTER`在别的行也不同：第{others}行。",
        ),
        Text(
            "Only one row is to show the fault. What must the others hold so that it does no harm there?",
            "只让一行显出错误。其余各行应当放什么数，错误才不起作用？",
        ),
    )


def _run(program: PrimFunc, rows: list[list[float]]) -> dict[str, np.ndarray]:
    """What the program leaves in its buffers other than X."""
    x = np.array(rows, np.float32)
    arrays = {buffer.name: np.zeros(x.shape[: len(buffer.shape)], np.float32) for buffer in program.buffers}
    interpret(program, arrays | {"X": x})
    return {name: array for name, array in arrays.items() if name != "X"}


def _picture(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> Text:
    """The last buffer, row by row, of both programs."""
    name = list(before)[-1]
    lines = [
        f"{i:>3}  " + "  |  ".join(" ".join(f"{x:g}" for x in np.atleast_1d(each[name][i])) for each in (before, after))
        for i in range(len(before[name]))
    ]
    return Text(*("\n".join([f"{row}  {name} BEFORE  |  {name} AFTER", *lines]) for row in ("row", "行")))
