"""Random functions of tensors in torch, as source text, for comparison of a compiler with eager mode.

A function is some ten statements over the inputs and each other's results: arithmetic, reductions and products, views
and changes in place, dtypes that the compiler has and has not, constants, sizes, indices, operators that only torch
has. It returns every value that it made, so that a wrong one is seen where it arose.

Where can a difference be told from rounding? Floating inputs are multiples of 1/4 up to 4. As long as a value is made
of them by operations without rounding (a sum, a product of few bits, a maximum) it is `exact`, also in fused
multiply-adds and in other orders: it must be equal to the last bit, and only such values are compared, converted to
integers or looked at as bits. All others must be near.

    python code/tests/compiler/random_functions.py --seconds 3600 [--seed 0]     prints what fails, cut to its least
"""

import argparse
import math
import random
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from sysai.compiler import backend
from torch import Tensor, nn

ROWS, COLUMNS = 3, 6
SPECIAL = (math.nan, math.inf, -math.inf, -0.0)
_BITS = 20  # of an exact value's magnitude and fraction together; float32 holds 24
_LARGEST = 2.0**10  # of an inexact value

# In a statement, {f} is a float32 or float64 value, {e} an exact one, {z} an exact one whose zeros have the sign that
# IEEE 754 gives them, {r} one of two dimensions, {s} one of the first's dtype, {h} float16 or bfloat16, {i} int64,
# {b} bool, {a} an axis. Two times {f} is the same value twice.
EXACT = (
    "torch.tensor([1.5, 2.0])", "{f} + {s}", "{f} - {s}", "{f} * {s}", "-{f}", "{f}.abs()", "{f} * 2", "{f} - 0.5",
    "1 - {f}", "{f}.clamp(-1, 2)", "{f}.clamp(min=-0.5)", "torch.relu({f})", "torch.maximum({f}, {s})",
    "torch.minimum({f}, {s})", "{f}.sum({a})", "{f}.sum({a}, keepdim=True)", "{f}.amax({a})", "{f}.amin({a})",
    "{f}.sum()", "torch.where({e} > 0, {f}, {s})", "torch.where({e} == {e}, {f}, 1.0)", "{f}.masked_fill({b}, -2.0)",
    "torch.cat([{f}, {s}], {a})", "torch.stack([{f}, {s}])", "torch.nn.functional.pad({f}, (1, 2))", "{f}.flip({a})",
    "{f}.clone()", "{r}.tril(-1)", "{r}.triu()", "{r} + torch.arange({r}.shape[-1])",
    "{r}[None] * torch.ones(2, 1, 1)", "torch.full_like({f}, 1.5)", "{r}.t().contiguous()", "torch.roll({f}, 1, {a})",
    "{f}.repeat_interleave(2, 0)", "{f}.sort({a})[0]", "{f}.cumsum({a})", "{f}.to(torch.float64)", "{f}.float()",
    "{f}.aminmax(dim={a})[1]", "{f}.unfold({a}, 2, 1)", "torch.as_strided({r}, (2, 2), (1, 2)).clone()",
    "torch.as_strided({r}.t(), (2, 3), (2, 1)).clone()", "{f}.nan_to_num(0., 4., -4.)", "torch.diagonal({r})",
    "self.table[{i} % 4]", "torch.nn.functional.embedding({i} % 4, self.table)", "self.weight * 2",
    "torch.index_select(self.table, 0, ({i} % 4).reshape(-1))", "{f} + self.table[0, 0]",
    "torch.outer({f}[0].reshape(-1), self.table[0])", "{i}.to(torch.float32)", "{b}.float()", "{b} * {f}",
    "{f}.reshape(-1)", "{r}.gather(1, torch.ones_like({r}).long())",
)  # fmt: skip
VIEWS = (
    "{f}.view(-1)", "{f}[..., ::2]", "{f}[..., 1:]", "{f}[0]", "{f}[..., -1]", "{f}[None]", "{f}.unsqueeze({a})",
    "{r}.t()", "{f}.transpose(0, -1)", "{f}.expand(2, *{f}.shape)", "{f}.flatten()", "{f}.narrow({a}, 0, 1)",
    "{f}.chunk(2, {a})[-1]", "{f}.detach()", "{f}.view_as({f})", "{f}.contiguous()", "{i}.view(-1)", "{b}[..., 1:]",
)  # fmt: skip
IN_PLACE = (
    "{f}.add_(1)", "{f}.mul_(2)", "{f}.neg_()", "{f}.clamp_(max=1)", "{f}.zero_()", "{f}.copy_({s})",
    "{f}[..., 0] = 2", "{f}[0].fill_(0.5)", "{f}.masked_fill_({b}, 1)", "{i}.add_(3)", "{r}.t().add_(1)",
    "torch.relu_({f})",
)  # fmt: skip
BITS = ("torch.where({e} == {e}, {e} + 0.25, 1.0).view(torch.int32)",)
INTEGERS = (
    "torch.arange(4)", "{i} + 1", "{i} * {i}", "{i} // 2", "{i} % 3", "{i} // -3", "{i}.abs()", "{i}.sum(-1)",
    "{i}.amax(0)", "{i}.to(torch.int32) * 1000003", "{i}.to(torch.uint8) + 200", "{i}.to(torch.int16) * 300",
    "{i} // ({i} % 4 + 1)", "{i} % ({i}.abs() + 1)", "torch.where({i} < 2, {i}, -1)",
    "{e}.nan_to_num(0., 4., -4.).to(torch.int64)", "{i}.clamp(0, 2)", "{i} & 3", "{i} ^ 5",
    "torch.arange({r}.shape[0])", "{i} * {r}.shape[0]", "{i}.argmax(-1)", "{e}.argmax({a})",
    "torch.div({i}, 3, rounding_mode='floor')", "{i}.remainder(-3)", "{i}.fmod(3)", "{b}.to(torch.int64)",
    "{b}.sum(-1)", "{i}.to(torch.int8).to(torch.int64)",
)  # fmt: skip
TRUTHS = (
    "{e}.mul(3e13) - {e}.mul(3e13).amax({a}, keepdim=True) <= 0", "{e} < 1", "{e} >= {e}", "{e} == {e}", "~{b}",
    "{b}.any(-1)", "{b}.all(0)", "{i} > 1", "{e}.isnan()", "{e}.isfinite()", "{b} | {b}", "{b} ^ {b}", "{e} != 0",
    "torch.ones({r}.shape, dtype=torch.bool).tril(-1)",
    "torch.arange({r}.shape[0])[:, None] >= torch.arange({r}.shape[1])", "{b}.logical_not()",
    "{z}.nan_to_num(1.0).signbit()",
)  # fmt: skip
ROUNDING = (
    "torch.tanh({f})", "torch.sigmoid({f})", "torch.nn.functional.gelu({f})", "torch.nn.functional.silu({f})",
    "torch.exp(-{f}.abs())", "torch.rsqrt({f} * {f} + 1)", "{f} / ({s} * {s} + 1)", "torch.erf({f})",
    "torch.sin({f})", "torch.softmax({f}, {a})", "torch.log_softmax({f}, {a})", "{f}.mean({a})",
    "{f}.var({a}, correction=0)", "torch.nn.functional.layer_norm({e}, {e}.shape[-1:])",
    "torch.nn.functional.rms_norm({e}, {e}.shape[-1:])", "{r} @ {r}.t()", "{r} @ self.weight[:{r}.shape[1]]",
    "{e}.mul(-1.7e14).softmax({a})", "{e} * 0.1", "{f}.to(torch.bfloat16)", "{f}.half()",
    "torch.rand_like({f}.contiguous())", "{h} * 2", "{h}.sum(-1)",
    "torch.nn.functional.dropout({f}.contiguous(), 0.5, training=True)",
    "torch.bernoulli(torch.full_like({f}.contiguous(), 0.5)) * {f}",
    "torch.polar(torch.ones_like({f}), torch.tanh({f})).real", "{f}.nan_to_num() * 1e300",
    "torch.var_mean({f}, {a})[0]", "torch.nn.functional.batch_norm({e}[None, None], None, None, training=True)",
    "{f}.logsumexp({a})", "{f}.cumprod({a})",
)  # fmt: skip
RAISING = (
    "self.table[{i}]", "torch.nn.functional.embedding({i}, self.table)", "{i} // ({i} - 1)", "5 % {i}",
    "torch.index_select(self.table, 0, {i}.reshape(-1))",
)  # fmt: skip
SIZES = ("{r}.shape[0] * 2", "{r}.shape[0] + {r}.shape[1]")

