"""Schedules: how a tensor program runs, apart from what it computes; every primitive checks that it is legal.

schedule.py      Schedule, which applies primitives and records them in a Trace; replay
loops.py         split, fuse, reorder, tile, vectorize, parallel, unroll
placement.py     compute_at, reverse_compute_at, compute_inline: blocks that move to other loops
caching.py       cache_read, cache_write
reduction.py     rfactor, decompose_reduction
dependence.py    which iterations touch the same element, and the order that blocks must keep
regions.py       which part of a buffer a loop touches, and buffers that shrink to it
tree.py          loops, blocks and buffers by name
default.py       the default schedule of each class of groups, and the steps that schedules share
"""
