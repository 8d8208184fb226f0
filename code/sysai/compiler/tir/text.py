"""Tensor programs as text in Python's syntax: `print_function` writes it, `parse` reads it.

    def matmul(M: size, A: float32[M, 64], B: float32[64, 32], C: float32[M, 32]):
        for i in parallel(M):
            for j in vectorized(32):
                for k in range(64):
                    with block("C"):
                        vi = spatial(M, i)
                        vj = spatial(32, j)
                        vk = reduce(64, k)
                        C[vi, vj] = init(float32(0.0))
                        C[vi, vj] += A[vi, vk] * B[vk, vj]

A block's predicate is `where(condition)`; a buffer inside is `with allocate(float32[8, 8], "local") as T:`; the
reductions that have no operator of assignment are `C[vi] = combine(max, A[vi, vk])`. A Seq inside a Seq is printed as
part of it. TVM's TVMScript, which this resembles, is parsed from Python as well.

Python's own parser (`ast`) does half of the work of reading. Names are looked up as they are defined: a program that
parses uses no variable and no buffer outside its scope; `verify.py` says whether it is sound in the rest.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence

from sysai.compiler import tir
from sysai.compiler.errors import ParseError

ASSIGNMENTS = {"add": "+=", "mul": "*="}
"""Combiners that Python has an assignment for."""
WIDTH = 120
INDENT = "    "
_OPERATORS = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "floordiv", ast.Mod: "mod",
    ast.Lt: "lt", ast.LtE: "le", ast.Gt: "lt", ast.GtE: "le", ast.Eq: "eq", ast.NotEq: "ne",
    ast.And: "and", ast.Or: "or",
}  # fmt: skip


def print_function(function: tir.PrimFunc) -> str:
    """The text of a function; every line ends with a newline."""
    parameters = [f"{size.name}: size" for size in function.sizes]
    parameters += [f"{buffer.name}: {_type(buffer)}" for buffer in function.buffers]
    head = f"def {function.name}({', '.join(parameters)}):"
    if len(head) > WIDTH:
        head = f"def {function.name}(\n" + "".join(f"{INDENT}{parameter},\n" for parameter in parameters) + "):"
    return "\n".join([head, *(INDENT + line for line in _lines(function.body))]) + "\n"


def _lines(stmt: tir.Stmt) -> Iterator[str]:
    match stmt:
        case tir.Seq(stmts):
            yield from [line for child in stmts if child != tir.Seq(()) for line in _lines(child)] or ["pass"]
            return
        case tir.For(var, extent, body, kind):
            head = f"for {var.name} in {'range' if kind == tir.SERIAL else kind}({extent}):"
        case tir.If(condition, body):
            head = f"if {condition}:"
        case tir.Allocate(buffer, body):
            head = f'with allocate({_type(buffer)}, "{buffer.scope}") as {buffer.name}:'
        case tir.Block():
            head = f'with block("{stmt.name}"):'
    yield head
    yield from (INDENT + line for line in (_block(stmt) if isinstance(stmt, tir.Block) else _lines(body)))


def _block(block: tir.Block) -> Iterator[str]:
    for axis in block.axes:
        yield f"{axis.var} = {axis.kind}({axis.extent}, {axis.binding})"
    if block.predicate != tir.TRUE:
        yield f"where({block.predicate})"
    if block.init is not None:
        yield f"{block.target} = init({block.init})"
    if block.combine in ASSIGNMENTS:
        yield f"{block.target} {ASSIGNMENTS[block.combine]} {block.value}"
    else:
        yield f"{block.target} = " + (f"combine({block.combine}, {block.value})" if block.combine else str(block.value))


def _type(buffer: tir.Buffer) -> str:
    return f"{buffer.dtype}[{', '.join(map(str, buffer.shape)) or '()'}]"


def parse(text: str) -> tir.PrimFunc:
    """The function that the text defines.

    Raises:
        ParseError: it is not the printer's syntax, a name is not defined where it is used, or operands' dtypes differ.
    """
    try:
        module = ast.parse(text)
    except SyntaxError as error:
        raise ParseError(f"line {error.lineno}: {error.msg}") from None
    match module.body:
        case [ast.FunctionDef(decorator_list=[], returns=None) as definition]:
            return _Parser({}).function(definition)
    raise ParseError("line 1: a program is one function: def name(N: size, A: float32[N]): ...")


def parse_expr(node: ast.expr, names: Mapping[str, tir.Var]) -> tir.Expr:
    """The expression that a node of Python's syntax tree is, over these variables; errors as for `parse`."""
    return _Parser(names).expr(node)