KINDS = (  # statements, how often, whether they round
    (EXACT, 10, False), (VIEWS, 4, False), (IN_PLACE, 3, False), (BITS, 1, False), (INTEGERS, 4, False),
    (TRUTHS, 3, False), (ROUNDING, 6, True), (SIZES, 1, False),
)  # fmt: skip
_UNSIGNED = ("max", "min", "sum", "clamp", "sort", "nan_to_num")  # a zero's sign depends on the order there


@dataclass(frozen=True)
class Statement:
    """A line of a function: `name = text`, or a change in place where the name is empty."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name} = {self.text}" if self.name else self.text


@dataclass
class Known:
    """What is known of a value: its example, and whether it and the signs of its zeros are exact."""

    example: Tensor
    exact: bool
    signed: bool


@dataclass(frozen=True)
class Function:
    """Statements over x, y: float32[R, C], i: int64[R, C], b: bool[R, C] and the weights of `Weights`.

    Attributes:
        exact: names of the values that must be equal to the last bit.
    """

    statements: tuple[Statement, ...]
    exact: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        """The values that it returns."""
        return tuple(statement.name for statement in self.statements if statement.name)

    def __str__(self) -> str:
        lines = [*map(str, self.statements), f"return [{', '.join(self.names)}]"]
        return "\n    ".join(("def forward(self, x, y, i, b):", *lines))

    def module(self) -> nn.Module:
        """A module with this forward."""
        scope: dict = {"torch": torch}
        exec(str(self), scope)
        return type("Random", (Weights,), {"forward": scope["forward"]})().eval()


class Weights(nn.Module):
    """The weights of random functions, multiples of 1/4 as the inputs are."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(_quarters((8, 3), generator))
        self.table = nn.Parameter(_quarters((4, 2), generator))


