"""The runtime against one process: gradients, loss, messages, memory, for every schedule on 1 to 4 ranks."""

import copy
import json
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_cases import schedules
from sysai.distributed.launch import RankError, run
from sysai.distributed.mesh import Mesh
from sysai.distributed.p2p import SocketTransport
from sysai.distributed.shared_memory_transport import SharedMemoryTransport
from sysai.models.config import ModelConfig
from sysai.models.transformer import Transformer
from sysai.parallel.data_parallel import DistributedDataParallel
from sysai.parallel.pipeline.mailbox import messages
from sysai.parallel.pipeline.memory import peak_held
from sysai.parallel.pipeline.runtime import Pipeline
from sysai.parallel.pipeline.schedules import GENERATORS, gpipe, interleaved_1f1b, one_f_one_b, zb_h1, zb_v
from sysai.parallel.pipeline.stages import even_split, sequential_stages, tied_weights, transformer_stages
from sysai.parallel.pipeline.trace import trace
from sysai.parallel.zero import ZeroOptimizer
from torch import nn
from torch.nn import functional as F

# fp32 rounds to 6e-8; sums over 12 micro-batches in another order and gradients of order 1 stay within ten times that
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}
B, T = 12, 5
TIED = ModelConfig("tied", 23, 8, 8, 2, 1, 4, 12, 16, tie_embeddings=True)
UNTIED = ModelConfig(
    "untied", 23, 8, 8, 2, 2, 4, 12, 16, positions="learned", norm="layer", activation="gelu", bias=True
)


def cross_entropy(logits, targets):
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten())


def new_model(config):
    torch.manual_seed(0)
    model = Transformer(config)
    for parameter in model.parameters():  # larger than the usual 0.02, so that gradients are of order one
        nn.init.normal_(parameter, std=0.3)
    return model


def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 23, (B, T), generator=generator), torch.randint(0, 23, (B, T), generator=generator)


def pipeline_of(config, schedule, axis, **options):
    """The pipeline of one rank. Ranks share no memory, so that tied weights are copies on two of them."""
    model = new_model(config)
    stages = transformer_stages(model, even_split(config.n_layers, schedule.stages))
    options.setdefault("tied", tied_weights(model, schedule.stages))
    own = {stage: stages[stage] for stage in schedule.stages_on(axis.rank)}
    return Pipeline(schedule, own, axis, cross_entropy, **options)


def gradients(pipeline):
    return {n: p.grad for stage in pipeline.stages.values() for n, p in stage.named_parameters()}


def single_process(config):
    model = new_model(config)
    tokens, targets = batch()
    loss = cross_entropy(model(tokens), targets)
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters()}


def every_schedule(world, schedules, config):
    """One step with each schedule, over sockets and over shared memory in turn."""
    results = []
    for i, schedule in enumerate(schedules):
        transport = (SocketTransport, SharedMemoryTransport)[i % 2](world["world"])
        pipeline = pipeline_of(config, schedule, world["world"], transport=transport)
        step = pipeline.step(*batch())
        results.append((step, gradients(pipeline), transport.traffic))
    return results


def all_schedules(p):
    """Each with few micro-batches and with enough to fill the pipeline, so that each runs over both transports."""
    many = 12 if p == 4 else 6  # both divide the batch
    counts = {name: (3, many) if name == "interleaved_1f1b" and p == 3 else (4, many) for name in GENERATORS}
    chunks = {"interleaved_1f1b": (2,)}
    return [make(p, m, *chunks.get(name, ())) for name, make in GENERATORS.items() for m in counts[name]]


@pytest.mark.parametrize(
    ("p", "config"),
    [(1, TIED), (2, TIED), (3, TIED), (4, TIED), (1, UNTIED), (3, UNTIED)],
    ids=lambda value: getattr(value, "name", value),
)
def test_every_schedule_gives_the_gradients_of_one_process(p, config):
    loss, expected = single_process(config)
    chosen = all_schedules(p)
    ranks = run(every_schedule, p, chosen, config)
    for i, schedule in enumerate(chosen):
        seen = set()
        for rank in range(p):
            step, grads, traffic = ranks[rank][i]
            seen |= set(grads)
            for name, gradient in grads.items():
                torch.testing.assert_close(gradient, expected[name], **TOLERANCE)
            assert step.peak_held == peak_held(schedule)[rank]
            check_traffic(schedule, rank, traffic, config)
            assert (step.loss is None) == (rank != schedule.device_of[-1])
        assert seen == set(expected)
        torch.testing.assert_close(ranks[schedule.device_of[-1]][i][0].loss, loss, **TOLERANCE)