class _Parser:
    """Reads a function or a part of it, with the variables and buffers by name that are in scope there."""

    def __init__(self, names: Mapping[str, tir.Var | tir.Buffer]):
        self.names = dict(names)

    def function(self, node: ast.FunctionDef) -> tir.PrimFunc:
        arguments = node.args
        if arguments.posonlyargs or arguments.kwonlyargs or arguments.vararg or arguments.kwarg or arguments.defaults:
            raise _error(node, "parameters are plain names, without defaults and stars")
        sizes, buffers = [], []
        for argument in arguments.args:
            match argument.annotation:
                case ast.Name("size"):
                    sizes.append(self.define(argument, tir.Var(argument.arg)))
                case None:
                    raise _error(argument, f"say what {argument.arg} is: `size`, or a buffer as in float32[N, 4]")
                case annotation:
                    buffers.append(self.define(argument, self.buffer(annotation, argument.arg, "global")))
        return tir.PrimFunc(node.name, tuple(sizes), tuple(buffers), self.body(node.body))

    def define(self, node: ast.AST, thing: tir.Var | tir.Buffer) -> tir.Var | tir.Buffer:
        if thing.name in self.names:
            raise _error(node, f"{thing.name} is already defined here: rename one of the two")
        self.names[thing.name] = thing
        return thing

    def buffer(self, node: ast.expr, name: str, scope: str) -> tir.Buffer:
        match node:
            case ast.Subscript(ast.Name(dtype), shape) if dtype in tir.DTYPES:
                return tir.Buffer(name, self.several(shape), dtype, scope)
        raise _error(node, f"not the type of a buffer: {ast.unparse(node)}; write dtype and shape, as float32[N, 4]")

    def body(self, nodes: Sequence[ast.stmt]) -> tir.Stmt:
        stmts = tuple(_Parser(self.names).statement(node) for node in nodes if not isinstance(node, ast.Pass))
        return stmts[0] if len(stmts) == 1 else tir.Seq(stmts)

    def statement(self, node: ast.stmt) -> tir.Stmt:
        match node:
            case ast.For(ast.Name(name), ast.Call(ast.Name(kind), [extent], []), body, []):
                if kind != "range" and kind not in tir.LOOP_KINDS[1:]:
                    raise _error(node, f"no loop {kind}: use range, {', '.join(tir.LOOP_KINDS[1:])}")
                extent = self.index(extent)
                var = self.define(node, tir.Var(name))
                return tir.For(var, extent, self.body(body), tir.SERIAL if kind == "range" else kind)
            case ast.If(condition, body, []):
                return tir.If(self.condition(condition), self.body(body))
            case ast.With([ast.withitem(ast.Call(ast.Name("block"), [ast.Constant(str(name))], []), None)], body):
                return self.block(node, name, body)
            case ast.With([ast.withitem(ast.Call(ast.Name("allocate"), [kind, scope], []), ast.Name(name))], body):
                if not isinstance(scope, ast.Constant) or scope.value not in tir.SCOPES:
                    raise _error(scope, f"no scope {ast.unparse(scope)}: use one of {', '.join(tir.SCOPES)}")
                buffer = self.define(node, self.buffer(kind, name, scope.value))
                return tir.Allocate(buffer, self.body(body))
        text = ast.unparse(node).splitlines()[0]
        raise _error(node, f"not a statement of a program: {text}; there are for, if, with block and with allocate")

    def block(self, node: ast.With, name: str, body: Sequence[ast.stmt]) -> tir.Block:
        axes: list[tir.Axis] = []
        targets: list[ast.expr] = []
        predicate, init, combine, value = tir.TRUE, None, None, None
        at_loops = _Parser(self.names)  # bindings and the predicate see the loops, not the axes
        for line in body:
            if value is not None:
                raise _error(line, f"block {name} stores one element, on its last line")
            match line:
                case ast.Assign(
                    [ast.Name(axis)], ast.Call(ast.Name("spatial" | "reduce" as kind), [extent, binding], [])
                ):
                    extent, binding = at_loops.index(extent), at_loops.index(binding)
                    var = self.define(line, tir.Var(axis))
                    axes.append(tir.Axis(var, extent, tir.SPATIAL if kind == "spatial" else tir.REDUCE, binding))
                case ast.Expr(ast.Call(ast.Name("where"), [condition], [])):
                    predicate = at_loops.condition(condition)
                case ast.Assign([ast.Subscript() as target], ast.Call(ast.Name("init"), [number], [])):
                    targets.append(target)
                    init = self.expr(number)
                case ast.Assign(
                    [ast.Subscript() as target], ast.Call(ast.Name("combine"), [ast.Name(combine), term], [])
                ):
                    if combine not in tir.COMBINERS:
                        raise _error(line, f"no combiner {combine}: use one of {', '.join(tir.COMBINERS)}")
                    targets.append(target)
                    value = self.expr(term)
                case ast.Assign([ast.Subscript() as target], term):
                    targets.append(target)
                    value = self.expr(term)
                case ast.AugAssign(ast.Subscript() as target, ast.Add() | ast.Mult() as operator, term):
                    targets.append(target)
                    combine, value = _OPERATORS[type(operator)], self.expr(term)
                case _:
                    raise _error(line, f"not a line of a block: {ast.unparse(line)}")
        if value is None:
            raise _error(node, f"block {name} stores nothing")
        element = self.expr(targets[-1])
        if self.expr(targets[0]) != element:
            raise _error(body[-1], f"block {name} initializes another element than it updates")
        return tir.Block(name, tuple(axes), element.buffer, element.indices, value, init, combine, predicate)

    def index(self, node: ast.expr) -> tir.Expr:
        return self.typed(node, tir.INDEX, "an index")

    def condition(self, node: ast.expr) -> tir.Expr:
        return self.typed(node, "bool", "a condition")

    def typed(self, node: ast.expr, dtype: str, role: str) -> tir.Expr:
        expr = self.expr(node)
        if expr.dtype != dtype:
            raise _error(node, f"{ast.unparse(node)} is {expr.dtype}, but {role} is {dtype}")
        return expr

    def several(self, node: ast.expr) -> tuple[tir.Expr, ...]:
        return tuple(map(self.index, node.elts if isinstance(node, ast.Tuple) else [node]))

    def expr(self, node: ast.expr) -> tir.Expr:
        match node:
            case ast.Constant(bool(value)):
                return tir.Const(value, "bool")
            case ast.Constant(int(value)):
                return tir.Const(value, tir.INDEX)
            case ast.UnaryOp(ast.USub(), ast.Constant(int(value))):
                return tir.Const(-value, tir.INDEX)
            case ast.Name(name):
                if isinstance(self.names.get(name), tir.Var):
                    return self.names[name]
                raise _error(node, f"no variable {name} here")
            case ast.Subscript(ast.Name(name), indices):
                return self.load(node, name, self.several(indices))
            case ast.BinOp(a, operator, b) if type(operator) in _OPERATORS:
                return self.binary(node, _OPERATORS[type(operator)], a, b)
            case ast.Compare(a, [operator], [b]) if type(operator) in _OPERATORS:
                a, b = (b, a) if isinstance(operator, ast.Gt | ast.GtE) else (a, b)
                return self.binary(node, _OPERATORS[type(operator)], a, b)
            case ast.BoolOp(operator, [first, *others]):
                total = self.condition(first)
                for other in others:
                    total = tir.Binary(_OPERATORS[type(operator)], total, self.condition(other))
                return total
            case ast.Call(ast.Name(name), arguments, []):
                return self.call(node, name, arguments)
        raise _error(node, f"not an expression of a program: {ast.unparse(node)}")

    def load(self, node: ast.expr, name: str, indices: tuple[tir.Expr, ...]) -> tir.Load:
        buffer = self.names.get(name)
        if not isinstance(buffer, tir.Buffer):
            raise _error(node, f"no buffer {name} here")
        if len(indices) != len(buffer.shape):
            raise _error(node, f"{name} has {len(buffer.shape)} dimensions and {len(indices)} indices")
        return tir.Load(buffer, indices)

    def binary(self, node: ast.expr, op: str, a: ast.expr, b: ast.expr) -> tir.Expr:
        left, right = self.expr(a), self.expr(b)
        if left.dtype != right.dtype:
            raise _error(node, f"{left} is {left.dtype} and {right} is {right.dtype}: cast one of them")
        if left.dtype == "bool" and (op in tir.ARITHMETIC or (op in tir.COMPARISONS and op not in ("eq", "ne"))):
            raise _error(node, f"{op} of truth values: use and, or, ==, !=")
        return tir.Binary(op, left, right)

    def call(self, node: ast.Call, name: str, arguments: Sequence[ast.expr]) -> tir.Expr:
        match arguments:
            case [a, b] if name in (*tir.EXTREMES, "within"):
                return self.binary(node, name, a, b)
            case [argument] if name in tir.MATH:
                return tir.Call(name, self.expr(argument))
            case [condition, a, b] if name == "select":
                condition, chosen, other = self.condition(condition), self.expr(a), self.expr(b)
                if chosen.dtype != other.dtype:
                    raise _error(node, f"select gives {chosen.dtype} or {other.dtype}: cast one of them")
                return tir.Select(condition, chosen, other)
            case [ast.Name(dtype), value] if name == "cast" and dtype in tir.DTYPES:
                return tir.Cast(dtype, self.expr(value))
            case [number] if name in tir.DTYPES:
                try:
                    value = ast.literal_eval(number)
                    return tir.Const(float(value) if isinstance(value, str) else value, name)
                except ValueError:
                    raise _error(node, f"{ast.unparse(node)} is not a number: use cast({name}, ...)") from None
        raise _error(node, f"no function {name} of {len(arguments)} arguments")


def _error(node: ast.AST, message: str) -> ParseError:
    return ParseError(f"line {getattr(node, 'lineno', 1)}: {message}")
