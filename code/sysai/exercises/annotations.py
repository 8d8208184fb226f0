"""The types that a starter annotates its functions' results with, and where a value departs from them."""

import ast

from sysai.core.language import Text
from sysai.exercises.compare import wrong_type
from sysai.exercises.failure import Failed, both
from sysai.exercises.show import show

_TYPES = {kind.__name__: kind for kind in (bool, int, float, str, list, tuple, dict)}


def returned_types(starter: str | bytes) -> dict[str, ast.expr]:
    """The annotation of what each function at the top level of `starter` returns; names given to types filled in."""
    statements = ast.parse(starter).body
    aliases = {
        statement.targets[0].id: statement.value
        for statement in statements
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }

    class Fill(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return self.visit(aliases[node.id]) if node.id in aliases else node

    functions = (s for s in statements if isinstance(s, ast.FunctionDef) and s.returns)
    return {function.name: Fill().visit(function.returns) for function in functions}


def misfit(value: object, wanted: ast.expr, where: str = "") -> Failed | None:
    """How `value` is not what the annotation says, if it is not; a name that is not of plain data fits anything."""
    if isinstance(wanted, ast.BinOp):  # A | B
        faults = [misfit(value, side, where) for side in (wanted.left, wanted.right)]
        return None if None in faults else faults[0]
    if isinstance(wanted, ast.Constant) and wanted.value is None:
        return None if value is None else wrong_type(value, (type(None),), where)
    name = wanted.value.id if isinstance(wanted, ast.Subscript) else getattr(wanted, "id", "")
    if name == "Tensor" != type(value).__name__:
        import torch

        return wrong_type(value, (torch.Tensor,), where)
    if name not in _TYPES:
        return None
    kind = _TYPES[name]
    if type(value) is not kind and not (kind is float and type(value) is int):
        return wrong_type(value, (kind,), where)
    return _misfit_inside(value, wanted, where) if isinstance(wanted, ast.Subscript) else None


def _misfit_inside(value, wanted: ast.Subscript, where: str) -> Failed | None:
    parts = wanted.slice.elts if isinstance(wanted.slice, ast.Tuple) else [wanted.slice]
    if type(value) is dict:
        members = [
            (part, kind, f"{where}[{key!r}]")
            for key in value
            for part, kind in zip((key, value[key]), parts, strict=True)
        ]
    else:
        if type(value) is list or (isinstance(parts[-1], ast.Constant) and parts[-1].value is ...):
            parts = [parts[0]] * len(value)
        if len(parts) != len(value):
            at = Text(f" at {where}" if where else "", f"（位于{where}）" if where else "")
            message = Text(f"The tuple has the wrong length{at['en']}.", f"元组的长度不对{at['zh']}。")
            return Failed("wrong_type", message, both(ast.unparse(wanted)), both(show(value)))
        members = [(value[i], part, f"{where}[{i}]") for i, part in enumerate(parts)]
    return next(filter(None, (misfit(*member) for member in members)), None)