def check_traffic(schedule, rank, traffic, config):
    """Each boundary between devices costs one message for each micro-batch and direction; tied copies one more."""
    m, p = schedule.microbatches, schedule.devices
    activation = B // m * T * config.d_model * 4
    tied = config.tie_embeddings and schedule.device_of[0] != schedule.device_of[-1]
    exchange = tied and rank in (schedule.device_of[0], schedule.device_of[-1])
    boundaries = {"interleaved 1F1B, 2 chunks": 2 * p - 1, "ZB-V": 2 * (p - 1)}.get(schedule.name, p - 1)
    crossed = boundaries if p > 1 else 0
    assert sum(len(messages(schedule, d)) for d in range(p)) == 2 * m * crossed
    sent = len(messages(schedule, rank))
    assert traffic.messages_sent.total() == sent + exchange
    assert traffic.bytes_sent.total() == sent * activation + exchange * config.vocab_size * config.d_model * 4
    assert traffic.bytes_received.total() == traffic.bytes_sent.total()  # what goes up comes down


def train(world, schedule, config, make_optimizer, steps):
    pipeline = pipeline_of(config, schedule, world["world"])
    # as one list of modules, because a tied matrix that two stages of a rank share is one parameter
    optimizer = make_optimizer(nn.ModuleList(pipeline.stages.values()).parameters())
    for _ in range(steps):
        for _ in range(2):  # gradient accumulation: two batches a step
            pipeline.step(*batch())
        optimizer.step()
        optimizer.zero_grad()
    return {n: p.detach() for stage in pipeline.stages.values() for n, p in stage.named_parameters()}


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=1e-2, eps=1e-3)  # a large eps: noise in gradients near 0 is not amplified


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


@pytest.mark.parametrize(
    ("schedule", "optimizer"),
    [(zb_h1(3, 4), sgd), (zb_v(2, 6), adamw), (interleaved_1f1b(4, 4, 2), sgd)],
    ids=lambda value: getattr(value, "name", getattr(value, "__name__", None)),
)
def test_parameters_after_several_steps(schedule, optimizer):
    tokens, targets = batch()
    model = new_model(TIED)
    reference = optimizer(model.parameters())
    for _ in range(2):
        for _ in range(2):
            cross_entropy(model(tokens), targets).backward()
        reference.step()
        reference.zero_grad()
    for parameters in run(train, schedule.devices, schedule, TIED, optimizer, 2):
        for name, parameter in parameters.items():
            torch.testing.assert_close(parameter, model.get_parameter(name).detach(), rtol=1e-4, atol=1e-5)


def widths_and_activations(width):
    """Any modules: stages of unequal work, boundaries of unequal width, a stage without parameters."""
    torch.manual_seed(2)
    layers = [nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2 * width), nn.LayerNorm(2 * width)]
    return nn.Sequential(
        *layers, *(m for _ in range(7) for m in (nn.GELU(), nn.Linear(2 * width, 2 * width, bias=False)))
    )


def sequential_step(world, schedule, layers, width):
    stages = sequential_stages(widths_and_activations(width), layers)
    own = {s: stages[s] for s in schedule.stages_on(world.rank)}
    pipeline = Pipeline(schedule, own, world["world"], F.mse_loss)
    m = schedule.microbatches
    torch.manual_seed(3)
    pipeline.step(torch.randn(2 * m, 3), torch.randn(2 * m, 2 * width))
    return gradients(pipeline)


@settings(max_examples=15, deadline=None)
@given(schedules(max_devices=4, max_microbatches=9), st.data())
def test_any_schedule_on_any_cut_of_a_sequential_model(schedule, data):
    width = data.draw(st.integers(1, 4))
    cuts = sorted(data.draw(st.integers(0, 18)) for _ in range(schedule.stages - 1))
    check_cut(schedule, [b - a for a, b in zip([0, *cuts], [*cuts, 18], strict=True)], width)


