"""FullyShardedDataParallel: what it sends, gathers and holds, precision, saving, its rules, and torch's fully_shard."""

from unittest.mock import patch

import pytest
import torch
from sysai.distributed.launch import RankError, run
from sysai.models.formulas.memory import PLAIN_ADAM, Recipe
from sysai.parallel.fsdp import FullyShardedDataParallel
from sysai.parallel.memory import gathered_elements, state_memory, step_traffic
from sysai.parallel.unit import MixedPrecisionPolicy, Unit
from torch import nn
from torch.distributed import fsdp as torch_fsdp
from torch.distributed.device_mesh import init_device_mesh
from torch.utils.checkpoint import checkpoint
from training import BATCH, live_bytes, make_model, mlp_loss, train, transformer_loss

BF16 = MixedPrecisionPolicy(torch.bfloat16, torch.float32)


def sharded(world, name="transformer", mp_policy=None):
    model = make_model(name, seed=world.rank)
    return FullyShardedDataParallel(model, world["world"], model.blocks, mp_policy)


def tokens_of(world):
    tokens = torch.randint(23, (BATCH, 9), generator=torch.Generator().manual_seed(5))
    return tokens.chunk(world.size)[world.rank]


def step_counts(world, mp_policy):
    """Bytes sent in a step; the most elements gathered, and of whole gradients, at any call of a unit."""
    model = sharded(world, mp_policy=mp_policy)
    gathered, reducing = [], []

    def look(*_):
        gathered.append(sum(unit.flat.untyped_storage().nbytes() for unit in model._backward_order))
        reducing.append(sum(unit.gradients.nbytes for unit in model.units if unit.gradients is not None))

    unshard, reduce = Unit.unshard, Unit.reduce_scatter
    with (
        patch.object(Unit, "unshard", lambda unit: (unshard(unit), look())[0]),
        patch.object(Unit, "reduce_scatter", lambda unit: (look(), reduce(unit))[1]),
    ):
        before = model.communicator.traffic.bytes_sent.total()
        transformer_loss(model, tokens_of(world)).backward()
        sent = model.communicator.traffic.bytes_sent.total() - before
    look()
    units, root = [unit.layout.numel for unit in model.units], model.root.layout.numel
    padded = [unit.layout.padded_numel for unit in model.units], model.root.layout.padded_numel
    return sent, max(gathered), gathered[-1], max(reducing), units, root, padded


@pytest.mark.parametrize("mp_policy", [None, BF16])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_counted_bytes_and_gathered_units_equal_the_formulas(world_size, mp_policy):
    recipe = Recipe("bf16 work", 2, 4, 12) if mp_policy else PLAIN_ADAM
    for sent, most, left, reducing, units, root, padded in run(step_counts, world_size, mp_policy):
        # the last unit and the root are gathered once, as in stage 2
        stages = [*[3] * (len(units) - 1), 2, 2]
        assert sent == sum(
            step_traffic(size, world_size, stage, recipe) for size, stage in zip([*units, root], stages, strict=True)
        )
        assert most == recipe.weights * gathered_elements(*padded)
        assert left == 0
        assert reducing <= recipe.gradients * max(padded[0])


def bytes_held(world):
    before = live_bytes()
    model = sharded(world)
    optimizer = torch.optim.AdamW(model.parameters())
    transformer_loss(model, tokens_of(world)).backward()
    optimizer.step()
    shards = [unit.layout.padded_numel for unit in model._backward_order]
    buffers = sum(buffer.nbytes for buffer in model.module.buffers())
    return live_bytes() - before - 4 * len(shards) - buffers, shards  # AdamW's step: a scalar for each shard


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_bytes_held_equal_the_formula(world_size):
    for held, sizes in run(bytes_held, world_size):
        assert held == sum(state_memory(size, world_size, 3, PLAIN_ADAM).total for size in sizes)


