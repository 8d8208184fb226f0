"""Gates on bytes, exactly, and on the bound of the speed-up, on random chains whose operands are broadcast."""

from math import prod

from sysai.core.language import Text
from sysai.exercises.pictures import bars
from sysai.exercises.trial import Trial

BYTES = Text("bytes", "字节")
TIMES = Text("times faster", "倍")
OVERWRITTEN = "running"

Shapes = dict[str, tuple[int, int]]
Chain = list[list[str]]


def check(trial: Trial) -> None:
    shapes = {"x": (4096, 1024), "bias": (1, 1024), "residual": (4096, 1024), "gain": (1, 1024), "shift": (1, 1024)}
    chain = [["bias"], [], ["residual"], ["gain", "shift"]]
    _check(trial, shapes, chain, 4, [1, 20, 1, 8], 20e9, 100e9)
    for _ in range(20):
        _check_random(trial)


def _check_random(trial: Trial) -> None:
    random = trial.random
    rows, columns = random.randint(2, 4000), random.randint(2, 4000)
    kinds = [(rows, columns), (1, columns), (rows, 1), (1, 1)]
    shapes = (
        {"x": (rows, columns)} | {f"t{k}": random.choice(kinds) for k in range(4)} | {"unused": (rows + 1, columns)}
    )
    operands = [name for name in shapes if name != "unused"]
    chain = [random.choices(operands, k=random.choice([0, 1, 1, 2])) for _ in range(random.randint(2, 5))]
    chain[random.randrange(1, len(chain))] = ["x", "t0"]  # a residual connection
    chain[0] = ["t1", *chain[0]]
    size, bandwidth = random.choice([1, 2, 4, 8]), random.randint(10, 50)  # GB/s
    flops = [random.randint(1, 30) for _ in chain]
    operations_a_byte = sum(flops) / (size * random.uniform(1.5, 12))  # the fused kernel moves some 2 to 7 elements
    peak = max(1, round(bandwidth * operations_a_byte))
    _check(trial, shapes, chain, size, flops, bandwidth * 1e9, peak * 1e9)


def _check(
    trial: Trial, shapes: Shapes, chain: Chain, size: int, flops: list[int], bandwidth: float, peak: float
) -> None:
    kernels = [_kernel(shapes, ["x" if k == 0 else OVERWRITTEN, *operands], size) for k, operands in enumerate(chain)]
    got = trial.call("eager_bytes", shapes, chain, element_bytes=size)
    trial.picture(_picture(kernels))
    trial.expect_equal(got, sum(kernels), unit=BYTES)
    named = [name for operands in chain for name in operands]
    fused = _kernel(shapes, ["x", *named], size)
    got = trial.call("fused_bytes", shapes, chain, element_bytes=size)
    trial.expect_equal(got, fused, unit=BYTES)
    got = trial.call("speed_up", shapes, chain, element_bytes=size, flops=flops, bandwidth=bandwidth, peak=peak)
    elements = prod(shapes["x"])
    seconds = [max(moved / bandwidth, count * elements / peak) for moved, count in zip(kernels, flops, strict=True)]
    together = max(fused / bandwidth, sum(flops) * elements / peak)
    trial.expect_close(got, sum(seconds) / together, rel=1e-9, unit=TIMES)


def _kernel(shapes: Shapes, read: list[str], size: int) -> int:
    """Bytes of a kernel that reads these, each once, and writes a tensor of the shape of x."""
    sizes = {name: size * prod(shape) for name, shape in shapes.items()}
    return sum(sizes["x" if name == OVERWRITTEN else name] for name in set(read)) + sizes["x"]


def _picture(kernels: list[int]) -> Text:
    return Text(
        *(bars({f"{name}{k}, MB": moved / 1e6 for k, moved in enumerate(kernels)}) for name in ("kernel ", "内核"))
    )