@pytest.mark.parametrize("layers", [[0, 18], [18, 0]])
def test_a_stage_without_layers(layers):
    check_cut(one_f_one_b(2, 3), layers, width=2)


def check_cut(schedule, layers, width):
    ranks = run(sequential_step, schedule.devices, schedule, layers, width)
    model = widths_and_activations(width)
    torch.manual_seed(3)
    m = schedule.microbatches
    x, y = torch.randn(2 * m, 3), torch.randn(2 * m, 2 * width)
    F.mse_loss(model(x), y).backward()
    grads = {name: gradient for rank in ranks for name, gradient in rank.items()}
    assert set(grads) == set(dict(model.named_parameters()))
    for name, gradient in grads.items():
        torch.testing.assert_close(gradient, model.get_parameter(name).grad, **TOLERANCE)


def test_a_forgotten_tie_is_caught():
    _, expected = single_process(TIED)

    def forgetful(world):
        pipeline = pipeline_of(TIED, zb_h1(2, 4), world["world"], tied={})
        pipeline.step(*batch())
        return gradients(pipeline)

    wrong = {
        name
        for grads in run(forgetful, 2)
        for name, gradient in grads.items()
        if not torch.allclose(gradient, expected[name], **TOLERANCE)
    }
    assert wrong == {"embed.weight"}


def on_a_grid(world, technique):
    """Two stages with tied weights, each on two data-parallel ranks: gradients by the plain model's names."""
    grid = Mesh({"pp": 2, "dp": 2})
    stages, dp = transformer_stages(new_model(TIED), even_split(TIED.n_layers, 2)), grid["dp"]
    stage, tied = stages[grid["pp"].rank], tied_weights(new_model(TIED), 2)
    if technique == "data parallel":
        stage, tied = DistributedDataParallel(stage, dp), {f"module.{name}": held for name, held in tied.items()}
    else:
        ZeroOptimizer(stage.parameters(), torch.optim.SGD, dp)
    pipeline = Pipeline(one_f_one_b(2, 2), {grid["pp"].rank: stage}, grid["pp"], cross_entropy, tied=tied)
    pipeline.step(*(whole.chunk(2)[dp.rank] for whole in batch()))
    return {name.removeprefix("module."): gradient for name, gradient in gradients(pipeline).items()}


def test_tied_weights_on_a_grid_have_the_gradient_of_one_process():
    _, expected = single_process(TIED)
    for grads in run(on_a_grid, 4, "data parallel"):
        for name, gradient in grads.items():
            torch.testing.assert_close(gradient, expected[name], **TOLERANCE)


def test_tied_weights_that_zero_shards_are_refused():
    with pytest.raises(RankError, match="before its copies on other stages are added"):
        run(on_a_grid, 4, "zero 1")


def test_a_loss_that_is_no_mean_is_caught():
    """Where each micro-batch's loss is not divided by their number, gradients are m times too large."""
    _, expected = single_process(UNTIED)

    def careless(world):
        pipeline = pipeline_of(UNTIED, one_f_one_b(2, 4), world["world"])
        pipeline.loss = lambda logits, targets: cross_entropy(logits, targets) * 4
        pipeline.step(*batch())
        return gradients(pipeline)

    for grads in run(careless, 2):
        for name, gradient in grads.items():
            torch.testing.assert_close(gradient, 4 * expected[name], rtol=1e-5, atol=4e-6)
        assert not all(torch.allclose(gradient, expected[name], **TOLERANCE) for name, gradient in grads.items())


class Box:
    """What autograd holds in the place of a tensor."""

    def __init__(self, tensor):
        self.tensor = tensor


class LiveBytes:
    """Bytes that autograd keeps for backward passes: now, and at most."""

    def __init__(self):
        self.now = self.most = 0

    def pack(self, tensor):
        box = Box(tensor)
        self.now += tensor.nbytes
        self.most = max(self.most, self.now)
        weakref.finalize(box, self.free, tensor.nbytes)
        return box

    def free(self, nbytes):
        self.now -= nbytes


def stored_bytes(world, schedule):
    pipeline = pipeline_of(UNTIED, schedule, world["world"])
    live = LiveBytes()
    with torch.autograd.graph.saved_tensors_hooks(live.pack, lambda box: box.tensor):
        pipeline.step(*batch())
    return live.most, live.now


