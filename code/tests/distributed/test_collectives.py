"""Each collective on each path: equal to an independent reference and to gloo, its messages counted and predicted."""

import itertools
import random
import time
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
from sysai.distributed import costs, ring, shared_memory_transport, staging
from sysai.distributed.collectives import Communicator
from sysai.distributed.launch import RankError, run
from sysai.distributed.mesh import Mesh
from sysai.distributed.p2p import SocketTransport
from sysai.distributed.ring import ring_all_gather, ring_all_reduce, ring_broadcast, ring_reduce_scatter
from sysai.distributed.shared_memory_collectives import (
    shared_memory_all_gather,
    shared_memory_all_reduce,
    shared_memory_broadcast,
    shared_memory_reduce_scatter,
)
from sysai.distributed.shared_memory_transport import SharedMemoryTransport
from sysai.distributed.staging import Staging

RING = (ring_all_reduce, ring_reduce_scatter, ring_all_gather, ring_broadcast)
SHARED = (
    shared_memory_all_reduce,
    shared_memory_reduce_scatter,
    shared_memory_all_gather,
    shared_memory_broadcast,
)
PATHS = {"sockets": (SocketTransport, RING), "messages": (SharedMemoryTransport, RING), "shared": (Staging, SHARED)}
SHAPES = [(), (0,), (1,), (3,), (5,), (7, 3), (2, 0), (3001,)]
LARGE = (3_000_001,)  # more pieces than a rank has buffers for
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.complex64]


def part_of(rank, shape, dtype):
    """Small whole numbers, whose sums every dtype represents exactly."""
    numel = torch.Size(shape).numel()
    return ((torch.arange(numel) * (rank + 2)) % 11).to(dtype).reshape(shape)


