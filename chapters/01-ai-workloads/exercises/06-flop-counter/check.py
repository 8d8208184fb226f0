"""Gates on the FLOPs of every module, of plain stacks and of random Transformers, dense and mixtures."""

import dataclasses

import torch
from sysai.core.language import Text
from sysai.exercises.configs import random_config
from sysai.exercises.trial import Hint, Trial
from sysai.models.config import ModelConfig
from sysai.models.transformer import Transformer
from torch import nn

PRELOAD = ("torch", "torch._dynamo")  # which a dispatch mode imports
CHILDREN = Text(
    "The products of the modules within are counted here as well. Count each product once, in the innermost "
    "running module.",
    "这里把内部各模块的乘法也算进去了。每次乘法只计一次，记在最内层正在运行的模块上。",
)
FLOPS = Text("FLOPs", "FLOPs")
PUBLISHED = ModelConfig(
    name="a Transformer of 2 layers",
    vocab_size=100,
    d_model=24,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    head_dim=8,
    d_ff=40,
    max_positions=64,
    tie_embeddings=True,
)


def check(trial: Trial) -> None:
    _check_transformer(trial, PUBLISHED, 2, 12)
    _check(trial, nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 7)), [2, 4, 3], {"0": 240, "2": 560})
    for _ in range(4):
        batch, length, width, hidden = (trial.random.randint(2, 9) for _ in range(4))
        twice = nn.Linear(width, width, bias=False)
        model = nn.Sequential(
            twice, nn.Tanh(), nn.Sequential(nn.Linear(width, hidden), nn.Linear(hidden, width)), twice
        )
        tokens = batch * length
        flops = {"0": 4 * tokens * width * width}
        flops |= {"2.0": 2 * tokens * width * hidden, "2.1": 2 * tokens * hidden * width}
        _check(trial, model, [batch, length, width], flops)
    for i in range(6):
        config = random_config(trial.random, width=32, mixture=i % 2 == 1)
        config = dataclasses.replace(config, bias=i == 2)
        _check_transformer(trial, config, trial.random.randint(2, 4), trial.random.randint(3, 12))


def _check_transformer(trial: Trial, config: ModelConfig, batch: int, length: int) -> None:
    """A Transformer on random tokens."""
    torch.manual_seed(trial.random.randrange(2**31))
    tokens_BT = torch.randint(config.vocab_size, (batch, length))
    _compare(trial, Transformer(config).eval(), tokens_BT, _transformer_flops(config, batch, length), batch)


def _check(trial: Trial, model: nn.Module, shape: list[int], flops: dict[str, int]) -> None:
    _compare(trial, model, torch.randn(shape, generator=trial.torch_generator()), flops, shape[0])


def _transformer_flops(config: ModelConfig, batch: int, length: int) -> dict[str, int]:
    """By module, in the order in which they run."""
    D, width, kv_width = config.d_model, config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    per_weight, moe, flops = 2 * batch * length, config.moe, {}
    for i in range(config.n_layers):
        layer = f"blocks.{i}"
        flops[f"{layer}.attention.query"] = per_weight * D * width
        flops[f"{layer}.attention.key"] = flops[f"{layer}.attention.value"] = per_weight * D * kv_width
        flops[f"{layer}.attention"] = 2 * per_weight * length * width
        flops[f"{layer}.attention.output"] = per_weight * width * D
        dense, hidden = f"{layer}.mlp", config.d_ff
        if moe:
            flops[f"{layer}.mlp.router"] = per_weight * D * moe.n_experts
            flops[f"{layer}.mlp"] = per_weight * moe.top_k * 3 * D * moe.d_expert
            dense, hidden = f"{layer}.mlp.shared", moe.n_shared * moe.d_expert
        if hidden:
            for matrix in ("gate", "up", "down"):
                flops[f"{dense}.{matrix}"] = per_weight * D * hidden
    flops[""] = per_weight * D * config.vocab_size
    return flops


def _compare(trial: Trial, model: nn.Module, inputs: torch.Tensor, flops: dict[str, int], batch: int) -> None:
    got = trial.call("flops_by_module", model, inputs)
    trial.expect(
        isinstance(got, dict) and all(isinstance(name, str) for name in got),
        Text("Return a dict from names of modules to FLOPs.", "应返回字典，键是模块的名字，值是FLOPs。"),
    )
    if got != flops:
        trial.picture(_table(flops, got))
    if surplus := next((name for name in got if name not in flops and got[name]), None):
        inside = sum(count for name, count in flops.items() if name.startswith(f"{surplus}."))
        message = Text(
            f"Module {surplus!r} runs no product of its own, and yours has {got[surplus]} FLOPs for it.",
            f"模块{surplus!r}自身不做乘法，而你记了{got[surplus]} FLOPs。",
        )
        trial.expect(False, message, hint=CHILDREN if got[surplus] == inside else None)
    for name, expected in flops.items():
        what = Text(f"Module {name!r}", f"模块{name!r}")
        inside = sum(count for other, count in flops.items() if other.startswith(f"{name}." if name else "") and other)
        trial.expect_equal(
            got.get(name, 0), expected, unit=FLOPS, what=what, hints=_hints(name, expected, inside, batch, model)
        )


def _hints(name: str, expected: int, inside: int, batch: int, model: nn.Module) -> list[Hint]:
    groups = model.config.n_kv_heads if isinstance(model, Transformer) else 1
    hints = [
        Hint(
            expected // 2,
            Text(
                "Half of what it should be. A multiplication and an addition are two operations: 2 m k n. Or: a module "
                "that runs two products, of which you kept one.",
                "结果只有应得的一半。一次乘法加一次加法是两次运算：2mkn。也可能是：这个模块做了两次乘法，你只留下一次。",
            ),
        ),
        Hint(
            lambda got: got in (expected // batch, expected // (batch * groups)),
            Text(
                "The batch is missing: a batched product runs once for each sequence, and attention's once for each "
                "sequence and key-value head.",
                "漏了批：成批的乘法，每条序列都要做一次；注意力的乘法，则是每条序列的每个键值头各做一次。",
            ),
        ),
        Hint(expected + inside, CHILDREN),
    ]
    if not isinstance(model.get_submodule(name), nn.Linear):
        hints.append(
            Hint(
                0,
                Text(
                    "Not seen at all. This product is no nn.Linear: the module calls F.linear or @ in its own code. "
                    "A TorchDispatchMode sees it, a hook on nn.Linear does not.",
                    "完全没有看到。这次乘法不是nn.Linear：模块在自己的代码里调用了F.linear或@；"
                    "TorchDispatchMode看得见，nn.Linear上的钩子看不见。",
                ),
            )
        )
    return hints


def _table(flops: dict[str, int], got: dict[str, object]) -> Text:
    """Expected and got, a line a module."""
    lines = []
    for name, expected in flops.items():
        mark = "" if got.get(name) == expected else "  <--"
        lines.append(f"{name or repr(''):<26}{expected:>12,}{_number(got.get(name)):>12}{mark}")
    table = "\n".join(lines)
    return Text(f"{'module':<26}{'expected':>12}{'got':>12}\n{table}", f"{'模块':<24}{'应得':>10}{'实得':>10}\n{table}")


def _number(value: object) -> str:
    return f"{value:,}" if type(value) is int else "-"
