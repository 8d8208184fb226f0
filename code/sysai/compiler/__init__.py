"""A compiler for tensor programs: graphs, passes, loop nests, schedules, generated code, and tuning.

    compiled = sysai.compiler.compile(module, (x,), dynamic={0: {0: "B"}})
    y = compiled(x)
    print(compiled.report({"B": 8}))

The package's levels import each other downwards only: `graph` and `passes` work on operators, `lowering` makes tensor
programs (`tir`) of them, `schedule` transforms those, `codegen` prints C or Triton, `runtime` runs what comes out, and
`pipeline` puts them in a row. What a page in the browser shows (`tir`) needs the standard library only, which is why
nothing is imported here.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from sysai.compiler.pipeline import Scheduler
    from sysai.compiler.runtime.compiled import Compiled


def compile(
    module: "nn.Module",
    example_inputs: Sequence[object],
    dynamic: Mapping[str | int, Mapping[int, str]] | None = None,
    *,
    keywords: Mapping[str, object] | None = None,
    fallback: bool = False,
    freeze: bool = False,
    schedule: "Scheduler | None" = None,
) -> "Compiled":
    """Compile a module for inference on this machine's CPU.

    Args:
        module: in evaluation mode.
        example_inputs: positional arguments; those sizes that `dynamic` does not name are fixed to theirs.
        dynamic: names of sizes that may change between calls, by input (position or name) and axis, as in
            `{0: {0: "B", 1: "T"}}`. The same name is the same size.
        keywords: arguments by name.
        fallback: let torch run operators that the compiler lacks, instead of an error.
        freeze: take the module's tensors as constants: weights are packed, and what depends on them alone is computed,
            now. Later changes of the module are not seen: compile it again. By default nothing is computed ahead of
            a call, and each call reads the module's tensors as they are.
        schedule: (lowered function, class of its group) -> its schedule; by default that of `schedule/default.py`.

    Raises:
        UnsupportedOperator: the compiler has no such operator (unless `fallback`).
        ValueError: the module cannot be exported; the message says where and why.
        ToolchainError: there is no C compiler, or it fails.
    """
    from sysai.compiler.pipeline import compile_module

    options = {"keywords": keywords, "fallback": fallback, "freeze": freeze, "schedule": schedule}
    return compile_module(module, example_inputs, dynamic, **options)
