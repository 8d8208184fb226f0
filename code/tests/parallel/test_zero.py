"""ZeroOptimizer: what it sends and holds, groups, clipping, saving, and torch's ZeroRedundancyOptimizer."""

from contextlib import nullcontext
from unittest.mock import patch

import pytest
import torch
from sysai.distributed.launch import RankError, run
from sysai.models.formulas.memory import PLAIN_ADAM
from sysai.parallel.memory import state_memory, step_traffic
from sysai.parallel.zero import ZeroOptimizer
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from training import BATCH, live_bytes, make_model, mlp_loss, train, transformer_loss, whole_gradients

BUCKET_BYTES = 1000


def zero(world, model, stage, optimizer_class=torch.optim.AdamW, params=None, **defaults):
    params = model.parameters() if params is None else params
    return ZeroOptimizer(params, optimizer_class, world["world"], stage, BUCKET_BYTES, **defaults)


def own_batch(world):
    batch = torch.randn(BATCH, 7, generator=torch.Generator().manual_seed(3))
    return batch.chunk(world.size)[world.rank]


def traffic_of_a_step(world, stage, micro_batches):
    model = make_model("mlp")
    optimizer = zero(world, model, stage)
    traffic = optimizer.communicator.traffic
    before = traffic.bytes_sent.total()
    for _ in range(micro_batches - 1):
        if stage == 1:
            with optimizer.no_sync():
                mlp_loss(model, own_batch(world)).backward()
        else:
            mlp_loss(model, own_batch(world)).backward()
    mlp_loss(model, own_batch(world)).backward()
    optimizer.step()
    return traffic.bytes_sent.total() - before, [bucket.layout.numel for bucket in optimizer._buckets]


@pytest.mark.parametrize("micro_batches", [1, 3])
@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_counted_bytes_equal_the_formula(world_size, stage, micro_batches):
    for counted, sizes in run(traffic_of_a_step, world_size, stage, micro_batches):
        assert len(sizes) > 1
        assert counted == sum(step_traffic(size, world_size, stage, PLAIN_ADAM, micro_batches) for size in sizes)


def gradients_of_passes(world, stage, passes):
    model = make_model("mlp")
    optimizer = zero(world, model, stage)
    for _ in range(passes):
        mlp_loss(model, own_batch(world)).backward()
    return whole_gradients(model, optimizer)


@pytest.mark.parametrize("stage", [1, 2])
def test_shards_hold_the_mean_over_ranks_of_the_sum_over_passes(stage):
    for passes in (1, 3):
        plain = make_model("mlp")
        for _ in range(passes):
            mlp_loss(plain, torch.randn(BATCH, 7, generator=torch.Generator().manual_seed(3))).backward()
        for gradients in run(gradients_of_passes, 3, stage, passes):
            for name, parameter in plain.named_parameters():
                torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)


def bytes_held(world, stage):
    before = live_bytes()
    model = make_model("mlp")
    optimizer = zero(world, model, stage)
    mlp_loss(model, own_batch(world)).backward()
    optimizer.step()
    layouts = [bucket.layout for bucket in optimizer._buckets]
    steps = 4 * len(layouts)  # AdamW's step: a scalar
    return live_bytes() - before - steps, [layout.padded_numel for layout in layouts]


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_bytes_held_equal_the_formula(world_size, stage):
    for held, sizes in run(bytes_held, world_size, stage):
        expected = sum(state_memory(size, world_size, stage, PLAIN_ADAM).total for size in sizes)
        if stage == 1:  # the mean gradient of the own part, beside the whole local gradient
            expected += 4 * sum(sizes) // world_size
        assert held == expected


def gradients_alive(world):
    """Bytes of whole gradients that buckets hold at most during a pass, in all buckets together, and afterwards."""
    seen = []
    original = ZeroOptimizer._send

    def send(self, number):
        seen.append(sum(bucket.gradients.nbytes for bucket in self._buckets if bucket.gradients is not None))
        original(self, number)

    with patch.object(ZeroOptimizer, "_send", send):
        model = make_model("transformer")
        optimizer = zero(world, model, 2)
        transformer_loss(model, torch.randint(23, (2, 8))).backward()
    left = [p for p in model.parameters() if p.grad is not None]
    left += [bucket for bucket in optimizer._buckets if bucket.gradients is not None]
    return max(seen), [bucket.layout.padded_numel * 4 for bucket in optimizer._buckets], left


