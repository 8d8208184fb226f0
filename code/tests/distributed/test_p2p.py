"""Messages of both transports: order, sizes, counts, errors; and what is left of shared memory, which is nothing."""

import os
import signal
from pathlib import Path

import psutil
import pytest
import torch
import torch.distributed as dist
from sysai.distributed.launch import RankError, run
from sysai.distributed.mesh import Mesh
from sysai.distributed.p2p import SocketTransport
from sysai.distributed.shared_memory import SharedMemory
from sysai.distributed.shared_memory_transport import SLOT_BYTES, SLOTS, SharedMemoryTransport, transport_for

TRANSPORTS = [SocketTransport, SharedMemoryTransport]
LARGE = SLOTS * SLOT_BYTES // 4 + 1001  # more float32 elements than the slots hold


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("numel", [0, 1, 1000, SLOT_BYTES // 4, LARGE])
def test_all_send_to_all_at_once_and_every_message_is_counted(transport, numel):
    def exchange(world):
        link = transport(world["world"])
        others = [rank for rank in range(world.size) if rank != world.rank]
        outgoing = {to: torch.full((numel,), 10.0 * world.rank + to) for to in others}
        incoming = {source: torch.empty(numel) for source in others}
        link.start([(x, to) for to, x in outgoing.items()], [(x, source) for source, x in incoming.items()]).wait()
        for source, x in incoming.items():
            assert (x == 10.0 * source + world.rank).all()
        for counter in (link.traffic.messages_sent, link.traffic.messages_received):
            assert counter == dict.fromkeys(others, 1)
        for counter in (link.traffic.bytes_sent, link.traffic.bytes_received):
            assert counter == dict.fromkeys(others, 4 * numel)

    run(exchange, 3)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_messages_between_two_ranks_keep_their_order(transport):
    def stream(world):
        link = transport(world["world"])
        sizes = [1, 3, LARGE, 0, 200_000, 2]
        if world.rank == 0:
            sent = [link.start(sends=[(torch.full((size,), float(i)), 1)]) for i, size in enumerate(sizes)]
            return [handle.wait() for handle in sent]
        return [link.recv(torch.empty(size), 0).eq(i).all().item() for i, size in enumerate(sizes)]

    assert run(stream, 2)[1] == [True] * 6


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_sender_that_never_waits_still_uses_the_slots_that_come_back(transport):
    def forwards(world):
        link = transport(Mesh({"pair": 2}, timeout=5)["pair"])
        if world.rank == 0:
            sent = [link.start(sends=[(torch.tensor([float(i)]), 1)]) for i in range(SLOTS + 1)]  # one finds no slot
            dist.barrier()
            dist.barrier()  # between these the other rank has emptied the slots
            sent.append(link.start(sends=[(torch.tensor([SLOTS + 1.0]), 1)]))
            dist.barrier()
            return [handle.wait() for handle in sent]
        dist.barrier()
        heard = [link.recv(torch.empty(1), 0).item() for _ in range(SLOTS)]
        dist.barrier()
        heard += [link.recv(torch.empty(1), 0).item() for _ in range(2)]
        dist.barrier()
        return heard

    assert run(forwards, 2)[1] == list(range(SLOTS + 2))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64])
