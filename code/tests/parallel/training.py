"""One training run, made by a single process or by ranks with any of the techniques."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from sysai.models.config import ModelConfig
from sysai.models.transformer import Transformer
from sysai.parallel.data_parallel import DistributedDataParallel
from sysai.parallel.fsdp import FullyShardedDataParallel
from sysai.parallel.zero import ZeroOptimizer
from torch import Tensor, nn
from torch.nn import functional as F

BATCH = 24  # a multiple of every world size and number of micro-batches
TECHNIQUES = ("data parallel", "zero 1", "zero 2", "fsdp")
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
}
TINY = ModelConfig(
    name="tiny", vocab_size=23, d_model=12, n_layers=3, n_heads=3, n_kv_heads=1, head_dim=4, d_ff=17,
    max_positions=16, tie_embeddings=True,
)  # fmt: skip


class UnevenMLP(nn.Module):
    """Layers whose sizes no world size divides, one of them used twice by a second name."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(7, 13), nn.Linear(13, 11), nn.Linear(11, 13), nn.Linear(13, 5)])
        self.blocks[2].weight = nn.Parameter(torch.randn(13, 11) / 3)
        self.tied = nn.Parameter(self.blocks[1].weight.detach().clone())
        self.blocks[1].weight = self.tied

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = torch.tanh(block(x))
        return x + F.linear(self.tied, self.tied[:5]).mean()


def transformer_loss(model: nn.Module, tokens: Tensor) -> Tensor:
    return F.cross_entropy(model(tokens[:, :-1]).float().flatten(0, 1), tokens[:, 1:].flatten())


def mlp_loss(model: nn.Module, x: Tensor) -> Tensor:
    return (model(x) - x[:, :5].sin()).square().mean()


MODELS: dict[str, tuple[Callable, Callable, Callable]] = {
    "transformer": (
        lambda: Transformer(TINY),
        transformer_loss,
        lambda generator: torch.randint(23, (BATCH, 9), generator=generator),
    ),
    "mlp": (UnevenMLP, mlp_loss, lambda generator: torch.randn(BATCH, 7, generator=generator)),
}


@dataclass
class Run:
    """What a run leaves: whole parameters, and each step's whole gradients, by name; losses of this rank."""

    parameters: dict[str, Tensor]
    gradients: list[dict[str, Tensor]]
    losses: list[float]


def make_model(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return MODELS[name][0]()


def wrap(model: nn.Module, technique: str, axis, optimizer: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    make, defaults = OPTIMIZERS[optimizer]
    if technique.startswith("zero"):
        stage = int(technique[-1])
        return model, ZeroOptimizer(model.parameters(), make, axis, stage=stage, bucket_bytes=1000, **defaults)
    if technique == "fsdp":
        model = FullyShardedDataParallel(model, axis, units=model.blocks)
    elif technique == "data parallel":
        model = DistributedDataParallel(model, axis, bucket_bytes=1000)
    else:
        assert technique == "single process"
    return model, make(model.parameters(), **defaults)


def communicator_of(model, optimizer):
    return (optimizer if isinstance(optimizer, ZeroOptimizer) else model).communicator


def whole_gradients(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The averaged gradients by the plain model's names, whatever the technique keeps of them."""
    if isinstance(optimizer, ZeroOptimizer):
        parts = [(bucket.parameters, bucket.layout, bucket.shard) for bucket in optimizer._buckets]
        names = {p: name for name, p in model.named_parameters()}
    elif hasattr(model, "units"):
        parts = [(unit.parameters, unit.layout, unit.shard) for unit in model._backward_order]
        names = {p: names[0] for p, names in model._names.items()}
    else:
        plain = getattr(model, "module", model)
        return {name: p.grad.clone() for name, p in plain.named_parameters()}
    gradients = {}
    for parameters, layout, shard in parts:
        flat = communicator_of(model, optimizer).all_gather(shard.grad)
        gradients |= {names[p]: g.clone() for p, g in zip(parameters, layout.views(flat), strict=True)}
    return gradients


def whole_parameters(model: nn.Module) -> dict[str, Tensor]:
    plain = model if hasattr(model, "units") else getattr(model, "module", model)
    return {name: value.detach().clone() for name, value in plain.state_dict().items()}


def train(world, name: str, technique: str, optimizer: str, steps: int = 4, micro_batches: int = 1) -> Run:
    """Every rank starts from other weights and sees its own part of each batch."""
    axis = world["world"]
    model, optimizer = wrap(make_model(name, seed=world.rank), technique, axis, optimizer)
    _, loss_of, batch_of = MODELS[name]
    generator = torch.Generator().manual_seed(1)
    run = Run({}, [], [])
    for _ in range(steps):
        optimizer.zero_grad()
        own = batch_of(generator).chunk(axis.size)[axis.rank]
        for number, micro_batch in enumerate(own.chunk(micro_batches)):
            loss = loss_of(model, micro_batch) / micro_batches
            if number + 1 < micro_batches and technique in ("data parallel", "zero 1"):
                with (model if technique == "data parallel" else optimizer).no_sync():
                    loss.backward()
            else:
                loss.backward()
        run.gradients.append(whole_gradients(model, optimizer))
        optimizer.step()
        run.losses.append(loss.item())
    run.parameters = whole_parameters(model)
    return run


def live_bytes() -> int:
    """Bytes of the storages of all floating-point tensors that Python code can reach (shared memory is bytes)."""
    gc.collect()
    tensors = [x for x in gc.get_objects() if isinstance(x, Tensor) and x.is_floating_point()]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


class Partly(nn.Module):
    """The second half of what it holds is used by rank 0 alone, or by no rank."""

    def __init__(self, used_by_first: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)]) for _ in range(2))
        for block in self.blocks:
            block.forward = partial(self.run_block, block)
        self.second_half = used_by_first

    def run_block(self, block: nn.ModuleList, x: Tensor, rank: int) -> Tensor:
        x = block[0](x)
        return block[1](x) if self.second_half and rank == 0 else x

    def forward(self, x: Tensor, rank: int) -> Tensor:
        for block in self.blocks:
            x = block(x, rank)
        return x
