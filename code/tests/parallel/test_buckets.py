"""Buckets and flat buffers, without any process."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sysai.parallel.bucket_policy import assign_buckets
from sysai.parallel.buckets import FlatLayout, Reducer
from torch import nn

sizes = st.lists(st.integers(0, 50), max_size=30)


@given(sizes, st.integers(1, 120))
def test_each_tensor_has_one_bucket_from_the_last_to_the_first(sizes, limit):
    buckets = assign_buckets(sizes, limit)
    assert [i for bucket in buckets for i in bucket] == list(reversed(range(len(sizes))))
    assert all(buckets)


@given(sizes, st.integers(1, 120))
def test_buckets_are_as_full_as_the_limit_allows(sizes, limit):
    buckets = assign_buckets(sizes, limit)
    for bucket, following in zip(buckets, [*buckets[1:], None], strict=False):
        filled = sum(sizes[i] for i in bucket)
        assert filled <= limit or len([i for i in bucket if sizes[i]]) == 1
        assert following is None or filled + sizes[following[0]] > limit


def test_a_bucket_has_room_for_something():
    with pytest.raises(ValueError, match="bucket_bytes"):
        assign_buckets([1], 0)


@given(st.lists(st.lists(st.integers(1, 4), max_size=3), min_size=1, max_size=5), st.integers(1, 5))
def test_a_flat_buffer_gives_the_tensors_back_and_equal_parts(shapes, shards):
    tensors = [torch.randn(shape) for shape in shapes]
    layout = FlatLayout(tensors, shards)
    flat = layout.flatten(tensors, torch.float32)
    assert all(map(torch.equal, layout.views(flat), tensors))
    assert len(flat) == layout.padded_numel == layout.shard_numel * shards
    assert layout.numel == sum(t.numel() for t in tensors) > layout.padded_numel - shards
    assert torch.equal(torch.cat([layout.shard(flat, rank) for rank in range(shards)]), flat)
    assert not flat[layout.numel :].any()


def watched_pass(order_of_use, unused=()):
    """The events of a backward pass through parameters 0, 1, 2 that are used in this order; buckets [2, 1], [0]."""
    parameters = [nn.Parameter(torch.ones(1)) for _ in range(3)]
    names, events = {p: i for i, p in enumerate(parameters)}, []
    Reducer(
        [[parameters[2], parameters[1]], [parameters[0]]],
        store=lambda p: events.append((names[p], p.grad is not None)),
        send=lambda i: events.append(f"send {i}"),
        finish=lambda: events.append("finish"),
    )
    x = torch.ones(1)
    for i in order_of_use:
        if i not in unused:
            x = x * parameters[i]
    x.backward()
    return events


def test_buckets_are_sent_when_complete():
    assert watched_pass([0, 1, 2]) == [(2, True), (1, True), "send 0", (0, True), "send 1", "finish"]


def test_buckets_are_sent_in_one_order_whatever_comes_first():
    assert watched_pass([1, 2, 0])[0] == (0, True)
    for order in ([1, 2, 0], [2, 0, 1], [0, 2, 1]):
        assert [e for e in watched_pass(order) if isinstance(e, str)] == ["send 0", "send 1", "finish"]


def test_parameters_that_are_not_reached_are_stored_at_the_end():
    assert watched_pass([0, 1, 2], unused=[2, 0]) == [(1, True), (2, False), "send 0", (0, False), "send 1", "finish"]