def beside_torch(world, precise):
    mp_policy = None if precise else BF16
    ours, theirs = sharded(world, mp_policy=mp_policy), make_model("transformer")
    mesh = init_device_mesh("cpu", (world.size,))
    policy = torch_fsdp.MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    options = {} if precise else {"mp_policy": policy}
    for block in theirs.blocks:
        torch_fsdp.fully_shard(block, mesh=mesh, **options)
    torch_fsdp.fully_shard(theirs, mesh=mesh, **options)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.5, momentum=0.9) for m in (ours, theirs)]
    losses = []
    for _ in range(3):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            loss = transformer_loss(model, tokens_of(world))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    whole = {name: p.full_tensor() for name, p in theirs.state_dict().items()}
    state = ours.state_dict()
    assert losses[4] < losses[0]
    return max(float((state[name] - value).abs().max()) for name, value in whole.items())


@pytest.mark.parametrize("precise", [True, False])
@pytest.mark.parametrize("world_size", [2, 3])
def test_parameters_equal_those_of_torch(world_size, precise):
    # in bf16, too: both round the same weights, and add up the same gradients in fp32
    assert max(run(beside_torch, world_size, precise)) < 1e-6


def dtypes_seen(world):
    model = sharded(world, mp_policy=BF16)
    seen = {}
    block = model.module.blocks[1]
    block.mlp.up.register_forward_hook(lambda m, args, out: seen.update(weight=m.weight.dtype, input=args[0].dtype))
    transformer_loss(model, tokens_of(world)).backward()
    shard = model.units[1].shard
    return seen | {"shard": shard.dtype, "gradient": shard.grad.dtype, "state": model.state_dict()["norm.weight"].dtype}


def test_mixed_precision_computes_in_16_bits_and_keeps_32():
    half, full = torch.bfloat16, torch.float32
    for seen in run(dtypes_seen, 2):
        assert seen == {"weight": half, "input": half, "shard": full, "gradient": full, "state": full}


def test_a_whole_state_goes_out_and_in_on_any_number_of_ranks():
    def save(world):
        model = sharded(world, "mlp")
        return model.state_dict()

    def load(world, state):
        plain = make_model("mlp", seed=9)
        plain.load_state_dict(state)
        model = sharded(world, "mlp")
        model.load_state_dict(state)
        x = torch.randn(4, 7)
        with torch.no_grad():
            return float((model(x) - plain(x)).abs().max()), model.state_dict()

    plain = make_model("mlp", seed=0).state_dict()
    for state in run(save, 3):
        assert list(state) == list(plain)
        assert all(torch.equal(state[name], value) for name, value in plain.items())
    for difference, state in run(load, 2, plain):
        assert difference == 0
        assert all(torch.equal(state[name], value) for name, value in plain.items())


def clipped(world):
    model, plain = sharded(world, "mlp"), make_model("mlp")
    x = torch.randn(6, 7)
    mlp_loss(model, x).backward()
    mlp_loss(plain, x).backward()
    norms = model.clip_grad_norm(0.01), nn.utils.clip_grad_norm_(plain.parameters(), 0.01)
    whole = [
        g for unit in model._backward_order for g in unit.layout.views(model.communicator.all_gather(unit.shard.grad))
    ]
    after = torch.stack([g.norm() for g in whole]).norm()
    return [float(norm) for norm in (*norms, after)]


def test_the_norm_is_that_of_all_shards():
    for ours, theirs, after in run(clipped, 3):
        assert ours == pytest.approx(theirs, rel=1e-5)
        assert after == pytest.approx(0.01, rel=1e-3)


def evaluated(world):
    """Losses of the sharded and the plain model, before and after a step, without a backward pass between."""
    model, plain = sharded(world, "mlp"), make_model("mlp")
    x, losses = torch.randn(4, 7), []
    for _ in range(2):
        losses.append((mlp_loss(model, x).item(), mlp_loss(plain, x).item()))  # leaves the last unit gathered
        for parameter in (*model.parameters(), *plain.parameters()):
            parameter.data.mul_(0.9)
        with torch.no_grad():
            losses.append((mlp_loss(model, x).item(), mlp_loss(plain, x).item()))
        assert not any(unit.is_unsharded for unit in model._backward_order)
    return losses