def _quarters(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randint(-16, 17, shape, generator=generator) / 4


def inputs_for(R: int, C: int, seed: int, *, special: bool = False, moved: bool = False, indices: bool = True) -> list:
    """Inputs of a function; `special` puts NaN, infinities and -0 among the floats, `moved` makes them not contiguous.

    With `indices` the integers are rows of the table and no divisor is zero; without, any small numbers.
    """
    generator = torch.Generator().manual_seed(seed)

    def tensor(make: Callable) -> Tensor:
        return make((C, R)).t() if moved else make((R, C))

    def floats(shape: tuple[int, int]) -> Tensor:
        chosen = torch.tensor(SPECIAL)[torch.randint(0, 4, shape, generator=generator)]
        rare = torch.rand(shape, generator=generator) < (0.15 if special else 0.0)
        return torch.where(rare, chosen, _quarters(shape, generator))

    low, high = (2, 4) if indices else (-6, 9)
    return [
        tensor(floats),
        tensor(floats),
        tensor(lambda shape: torch.randint(low, high, shape, generator=generator)),
        tensor(lambda shape: torch.rand(shape, generator=generator) < 0.5),
    ]


def draw(rng: random.Random, length: int = 10) -> Function:
    """A function of about `length` statements, tried on an example as they are drawn."""
    module = Weights()
    x, y, i, b = inputs_for(ROWS, COLUMNS, 1)
    known = {"x": Known(x, True, True), "y": Known(y, True, True), "i": Known(i, True, True), "b": Known(b, True, True)}
    statements: list[Statement] = []
    for _ in range(length):
        templates, _, rounds = rng.choices(KINDS, weights=[often for _, often, _ in KINDS])[0]
        statements += _try(rng, rng.choice(templates), rounds, templates is IN_PLACE, module, known)
    if rng.random() < 0.15:
        text = rng.choice(RAISING).format(i=rng.choice(["i", "i[0]"]))
        statements.append(Statement("raising", text))
    return Function(tuple(statements), frozenset({"raising", *(name for name, v in known.items() if v.exact)}))


def _try(
    rng: random.Random, template: str, rounds: bool, in_place: bool, module: nn.Module, known: dict[str, Known]
) -> list[Statement]:
    """The statement of a template with operands that fit, or none; `known` learns its value."""
    operands: dict[str, object] = {"a": rng.choice((-1, 0, 1))}
    for kind in "ferzshib":
        if f"{{{kind}}}" in template or f"{{{kind}}}." in template or f"{{{kind}}}[" in template:
            like = operands.get("f") or operands.get("e")
            fitting = [name for name, value in known.items() if _fits(kind, value, known.get(like))]
            if not fitting:
                return []
            operands[kind] = rng.choice(fitting + fitting[-4:])
    used = [known[name] for kind, name in operands.items() if kind != "a"]
    text = template.format(**operands)
    scope = {name: value.example for name, value in known.items()} | {"torch": torch, "self": module}
    changed = used[0].example if in_place else None
    before = None if changed is None else changed.clone()
    try:
        with torch.no_grad():
            value = exec(text, scope) if in_place else eval(text, scope)
    except (RuntimeError, IndexError, TypeError, ValueError):
        return []
    name = "" if in_place else f"v{len(known)}"
    if in_place:
        family = [v for v in known.values() if _storage(v.example) == _storage(changed)]
        exact = all(operand.exact for operand in used) and all(_few_bits(v.example) for v in family)
        if not exact and any(v.exact for v in family) and not all(_tame(v.example) for v in family):
            changed.copy_(before)
            return []
        for v in family:
            v.exact, v.signed = v.exact and exact, v.signed and exact and not any(w in text for w in _UNSIGNED)
        return [Statement("", text)]
    if isinstance(value, int):
        return [Statement(f"s{len(known)}_{rng.randrange(1000)}", text)]
    exact = not rounds and all(operand.exact for operand in used) and _few_bits(value)
    if value.numel() > 400 or value.numel() == 0 or value.dim() > 4 or not (exact or _tame(value)):
        return []
    signed = exact and all(operand.signed for operand in used) and not any(word in text for word in _UNSIGNED)
    known[name] = Known(value.detach(), exact, signed)
    return [Statement(name, text)]


def _fits(kind: str, value: Known, like: Known | None) -> bool:
    dtype = value.example.dtype
    match kind:
        case "i" | "b":
            return dtype == (torch.int64 if kind == "i" else torch.bool)
        case "h":
            return dtype in (torch.float16, torch.bfloat16)
    if dtype not in (torch.float32, torch.float64):
        return False
    if kind == "s" and like is not None:
        return dtype == like.example.dtype
    return (kind != "e" or value.exact) and (kind != "z" or value.signed) and (kind != "r" or value.example.dim() == 2)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _few_bits(value: Tensor) -> bool:
    """Whether sums and products of a few such elements are exact in float32."""
    if not value.is_floating_point():
        return not value.is_complex()
    if value.dtype not in (torch.float32, torch.float64):
        return False
    finite = value[value.isfinite()].double()
    scaled = finite * 2.0 ** (_BITS / 2)
    return bool((scaled == scaled.round()).all() and (finite.abs() < 2.0 ** (_BITS / 2)).all())


def _tame(value: Tensor) -> bool:
    finite = value[value.isfinite()]
    return not value.is_floating_point() or bool((finite.abs() <= _LARGEST).all())


CALLS = (  # rows, columns, and what is special of the inputs
    (ROWS, COLUMNS, {}),
    (ROWS, COLUMNS, {"special": True}),
    (5, 4, {"moved": True}),
    (5, 4, {"indices": False}),
)


def fault(function: Function, seed: int = 0) -> str | None:
    """The first difference between the compiled function and eager mode, or None.

    The caller keeps every result, fills it with ones, and changes the weights through `.data` between two calls.
    """
    torch._dynamo.reset()
    backend.statistics.reset()
    module = function.module()
    compiled = torch.compile(module, backend="sysai", dynamic=True)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept: list[Tensor] = []
        for number, (R, C, options) in enumerate(CALLS):
            inputs = inputs_for(R, C, seed + number, **options)
            difference = _difference(function, module, compiled, inputs, seed, kept)
            if difference or not all((result == 1).all() for result in kept):
                difference = difference or "results of an earlier call have changed"
                return f"call {number} of {R} x {C}, {options}: {difference}"
            module.weight.data.neg_()
    return None


def _difference(
    function: Function, module: nn.Module, compiled: Callable, inputs: list[Tensor], seed: int, kept: list[Tensor]
) -> str:
    """How one call differs; fills its results with ones, and adds them to those that are kept."""

    def run(call: Callable) -> tuple[object, list[Tensor]]:
        arguments = [value.clone(memory_format=torch.preserve_format) for value in inputs]
        torch.manual_seed(seed)
        try:
            return call(*arguments), arguments
        except Exception as error:
            return error, arguments

    expected, wanted = run(module)
    got, changed = run(compiled)
    if isinstance(expected, Exception) or isinstance(got, Exception):
        kind = (IndexError, RuntimeError) if isinstance(expected, IndexError | RuntimeError) else type(expected)
        alike = isinstance(got, Exception) and isinstance(got, kind)
        return "" if alike else f"{got!r} where eager mode gives {expected!r}"
    pairs = [*zip(function.names, got, expected, strict=True), *zip("xyib", changed, wanted, strict=True)]
    for name, ours, theirs in pairs:
        try:
            _assert_alike(ours, theirs, name in function.exact)
        except AssertionError as error:
            return f"{name}: {error}\ngot {ours}\nexpected {theirs}"
    held = {_storage(tensor) for tensor in (*changed, *module.parameters())}
    for ours in got:
        if isinstance(ours, Tensor) and _storage(ours) not in held:
            kept.append(ours.fill_(1))
    return ""


def _assert_alike(ours: object, theirs: object, exact: bool) -> None:
    if not isinstance(theirs, Tensor):
        assert ours == theirs
        return
    loose = 4e-2 if theirs.dtype in (torch.float16, torch.bfloat16) else 1e-3
    near = {"rtol": 0.0, "atol": 0.0} if exact else {"rtol": loose, "atol": loose}
    torch.testing.assert_close(ours, theirs, equal_nan=True, check_stride=False, **near)


def least(function: Function, seed: int = 0) -> Function:
    """Leave out statements for as long as the function fails."""
    for statement in reversed(function.statements):
        fewer = replace(function, statements=tuple(s for s in function.statements if s is not statement))
        try:
            fewer.module()(*inputs_for(ROWS, COLUMNS, seed))
        except NameError:
            continue
        except (IndexError, RuntimeError):
            pass
        if fault(fewer, seed):
            function = fewer
    return function


def failures(seeds: Iterable[int], length: int = 10) -> Iterable[tuple[int, Function, str]]:
    """The functions, drawn with these seeds, that differ from eager mode, and how."""
    for seed in seeds:
        function = draw(random.Random(seed), length)
        if function.statements and (difference := fault(function, seed)):
            yield seed, function, difference


def main() -> None:
    """Try functions for a time, and print those that fail."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="the first of the functions' seeds")
    arguments = parser.parse_args()
    end, seed, failed = time.monotonic() + arguments.seconds, arguments.seed, 0
    while time.monotonic() < end:
        for _, function, _ in failures([seed]):
            failed += 1
            function = least(function, seed)
            print(f"seed {seed}\n{function}\n{fault(function, seed)}\n", flush=True)
        seed += 1
    print(f"{seed - arguments.seed} functions, {failed} differ from eager mode")


if __name__ == "__main__":
    main()