def test_autograd_keeps_what_the_schedule_says():
    """GPipe and 1F1B with the same micro-batches: bytes are in the ratio of the counts, and all are freed."""
    (first, first_left), (last, last_left) = run(stored_bytes, 2, one_f_one_b(2, 12))
    assert first_left == last_left == 0
    assert min(first, last) > 0
    assert run(stored_bytes, 2, gpipe(2, 12)) == [(12 // 2 * first, 0), (12 // 1 * last, 0)]


def measured(world, schedule):
    pipeline = pipeline_of(UNTIED, schedule, world["world"])
    pipeline.step(*batch())
    return pipeline.timeline(pipeline.step(*batch(), record=True))


def test_the_measured_timeline_is_the_schedule(tmp_path):
    schedule = zb_v(3, 4)
    timelines = run(measured, 3, schedule)
    assert timelines[0] == timelines[1] == timelines[2]
    for device, intervals in enumerate(timelines[0].devices):
        assert tuple(i.operation for i in intervals) == schedule.orders[device]
        assert all(0 <= i.start <= i.end for i in intervals)
    ended = {schedule.gives(i.operation): i.end for d in timelines[0].devices for i in d}
    for interval in (i for d in timelines[0].devices for i in d):
        for value in schedule.needs(interval.operation):
            local = schedule.device_of[value.stage] == interval.device
            assert not local or ended[value] <= interval.start
    events = json.loads(json.dumps(trace(timelines[0])))["traceEvents"]
    assert sum(e["ph"] == "X" for e in events) == 3 * 2 * 3 * 4


def test_without_recording_nothing_is_timed():
    def unrecorded(world):
        pipeline = pipeline_of(UNTIED, gpipe(1, 2), world["world"])
        step = pipeline.step(*batch())
        assert step.intervals == ()
        pipeline.timeline(step)

    with pytest.raises(RankError, match="record=True"):
        run(unrecorded, 1)


def test_learning_shapes_leaves_no_trace_in_a_stage():
    def with_statistics(world):
        torch.manual_seed(4)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
        ours, alone = copy.deepcopy(model), model
        x, y = torch.randn(6, 3), torch.randn(6, 2)
        torch.manual_seed(5)
        Pipeline(gpipe(1, 1), {0: ours}, world["world"], F.mse_loss).step(x, y)
        torch.manual_seed(5)
        F.mse_loss(alone(x), y).backward()
        assert all(module.training for module in ours.modules())
        return [(a, b) for a, b in zip(ours.state_dict().values(), alone.state_dict().values(), strict=True)]

    for ours, alone in run(with_statistics, 1)[0]:
        torch.testing.assert_close(ours, alone)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda axis: Pipeline(gpipe(2, 2), {0: nn.Identity()}, axis, F.mse_loss), "make the schedule with p = 1"),
        (lambda axis: Pipeline(gpipe(1, 2), {1: nn.Identity()}, axis, F.mse_loss), r"puts \[0\] on it"),
        (lambda axis: sized(axis, 3, 3), "use the same multiple of 2"),
        (lambda axis: sized(axis, 4, 2), "use the same multiple of 2"),
        (lambda axis: Pipeline(gpipe(1, 1), {0: nn.LSTM(1, 1)}, axis, F.mse_loss).step(*ones(1, 1)), "one tensor"),
        (
            lambda axis: Pipeline(gpipe(1, 1), {0: ToTokens()}, axis, F.mse_loss).step(*ones(1, 1)),
            "torch.int64, through",
        ),
    ],
)
def test_mistakes_are_named(wrong, message):
    with pytest.raises(RankError, match=message):
        run(lambda world: wrong(world["world"]), 1)


class ToTokens(nn.Module):
    """A stage that is cut behind a choice, where no gradient passes."""

    def forward(self, x):
        return x.argmax(-1)


def ones(inputs, targets):
    return torch.ones(inputs, 1), torch.ones(targets, 1)


def sized(axis, inputs, targets):
    return Pipeline(gpipe(1, 2), {0: nn.Identity()}, axis, F.mse_loss).step(*ones(inputs, targets))