def groups_of(model):
    decayed = [p for p in model.parameters() if p.dim() > 1]
    return [
        {"params": decayed, "weight_decay": 0.3, "lr": 0.02},
        {"params": [p for p in model.parameters() if p.dim() <= 1], "betas": (0.8, 0.9)},
    ]


def trained_with(world, stage, plain=False, saved=None, steps=3):
    """Groups, clipping and a schedule, by ZeRO or by the plain optimizer on the whole batch."""
    model = make_model("mlp")
    if plain:
        optimizer = torch.optim.AdamW(groups_of(model), lr=0.01, weight_decay=0.0)
    else:
        optimizer = zero(world, model, stage, params=groups_of(model), lr=0.01, weight_decay=0.0)
    if saved:
        model.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[1])
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    norms = []
    for _ in range(steps):
        optimizer.zero_grad()
        mlp_loss(model, own_batch(world)).backward()
        clip = nn.utils.clip_grad_norm_(model.parameters(), 0.05) if plain else optimizer.clip_grad_norm(0.05)
        norms.append(float(clip))
        optimizer.step()
        schedule.step()
    return model.state_dict(), optimizer.state_dict(), norms


def assert_same_training(ours, theirs, tolerance=1e-5):
    for name, value in theirs[0].items():
        torch.testing.assert_close(ours[0][name], value, rtol=tolerance, atol=tolerance)
    assert ours[1]["param_groups"] == theirs[1]["param_groups"]
    assert list(ours[1]["state"]) == list(theirs[1]["state"])
    for number, state in theirs[1]["state"].items():
        for key, value in state.items():
            assert ours[1]["state"][number][key].shape == value.shape
            torch.testing.assert_close(ours[1]["state"][number][key], value, rtol=1e-4, atol=1e-6)
    assert ours[2] == pytest.approx(theirs[2], rel=1e-4)


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("world_size", [1, 3, 4])
def test_groups_clipping_schedule_and_saved_state_equal_the_plain_optimizers(world_size, stage):
    (theirs,) = run(trained_with, 1, stage, plain=True)
    assert theirs[2][0] > 0.05  # it does clip
    for ours in run(trained_with, world_size, stage):
        assert_same_training(ours, theirs)


def test_a_saved_state_goes_on_with_any_number_of_ranks():
    (plain,) = run(trained_with, 1, 1, plain=True, steps=2)
    (expected,) = run(trained_with, 1, 1, plain=True, saved=plain)
    by_four = run(trained_with, 4, 2, steps=2)[3]
    for world_size, stage, saved in ((2, 1, plain), (3, 2, by_four)):
        for ours in run(trained_with, world_size, stage, saved=saved):
            assert_same_training(ours, expected)
    (back,) = run(trained_with, 1, 1, plain=True, saved=by_four)
    assert_same_training(back, expected)


def beside_torch(world, stage, optimizer_class, defaults):
    ours, theirs = make_model("transformer"), make_model("transformer")
    optimizer = zero(world, ours, stage, optimizer_class, **defaults)
    ddp = nn.parallel.DistributedDataParallel(theirs)
    reference = ZeroRedundancyOptimizer(ddp.parameters(), optimizer_class, **defaults)
    generator = torch.Generator().manual_seed(world.rank)
    for _ in range(3):
        tokens = torch.randint(23, (3, 8), generator=generator)
        for model, its_optimizer in ((ours, optimizer), (ddp, reference)):
            its_optimizer.zero_grad()
            transformer_loss(model, tokens).backward()
            its_optimizer.step()
    return max(float((p - q).detach().abs().max()) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize(
    ("optimizer_class", "defaults"),
    [(torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}), (torch.optim.Adam, {"lr": 0.01, "eps": 1e-4})],
)
def test_parameters_equal_those_of_zero_redundancy_optimizer(stage, optimizer_class, defaults):
    assert max(run(beside_torch, 3, stage, optimizer_class, defaults)) < 1e-6


def test_stage_2_holds_few_buckets_of_gradients_at_once_and_none_afterwards():
    for most, sizes, left in run(gradients_alive, 2):
        assert left == []
        # the one being reduced, the one that is complete, and the next, whose first gradients may be there
        assert most <= 3 * max(sizes) < sum(sizes) / 3


def with_stale_shard(world):
    gather = ZeroOptimizer.step

    def step(self, closure=None):
        with patch.object(self.communicator, "all_gather", lambda shard, out: out):
            return gather(self)

    with patch.object(ZeroOptimizer, "step", step):
        return train(world, "mlp", "zero 2", "sgd", steps=2)


