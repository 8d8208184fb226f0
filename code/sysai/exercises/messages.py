"""The sentences of reports, in both languages: a function for each failure, which its docstring describes."""

from sysai.core.language import Text
from sysai.exercises.failure import Failed, both

LABELS: dict[str, Text] = {
    "call": Text("call", "调用"),
    "expected": Text("expected", "应得"),
    "got": Text("got", "实得"),
    "returned": Text("returned", "返回"),
    "hint": Text("hint", "提示"),
    "error": Text("error", "错误"),
    "where": Text("where", "位置"),
    "printed": Text("printed", "打印"),
    "picture": Text("picture", "图示"),
}

VERDICTS: dict[str, Text] = {
    "passed": Text("passed", "通过"),
    "failed": Text("not passed", "未通过"),
    "not started": Text("not started", "未开始"),
}


def not_started(id: str) -> Text:
    """There is no answer.py."""
    return Text(f"There is no answer yet. Begin with: sysai start {id}", f"还没有答案。请先运行：sysai start {id}")


def too_slow(seconds: float) -> Text:
    """A call that did not return in time."""
    return Text(
        f"Your code was still running after {seconds:g} s, so it was ended. Look for a loop that never ends.",
        f"代码运行了{seconds:g}秒仍未结束，已被终止。请检查是否有不会结束的循环。",
    )


def too_much_memory(limit: int) -> Text:
    """More memory than allowed, as the grader measures it."""
    return Text(
        f"Your code took more than {_bytes(limit)} of memory, so it was ended.",
        f"代码占用的内存超过了{_bytes(limit)}，已被终止。",
    )


def no_memory(limit: int) -> Text:
    """A MemoryError within the answer's process."""
    return Text(
        f"Your code asked for more memory than an answer may use ({_bytes(limit)}).",
        f"代码申请的内存超过了允许的上限（{_bytes(limit)}）。",
    )


def killed() -> Text:
    """A SIGKILL from outside: on Linux almost always a lack of memory."""
    return Text(
        "The system ended your code. The usual cause is that memory ran out.",
        "代码被操作系统终止，通常是因为内存耗尽。",
    )


def too_much_printed(limit: int) -> Text:
    """More printed output than allowed."""
    return Text(
        f"Your code printed more than {_bytes(limit)}, so it was ended. Is there a print in a loop?",
        f"代码打印的内容超过了{_bytes(limit)}，已被终止。循环里是不是有print？",
    )


def too_many_processes(limit: int) -> Text:
    """More processes at once than allowed."""
    return Text(
        f"Your code started more than {limit} processes, so they were ended.",
        f"代码启动的进程超过了{limit}个，已被终止。",
    )


def left_behind(count: int) -> Text:
    """Processes that outlived the check."""
    return Text(
        f"Your code left {count} {'process' if count == 1 else 'processes'} running; ended now. Wait for "
        "every process that you start.",
        f"代码结束后还有{count}个由它启动的进程在运行，已被终止。每启动一个进程，都要等它结束。",
    )


def crashed(signal: str) -> Text:
    """A process that a signal ended."""
    return Text(
        f"Python itself crashed while it ran your code ({signal}). Recursion without an end can cause this.",
        f"运行代码时Python本身崩溃了（{signal}）。没有尽头的递归会造成这种情况。",
    )


def ended(code: int | None) -> Text:
    """A process that ended by itself, without a result."""
    shown = Text(f" (exit code {code})", f"（退出码{code}）") if code is not None else both("")
    return Text(
        f"Your code ended Python{shown['en']} before it returned a result. Remove calls of exit() and the like.",
        f"代码还没有返回结果就结束了Python{shown['zh']}。请去掉exit()之类的调用。",
    )


def garbled() -> Text:
    """Bytes that do not follow the protocol."""
    return Text(
        "Something other than your function's result arrived. Does your code write to files or pipes that it "
        "did not open, or start copies of its process?",
        "收到的不是函数的返回值。代码是否写入了不是由它打开的文件或管道，或者复制了自身的进程？",
    )


def grader_process_killed() -> Text:
    """An answer that ended the zygote."""
    return Text("Your code ended a process that it had not started.", "代码结束了一个不是它启动的进程。")


