"""The tensor program level: blocks, the loops around them, and the expressions inside; `tir.For`, `tir.Load`, ..."""

from sysai.compiler.tir.expr import *  # noqa: F403
from sysai.compiler.tir.statement import *  # noqa: F403