def test_a_stale_shard_is_caught():
    (reference,) = run(train, 1, "mlp", "single process", "sgd", steps=2)
    ours = run(with_stale_shard, 2)
    for rank in range(2):  # each rank lacks the other's update
        errors = [float((ours[rank].parameters[n] - v).abs().max()) for n, v in reference.parameters.items()]
        assert max(errors) > 1e-3
    error = (ours[0].gradients[1]["tied"] - reference.gradients[1]["tied"]).abs().max()
    assert error > 1e-3 * reference.gradients[1]["tied"].abs().max()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"stage": 3}, "3 FullyShardedDataParallel"), ({"stage": 1, "frozen": True}, "requires no gradient")],
)
def test_mistakes_are_errors(options, message):
    def make(world, stage, frozen=False):
        model = make_model("mlp")
        model.blocks[0].requires_grad_(not frozen)
        zero(world, model, stage)

    with pytest.raises(RankError, match=message):
        run(make, 1, **options)


def test_stage_2_has_no_room_to_accumulate_whole_gradients():
    def accumulate(world):
        with zero(world, make_model("mlp"), 2).no_sync():
            pass

    with pytest.raises(RankError, match="leave no_sync out"):
        run(accumulate, 1)


def test_a_step_whose_last_backward_pass_was_not_averaged_is_refused():
    def step(world, clear):
        model = make_model("mlp")
        optimizer = zero(world, model, 1)
        for last in (False, True):
            with optimizer.no_sync() if last else nullcontext():
                mlp_loss(model, torch.ones(2, 7)).backward()
        if clear:
            optimizer.zero_grad()
        optimizer.step()

    run(step, 1, clear=True)
    with pytest.raises(RankError, match="the last backward pass ran under no_sync"):
        run(step, 1, clear=False)


@pytest.mark.parametrize("stage", [1, 2])
def test_a_parameter_frozen_later_is_an_error_and_does_not_decay(stage):
    def freeze(world):
        model = make_model("mlp")
        optimizer = zero(world, model, stage)
        model.blocks[0].requires_grad_(False)
        mlp_loss(model, torch.ones(2, 7)).backward()
        optimizer.step()

    with pytest.raises(RankError, match="requires_grad of a parameter has changed"):
        run(freeze, 1)


@pytest.mark.parametrize("stage", [1, 2])
def test_parameters_without_elements(stage):
    def train(world):
        model = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 0)])
        optimizer = zero(world, model, stage)
        x = torch.ones(2, 4)
        (model[0](x).square().mean() + model[1](x).sum()).backward()
        optimizer.step()
        return [p.numel() for p in model.parameters()]

    assert run(train, 2) == [[16, 4, 0, 0]] * 2


@pytest.mark.parametrize(
    ("dtype", "slope"),
    [(torch.float32, 1e22), (torch.bfloat16, 1e20), (torch.float64, 1e30), (torch.complex64, 3j)],
)
def test_the_norm_has_room_for_large_and_complex_gradients(dtype, slope):
    def clip(world):
        model = nn.Linear(4, 4, bias=False, dtype=dtype)
        optimizer = zero(world, model, 1, torch.optim.SGD, lr=1.0)
        y = (model(torch.ones(1, 4, dtype=dtype)) * torch.tensor(slope, dtype=dtype)).sum()
        (y.real if dtype.is_complex else y).backward()
        norm = optimizer.clip_grad_norm(1.0)
        gradient = optimizer.communicator.all_gather(optimizer._buckets[0].shard.grad)
        return float(norm), float(torch.linalg.vector_norm(gradient.to(torch.complex128)))

    for norm, after in run(clip, 2):
        assert norm == pytest.approx(4 * abs(slope), rel=0.01)  # 16 equal elements; bf16 has 8 bits
        assert after == pytest.approx(1.0, rel=0.01)


def test_a_state_of_other_groups_is_refused():
    def load(world):
        model = make_model("mlp")
        zero(world, model, 1).load_state_dict(zero(world, model, 1, params=groups_of(model)).state_dict())

    with pytest.raises(RankError, match="make the groups as when saving"):
        run(load, 1)


def test_groups_cannot_be_added_later():
    def add(world):
        zero(world, make_model("mlp"), 1).add_param_group({"params": [nn.Parameter(torch.ones(2))]})

    with pytest.raises(RankError, match="pass them all"):
        run(add, 1)