def test_any_dtype_and_shape_arrives_unchanged(transport, dtype):
    def move(world):
        link = transport(world["world"])
        x = torch.tensor([[1, 0, 3], [0, 5, 6]]).to(dtype)
        if world.rank == 0:
            link.send(x, 1)
            return True
        return torch.equal(link.recv(torch.empty_like(x), 0), x)

    assert run(move, 2) == [True, True]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_axis_of_a_mesh_has_its_own_messages(transport):
    def around(world):
        mesh = Mesh({"dp": 2, "pp": 2})
        links = {name: transport(mesh[name]) for name in ("dp", "pp")}
        heard = {}
        for name, link in links.items():
            x, y = torch.tensor([world.rank]), torch.empty(1, dtype=torch.int64)
            link.start([(x, 1 - link.axis.rank)], [(y, 1 - link.axis.rank)]).wait()
            heard[name] = y.item()
        return heard

    assert run(around, 4) == [{"dp": rank ^ 2, "pp": rank ^ 1} for rank in range(4)]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_impossible_messages_are_refused(transport):
    def ask(world):
        link = transport(world["world"])
        for rank in (world.rank, world.size, -1):
            with pytest.raises(ValueError, match="not another rank of axis 'world'"):
                link.send(torch.ones(1), rank)
        with pytest.raises(ValueError, match=r"use \.contiguous"):
            link.send(torch.ones(2, 3).T, 1 - world.rank)

    run(ask, 2)


def test_a_message_of_another_size_is_an_error_in_shared_memory():
    def mismatch(world):
        link = SharedMemoryTransport(world["world"])
        if world.rank == 0:
            link.send(torch.ones(5), 1)
        else:
            link.recv(torch.empty(3), 0)

    with pytest.raises(RankError, match="rank 0 of axis 'world' sent a message of 20 bytes where rank 1 expects 12"):
        run(mismatch, 2)


def test_shared_memory_is_chosen_for_ranks_of_one_machine():
    assert run(lambda world: type(transport_for(world["world"])).__name__, 2) == ["SharedMemoryTransport"] * 2

    def elsewhere(world):
        import platform

        real, platform.node = platform.node, lambda: f"machine {world.rank}"
        try:
            with pytest.raises(ValueError, match="several machines or on GPUs: use SocketTransport"):
                SharedMemory(world["world"], 64)
            return type(transport_for(world["world"])).__name__
        finally:
            platform.node = real

    assert run(elsewhere, 2) == ["SocketTransport"] * 2


def test_a_barrier_lets_no_rank_through_early():
    def count_up(world):
        memory = SharedMemory(world["world"], 8)
        counters = [region.view(torch.int64) for region in memory.regions]
        for step in range(200):
            counters[world.rank] += 1
            memory.barrier()
            assert all(step + 1 <= counter.item() <= step + 2 for counter in counters)

    run(count_up, 4)


def test_waiting_takes_no_core():
    def wait(world):
        link = SharedMemoryTransport(world["world"])
        if world.rank == 0:
            import time

            time.sleep(0.5)
            link.send(torch.ones(1), 1)
            return 0.0
        before = sum(os.times()[:2])
        link.recv(torch.empty(1), 0)
        return sum(os.times()[:2]) - before

    assert run(wait, 2)[1] <= 0.1


def test_shared_memory_has_no_name_once_it_is_made_and_no_file_stays_open():
    def probe(world):
        before = psutil.Process().num_fds()
        link = transport_for(world["world"])
        dist.barrier()
        names = [str(path) for path in Path(os.environ["SYSAI_SCRATCH"]).rglob("*") if path.name in ("region", "bell")]
        del link
        return names, psutil.Process().num_fds() - before

    assert run(probe, 2) == [([], 0)] * 2


def test_a_rank_killed_while_others_wait_in_shared_memory_ends_the_job():
    def die(world):
        link = SharedMemoryTransport(world["world"])
        if world.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        link.recv(torch.empty(1), 1)

    with pytest.raises(RankError, match="rank 1 died: killed by SIGKILL") as caught:
        run(die, 3)
    assert "in listen" in str(caught.value)


def test_nothing_is_heard_within_the_axis_timeout():
    def wait(world):
        axis = Mesh({"pair": 2}, timeout=0.2)["pair"]
        link = SharedMemoryTransport(axis)
        if world.rank == 0:
            link.recv(torch.empty(1), 1)
        else:
            import time

            time.sleep(2)

    with pytest.raises(RankError, match=r"rank 0 of axis 'pair' heard nothing for 0.2 s"):
        run(wait, 2)