def files_changed(names: list[str], aside: str) -> Text:
    """Exercise files that were written to; they have been restored."""
    more = len(names) > 3
    shown = Text(", ".join(names[:3]) + " …" * more, "、".join(names[:3]) + "等" * more)
    return Text(
        f"Files of the exercise changed while your code ran: {shown['en']}. They have been put back as they "
        f"were; the changed versions are in {aside}.",
        f"代码运行期间，练习的文件被改动：{shown['zh']}。这些文件已恢复原状，改动后的版本保存在{aside}。",
    )


def check_failed() -> Text:
    """An exception of the check's own."""
    return Text(
        "The check cannot judge what your function returned. Compare it with the types that the starter states; "
        "if it has them, the book is at fault: please report it.",
        "检查程序无法判断函数的返回值。请对照起始代码所写的类型；若类型没有错，就是本书的问题，请告诉我们。",
    )


def missing_function(name: str) -> Text:
    """The answer lacks what the starter has."""
    return Text(
        f"There is no function {name}() in your answer. Keep the names of the starter.",
        f"答案里没有函数{name}()。请保留起始代码中的函数名。",
    )


def not_implemented(name: str | None) -> Text:
    """NotImplementedError, as the starter raises it."""
    subject = Text(f"{name}() is", f"{name}()") if name else Text("A part is", "有一部分")
    return Text(
        f"{subject['en']} not written yet: it still raises NotImplementedError.",
        f"{subject['zh']}还没有写：它仍在抛出NotImplementedError。",
    )


def unsendable(type: str, where: str, why: str) -> Failed:
    """A result that is no plain data, or too much of it."""
    at = Text(f" at {where}" if where else "", f"（位于{where}）" if where else "")
    if why != "type":
        text = {
            "size": Text("is too large", "太大"),
            "depth": Text("is nested too deeply", "嵌套太深"),
        }[why]
        message = Text(
            f"Your function's result {text['en']}{at['en']}: {type}.", f"函数的返回值{text['zh']}{at['zh']}：{type}。"
        )
        return Failed("too_large", message)
    return Failed(
        "wrong_type",
        Text(
            f"Your function returned an object of a type that is not expected{at['en']}.",
            f"函数返回值的类型不对{at['zh']}。",
        ),
        expected=Text(
            "plain data: numbers, text, lists, tuples, dicts, tensors", "普通数据：数、字符串、列表、元组、字典、张量"
        ),
        got=both(type),
    )


def raised(
    kind: str, ancestors: list[str], message: str, frames: tuple[tuple[int, str], ...], memory_limit: int
) -> Failed:
    """An exception of the answer's."""
    error = f"{kind}: {message}" if message else kind
    function = frames[-1][1] if frames else None
    if kind == "MissingFunction":
        return Failed("missing_function", missing_function(message))
    if kind == "NotImplementedError":
        return Failed("not_implemented", not_implemented(function), frames=frames)
    if "MemoryError" in ancestors:
        return Failed("memory", no_memory(memory_limit), error=error, frames=frames)
    if "SyntaxError" in ancestors:
        text = Text("Python cannot read your answer.", "Python读不懂这份答案。")
        return Failed("syntax_error", text, error=error, frames=frames)
    if "ImportError" in ancestors:
        return Failed("import_error", _import_failed(), error=error, frames=frames)
    if "SystemExit" in ancestors:
        text = Text("Your code called exit() instead of returning a result.", "代码调用了exit()，没有返回结果。")
        return Failed("ended", text, frames=frames)
    text = Text("Your code raised an exception.", "代码抛出了异常。")
    return Failed("exception", text, error=error, frames=frames)


def _import_failed() -> Text:
    return Text(
        "An import of your answer failed. It may use Python's standard library, sysai and what sysai needs "
        "(torch, numpy); check the spelling.",
        "答案中有一处import失败。可以使用Python标准库、sysai以及它所依赖的软件包（torch、numpy），请检查拼写。",
    )


def _bytes(count: int) -> str:
    for scale, unit in ((2**30, "GiB"), (2**20, "MiB")):
        if count >= scale:
            return f"{count / scale:g} {unit}"
    return f"{count:,} B"