def test_weights_are_gathered_afresh_for_every_pass():
    for losses in run(evaluated, 2):
        ours, theirs = zip(*losses, strict=True)
        assert ours == pytest.approx(theirs, rel=1e-6)
        assert len(set(ours)) == 3


def with_stale_unit(world):
    unshard = Unit.unshard

    def once(unit):
        if not hasattr(unit, "kept"):
            unshard(unit)
            unit.wait_for_unshard()
            unit.kept = unit.flat.clone()
        elif not unit.is_unsharded:
            unshard(unit)
            unit.wait_for_unshard()
            unit.flat.copy_(unit.kept)

    with patch.object(Unit, "unshard", once):
        return train(world, "mlp", "fsdp", "sgd", steps=2)


def without_mean(world):
    finish = FullyShardedDataParallel._finish_reduction

    def finish_sum(self):
        finish(self)
        for unit in self._backward_order:
            if unit.shard.grad is not None and not hasattr(unit.shard, "summed"):
                unit.shard.grad.mul_(self.axis.size)
                unit.shard.summed = True

    with patch.object(FullyShardedDataParallel, "_finish_reduction", finish_sum):
        return train(world, "mlp", "fsdp", "sgd", steps=1)


@pytest.mark.parametrize(("fault", "steps"), [(with_stale_unit, 2), (without_mean, 1)])
def test_planted_faults_are_caught(fault, steps):
    (reference,) = run(train, 1, "mlp", "single process", "sgd", steps=steps)
    for ours in run(fault, 2):
        mine, theirs = ours.gradients[-1]["blocks.1.bias"], reference.gradients[-1]["blocks.1.bias"]
        assert (mine - theirs).abs().max() > 1e-3 * theirs.abs().max()


class Stack(nn.Module):
    """Calls its layers in the order that it is told."""

    def __init__(self, order=(0, 1), checkpointed=False) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.order, self.checkpointed = order, checkpointed

    def forward(self, x):
        for i in self.order:
            x = checkpoint(self.layers[i], x, use_reentrant=False) if self.checkpointed else self.layers[i](x)
        return x


def stacked(
    world, units=("layers.0", "layers.1"), frozen=False, double=False, direct=False, create_graph=False, **options
):
    model = Stack(**options)
    model.layers[0].requires_grad_(not frozen)
    if double:
        model.layers[0].bias.data = model.layers[0].bias.data.double()
    chosen = [model.get_submodule(name) if name else nn.Linear(1, 1) for name in units]
    wrapped = FullyShardedDataParallel(model, world["world"], chosen)
    y = (wrapped.module.layers[0] if direct else wrapped)(torch.ones(2, 3))
    y.sum().backward(create_graph=create_graph)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": (1, 0)}, "'layers.1' was called out of turn"),
        ({"order": (0, 0)}, "'layers.0' was called out of turn"),
        ({"order": (0,)}, "did not call unit 'layers.1'"),
        ({"checkpointed": True}, "checkpoint inside units"),
        ({"direct": True}, "called through the sharded module"),
        ({"direct": True, "units": ["layers.1"]}, "the weights of 'layers.0' are sharded"),
        ({"create_graph": True}, "freed in the backward pass"),
        ({"frozen": True}, "layers.0.weight requires no gradient"),
        ({"double": True}, "several dtypes"),
        ({"units": ("layers", "layers.0")}, "holds the unit 'layers.0'"),
        ({"units": ("layers.0", "")}, "not a submodule"),
    ],
)
def test_what_is_not_supported_is_an_error(options, message):
    with pytest.raises(RankError, match=message):
        run(stacked, 1, **options)


def test_a_state_that_does_not_fit_is_refused():
    def load(world, change):
        model = sharded(world, "mlp")
        state = model.state_dict()
        if change == "missing":
            del state["blocks.0.bias"]
        else:
            state["blocks.0.bias"] = torch.zeros(2)
        model.load_state_dict(state)

    with pytest.raises(RankError, match="'blocks"):
        run(load, 1, "missing")
    with pytest.raises(RankError, match=r"shape \[13\], the state has \[2\]"):
        run(load, 1, "shape")
