"""The timeline of a backward pass and its buckets: by hand, in the limits, and against the counted cost of the ring."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sysai.distributed.costs import ring_all_reduce_cost
from sysai.parallel.overlap import overlap, ring_all_reduce_seconds

SIZES, SECONDS = [6, 2, 4, 4, 1], [3.0, 1.0, 2.0, 2.0, 0.5]
gradients = st.lists(st.tuples(st.integers(1, 100), st.floats(0, 10)), min_size=1, max_size=20)
counts, rates = st.integers(2, 64), st.floats(0, 1)  # devices; alpha or beta


def test_a_backward_pass_by_hand():
    """Buckets [4, 3], [2], [1], [0]; on two devices N bytes take 2 alpha + N beta."""
    timeline = overlap(SIZES, SECONDS, bucket_bytes=5, devices=2, alpha=0.25, beta=0.5)
    assert timeline.computed == 8.5
    assert [message.bucket for message in timeline.messages] == [(4, 3), (2,), (1,), (0,)]
    assert [message.bytes for message in timeline.messages] == [5, 4, 2, 6]
    assert [message.ready for message in timeline.messages] == [2.5, 4.5, 5.5, 8.5]
    assert [message.start for message in timeline.messages] == [2.5, 5.5, 8.0, 9.5]  # each waits for the one before
    assert [message.end for message in timeline.messages] == [5.5, 8.0, 9.5, 13.0]
    assert timeline.exposed == 4.5
    assert timeline.sending == 10.5


@given(gradients, st.integers(1, 200), counts)
def test_a_network_without_limits_hides_everything(model, limit, devices):
    assert overlap(*zip(*model, strict=True), limit, devices, alpha=0, beta=0).exposed == 0


@given(gradients, rates, counts, rates)
def test_one_bucket_hides_nothing(model, alpha, devices, beta):
    sizes, seconds = zip(*model, strict=True)
    timeline = overlap(sizes, seconds, sum(sizes), devices, alpha, beta)
    whole = ring_all_reduce_seconds(sum(sizes), devices, alpha, beta)
    assert timeline.exposed == pytest.approx(whole) == pytest.approx(timeline.sending)


@given(gradients, rates, counts, rates)
def test_each_of_many_buckets_pays_the_latency(model, alpha, devices, beta):
    """All gradients are there at once, so the network works without a pause."""
    sizes = [size for size, _ in model]
    timeline = overlap(sizes, [0.0] * len(sizes), 1, devices, alpha, beta)
    assert len(timeline.messages) == len(sizes)
    bandwidth = 2 * (devices - 1) / devices * sum(sizes) * beta
    assert timeline.exposed == pytest.approx(bandwidth + len(sizes) * 2 * (devices - 1) * alpha)


@given(gradients, st.integers(1, 200), rates, counts, rates)
def test_what_is_exposed_lies_between_the_last_bucket_and_all(model, limit, alpha, devices, beta):
    timeline = overlap(*zip(*model, strict=True), limit, devices, alpha, beta)
    last = timeline.messages[-1]
    assert timeline.exposed >= last.end - last.start - 1e-9
    assert timeline.exposed >= timeline.sending - (timeline.computed - timeline.messages[0].ready) - 1e-9
    assert timeline.exposed <= timeline.sending + 1e-9
    assert all(message.start >= message.ready for message in timeline.messages)


@given(gradients, st.integers(1, 200), counts, rates)
def test_without_latency_smaller_messages_are_never_worse(model, limit, devices, beta):
    sizes, seconds = zip(*model, strict=True)
    in_buckets, alone = (overlap(sizes, seconds, size, devices, 0, beta).exposed for size in (limit, 1))
    assert alone <= in_buckets + 1e-9


@given(st.integers(1, 9), st.integers(1, 10**6), rates, rates)
def test_the_ring_takes_what_is_counted_of_it(devices, chunk, alpha, beta):
    counted = ring_all_reduce_cost(chunk * devices, itemsize=4, size=devices, rank=0)
    assert ring_all_reduce_seconds(4 * chunk * devices, devices, alpha, beta) == pytest.approx(
        counted.time(alpha, beta)
    )


def test_one_device_sends_nothing():
    assert overlap(SIZES, SECONDS, 5, devices=1, alpha=1, beta=1).sending == 0


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="one of each"):
        overlap(SIZES, SECONDS[1:], 5, 2, 0, 0)
    with pytest.raises(ValueError, match="at least one device"):
        overlap(SIZES, SECONDS, 5, 0, 0, 0)
    with pytest.raises(ValueError, match="no negative time"):
        overlap(SIZES, SECONDS, 5, 2, -1, 0)


def test_the_policy_is_the_runtimes_and_needs_no_torch():
    from sysai.parallel import bucket_policy, data_parallel, zero
    from sysai.parallel import overlap as module

    users = (data_parallel, zero, module)
    assert all(user.assign_buckets is bucket_policy.assign_buckets for user in users)
    program = "import sys, sysai.parallel.overlap; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
