"""Gates on the FLOPs of every module, of plain stacks and of random Transformers, dense and mixtures."""

import dataclasses

import torch
from sysai.core.language import Text
from sysai.exercises.configs import random_config
from sysai.exercises.trial import Trial
from sysai.models.config import ModelConfig
from sysai.models.transformer import Transformer
from torch import nn

PRELOAD = ("torch", "torch._dynamo")  # which a dispatch mode imports
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
    _check(trial, nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 7)), torch.ones(2, 4, 3), {"0": 240, "2": 560})
    for _ in range(4):
        batch, length, width, hidden = (trial.random.randint(2, 9) for _ in range(4))
        twice = nn.Linear(width, width, bias=False)
        inner = nn.Sequential(nn.Linear(width, hidden), nn.Linear(hidden, width))
        per_weight = 2 * batch * length
        flops = {"0": per_weight * 2 * width**2} | dict.fromkeys(("2.0", "2.1"), per_weight * width * hidden)
        _check(trial, nn.Sequential(twice, nn.Tanh(), inner, twice), torch.ones(batch, length, width), flops)
    for i in range(6):
        config = random_config(trial.random, width=32, mixture=i % 2 == 1)
        config = dataclasses.replace(config, bias=i == 2)
        _check_transformer(trial, config, trial.random.randint(2, 4), trial.random.randint(3, 12))


def _check_transformer(trial: Trial, config: ModelConfig, batch: int, length: int) -> None:
    """A Transformer on random tokens."""
    torch.manual_seed(trial.random.randrange(2**31))
    tokens_BT = torch.randint(config.vocab_size, (batch, length))
    _check(trial, Transformer(config).eval(), tokens_BT, _transformer_flops(config, batch, length))


def _check(trial: Trial, model: nn.Module, inputs: torch.Tensor, flops: dict[str, int]) -> None:
    got = trial.call("flops_by_module", model, inputs)
    trial.picture(_table(flops, got))
    for name in flops | got:
        what = Text(f"Module {name!r}", f"模块{name!r}")
        trial.expect_equal(got.get(name, 0), flops.get(name, 0), unit=FLOPS, what=what)


def _table(flops: dict[str, int], got: dict[str, int]) -> Text:
    """Expected and got, a line a module."""
    rows = [(name, flops.get(name, 0), got.get(name, 0)) for name in flops | got]
    lines = [f"{name!r:<28}{a:>12,}{b:>12,}{'  <--' if a != b else ''}" for name, a, b in rows]
    table = "\n".join(lines)
    return Text(f"{'module':<28}{'expected':>12}{'got':>12}\n{table}", f"{'模块':<26}{'应得':>10}{'实得':>10}\n{table}")


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
