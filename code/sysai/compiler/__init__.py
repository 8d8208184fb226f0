"""A compiler for tensor programs: graphs, passes, loop nests, schedules, generated code, and tuning.

    compiled = sysai.compiler.compile(module, (x,), dynamic={0: {0: "B"}})
    y = compiled(x)
    print(compiled.report({"B": 8}))

The package's levels import each other downwards only: `graph` and `passes` work on operators, `lowering` makes tensor
programs of them, `schedule` transforms those, `codegen` prints C or Triton, and `pipeline` puts them in a row. What a
page in the browser shows (`tir`) needs the standard library only, which is why nothing is imported here.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from sysai.compiler.compiled import Compiled


def compile(
    module: "nn.Module",
    example_inputs: Sequence[object],
    dynamic: Mapping[str | int, Mapping[int, str]] | None = None,
    **options: object,
) -> "Compiled":
    """A callable that computes what `module(*example_inputs)` does, in inference; see `compiled.compile_module`."""
    from sysai.compiler.compiled import compile_module

    return compile_module(module, example_inputs, dynamic, **options)