def uneven(numel, size):
    """Chunks that grow, the first one empty."""
    sizes = [numel * rank // (size * size) for rank in range(size)]
    sizes[-1] += numel - sum(sizes)
    return sizes


@contextmanager
def small_pieces():
    """Segments, slots and pieces of a few bytes, so that a small tensor goes through many."""
    sizes = {ring: ("SEGMENT_BYTES", 256), shared_memory_transport: ("SLOT_BYTES", 96), staging: ("PIECE_BYTES", 768)}
    with ExitStack() as stack:
        for module, (name, size) in sizes.items():
            stack.enter_context(patch.object(module, name, size))
        yield


def check_path(world, path, shapes, dtypes):
    """Compare every collective with its reference; return how many comparisons were made."""
    axis = world["world"]
    make, (all_reduce, reduce_scatter, all_gather, broadcast) = PATHS[path]
    over = make(axis)
    checked = 0
    for shape, dtype in itertools.product(shapes, dtypes):
        parts = [part_of(rank, shape, dtype) for rank in range(axis.size)]
        own, total = parts[axis.rank], torch.stack(parts).sum(0, dtype=dtype)
        numel = own.numel()

        result = own.clone()
        assert all_reduce(result, over) is result
        assert torch.equal(result, total)
        for sizes in (None, uneven(numel, axis.size)):
            chunks = total.view(-1).split(sizes) if sizes else total.view(-1).tensor_split(axis.size)
            kept = own.clone()
            chunk = reduce_scatter(kept, over, sizes)
            assert torch.equal(chunk, chunks[axis.rank])
            assert torch.equal(kept, own)
            assert torch.equal(all_gather(chunk, over, sizes or [len(c) for c in chunks]), total.view(-1))
            out = torch.empty_like(chunk)
            assert reduce_scatter(own, over, sizes, out) is out
            assert torch.equal(out, chunk)
        assert torch.equal(all_gather(own, over), torch.cat([p.view(-1) for p in parts]))
        for source in range(axis.size):
            result = own.clone()
            assert broadcast(result, over, source) is result
            assert torch.equal(result, parts[source])
        checked += 1
    return checked


def check_path_in_small_pieces(world, path):
    with small_pieces():
        return check_path(world, path, SHAPES, [torch.float32])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_every_collective_equals_its_reference(path, world_size):
    assert run(check_path_in_small_pieces, world_size, path) == [len(SHAPES)] * world_size


@pytest.mark.parametrize("path", PATHS)
def test_every_collective_of_a_large_tensor_equals_its_reference(path):
    assert run(check_path, 3, path, [LARGE], [torch.float32]) == [1] * 3


@pytest.mark.parametrize("path", PATHS)
def test_any_dtype_that_has_a_sum(path):
    run(check_path, 3, path, [(5,), (4, 3)], DTYPES)


def count(world, path, numel, sizes):
    """What each collective sent, as (messages, bytes), and received."""
    make, (all_reduce, reduce_scatter, all_gather, broadcast) = PATHS[path]
    axis = world["world"]
    x = torch.zeros(numel)
    programs = {
        "all_reduce": lambda over: all_reduce(x, over),
        "reduce_scatter": lambda over: reduce_scatter(x, over, sizes),
        "all_gather": lambda over: all_gather(torch.zeros(sizes[axis.rank]), over, sizes),
        "broadcast": lambda over: broadcast(x, over, axis.size - 1),
    }
    counted = {}
    for name, program in programs.items():
        over = make(axis)
        program(over)
        traffic = over.traffic
        counted[name] = (
            (traffic.messages_sent.total(), traffic.bytes_sent.total()),
            (traffic.messages_received.total(), traffic.bytes_received.total()),
        )
        assert traffic.agreements == (isinstance(over, SocketTransport | SharedMemoryTransport) and axis.size > 1)
    return counted


def count_each(world, path, numels):
    return [count(world, path, numel, uneven(numel, world.size)) for numel in numels]


def predicted(path, numel, sizes, size, rank):
    if path == "shared":
        return {
            "all_reduce": costs.shared_memory_all_reduce_cost(numel, 4, size, rank),
            "reduce_scatter": costs.shared_memory_reduce_scatter_cost(sizes, 4, rank),
            "all_gather": costs.shared_memory_all_gather_cost(sizes, 4, rank),
        }
    return {
        "all_reduce": costs.ring_all_reduce_cost(numel, 4, size, rank),
        "reduce_scatter": costs.ring_reduce_scatter_cost(sizes, 4, rank),
        "all_gather": costs.ring_all_gather_cost(sizes, 4, rank),
        "broadcast": costs.ring_broadcast_cost(numel, 4, size, rank, size - 1),
    }


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_counted_messages_and_bytes_equal_the_formulas(path, world_size):
    numels = [0, 1, 12, 1001, 2_500_001]
    all_counted = run(count_each, world_size, path, numels)
    for numel, *counted in zip(numels, *all_counted, strict=True):
        sizes = uneven(numel, world_size)
        for name in predicted(path, numel, sizes, world_size, 0):
            for rank in range(world_size):
                cost = predicted(path, numel, sizes, world_size, rank)[name]
                assert counted[rank][name][0] == (cost.messages, cost.bytes), (numel, name, rank)
        for name in counted[0]:  # what was sent was received
            sent, received = (tuple(map(sum, zip(*(c[name][i] for c in counted), strict=True))) for i in range(2))
            assert sent == received, (numel, name)


def test_random_numbers_agree_with_gloo_and_all_ranks_with_each_other():
    def compare(world):
        torch.manual_seed(world.rank)
        x = torch.randn(300_001)
        theirs = x.clone()
        dist.all_reduce(theirs)
        ours = [all_reduce(x.clone(), make(world["world"])) for make, (all_reduce, *_) in PATHS.values()]
        for result in ours:
            # four numbers of size 1 in another order: some units in the last place of their sum
            torch.testing.assert_close(result, theirs, rtol=1e-6, atol=1e-6)
        return ours

    for results in zip(*run(compare, 4), strict=True):
        assert all(torch.equal(result, results[0]) for result in results)


class Recorded(SocketTransport):
    """Notes what is started, and takes a random while over everything."""

    def __init__(self, axis):
        super().__init__(axis)
        self.started, self._random = [], random.Random(axis.rank)

    def _start(self, sends, receives):
        time.sleep(self._random.choice((0, 0, 0.002)))
        self.started += ["receive"] * len(receives) + ["send"] * len(sends)
        return super()._start(sends, receives)


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_a_ring_of_ranks_out_of_step_receives_ahead_and_adds_right(world_size):
    def reduce_in_small_segments(world):
        link, usual = Recorded(world["world"]), ring.SEGMENT_BYTES
        ring.SEGMENT_BYTES = 128
        try:
            for numel in (1, world.size, 40, 333):
                x = part_of(world.rank, (numel,), torch.int64)
                link.started.clear()
                ring_all_reduce(x, link)
                assert torch.equal(x, sum(part_of(rank, (numel,), torch.int64) for rank in range(world.size)))
        finally:
            ring.SEGMENT_BYTES = usual
        return link.started

    for started in run(reduce_in_small_segments, world_size):
        assert started.count("receive") == started.count("send")
        assert max(itertools.accumulate(1 if kind == "receive" else -1 for kind in started)) == ring.IN_FLIGHT


def test_strided_tensors_and_parameters():
    def strided(world):
        for make, (all_reduce, reduce_scatter, all_gather, broadcast) in PATHS.values():
            over = make(world["world"])
            x = torch.arange(12.0).reshape(3, 4).T
            reference = x.contiguous() * world.size
            assert torch.equal(reduce_scatter(x, over), reference.view(-1).tensor_split(world.size)[world.rank])
            assert torch.equal(all_gather(x, over)[:12], x.reshape(-1))
            all_reduce(x, over)
            assert torch.equal(x, reference)
            parameter = torch.nn.Parameter(torch.full((2, 3), float(world.rank)).T)
            broadcast(parameter, over, 1)
            assert torch.equal(parameter, torch.ones(3, 2))
            assert parameter.grad_fn is None

    run(strided, 2)


def test_subgroups_work_at_the_same_time():
    def along_both_axes(world):
        mesh = Mesh({"dp": 2, "pp": 2})
        sums = []
        for make, (all_reduce, *_) in PATHS.values():
            sums.append([all_reduce(torch.tensor([world.rank]), make(mesh[name])).item() for name in ("dp", "pp")])
        return sums

    for rank, sums in enumerate(run(along_both_axes, 4)):
        assert sums == [[2 * (rank % 2) + 2, 4 * (rank // 2) + 1]] * len(PATHS)


def test_many_collectives_of_changing_kind_and_size_in_a_row():
    def churn(world, over, collectives, most):
        all_reduce, reduce_scatter, all_gather, broadcast = collectives
        generator = torch.Generator().manual_seed(3)
        for _ in range(30):
            numel = int(torch.randint(0, most, (1,), generator=generator))
            x = torch.full((numel,), world.rank + 1.0)
            assert torch.equal(all_reduce(x, over), torch.full((numel,), 6.0))
            chunk = reduce_scatter(x, over)
            assert (chunk == 18).all()
            assert (all_gather(torch.tensor([float(world.rank)]), over) == torch.arange(3.0)).all()
            assert (broadcast(torch.full((9,), float(world.rank)), over, 2) == 2).all()

    def churn_over_all_paths(world):
        for make, collectives in PATHS.values():
            churn(world, make(world["world"]), collectives, 200_000)
            with small_pieces():
                churn(world, make(world["world"]), collectives, 2000)

    run(churn_over_all_paths, 3)


def test_the_communicator_takes_shared_memory_here_and_counts():
    def use(world):
        communicator = Communicator(world["world"])
        total = communicator.all_reduce(torch.ones(8))
        chunk = communicator.reduce_scatter(total)
        whole = communicator.all_gather(chunk)
        communicator.broadcast(whole, 1)
        return whole, communicator.traffic.bytes_sent

    for whole, sent in run(use, 2):
        assert torch.equal(whole, torch.full((8,), 4.0))
        assert sent.total() in (32 + 16 + 16, 32 + 16 + 16 + 32)  # the source of the broadcast sends 32 more


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("change", "texts"),
    [
        (lambda rank: torch.zeros(3 + (rank == 1)), ["float32[3]", "float32[4]"]),
        (lambda rank: torch.zeros(4, dtype=torch.float64 if rank == 1 else torch.float32), ["float32", "float64"]),
        (lambda rank: torch.zeros((2, 3) if rank == 1 else (3, 2)), ["[2, 3]", "[3, 2]"]),
    ],
)
def test_a_mismatch_names_ranks_and_shapes_instead_of_hanging(path, change, texts):
    def mismatch(world):
        make, (all_reduce, *_) = PATHS[path]
        over = make(world["world"])
        all_reduce(torch.ones(4), over)
        all_reduce(change(world.rank), over)

    with pytest.raises(RankError, match="ranks of axis 'world' disagree: ") as caught:
        run(mismatch, 3, timeout=20)
    message = str(caught.value)
    assert all(text in message for text in (*texts, "rank 1 does", "ValueError"))


@pytest.mark.parametrize("path", PATHS)
def test_different_collectives_and_sources_are_a_mismatch_too(path):
    def mismatch(world, by_source):
        make, (all_reduce, _, _, broadcast) = PATHS[path]
        over, x = make(world["world"]), torch.ones(4)
        broadcast(x, over, world.rank) if by_source or world.rank else all_reduce(x, over)

    for by_source in (True, False):
        with pytest.raises(RankError, match="disagree"):
            run(mismatch, 2, by_source, timeout=20)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("length", [100, 300])
def test_a_list_that_differs_only_at_its_end_is_a_mismatch_too(path, length):
    """Beyond what the ranks have room for: 256 bytes in a message, 1024 in shared memory."""

    def differ(world):
        over = PATHS[path][0](world["world"])
        text = f"all_gather of torch.float32 from {[1000] * length + [world.rank]}"
        over.run(text, torch.float32, 1, [lambda *_: None] * 2) if path == "shared" else over.agree(text)

    with pytest.raises(RankError, match="ranks of axis 'world' disagree: "):
        run(differ, 2, timeout=20)


BAD_CALLS = {
    "sizes .* add up to 6": lambda path, over, x: path[1](x, over, [1, 2]),
    "sizes .* must be 2 numbers": lambda path, over, x: path[2](x, over, [6]),
    "that of rank [01] 6": lambda path, over, x: path[2](x, over, [1, 1]),
    r"out must be a contiguous torch.float32 vector of 3 .* got float32\[4\]": lambda path, over, x: path[1](
        x, over, out=torch.ones(4)
    ),
    "source 2 is not a rank": lambda path, over, x: path[3](x, over, 2),
    r"float32\[6\] has a graph \(from MulBackward0\)": lambda path, over, x: path[0](x.requires_grad_() * 2, over),
    "give tensor.detach": lambda path, over, x: path[2](x.requires_grad_().exp(), over),
}


@pytest.mark.parametrize("message", BAD_CALLS)
def test_bad_arguments_are_refused(message):
    def ask(world):
        for make, path in PATHS.values():
            with pytest.raises(ValueError, match=message):
                BAD_CALLS[message](path, make(world["world"]), torch.ones(6))

    run(ask, 2)
