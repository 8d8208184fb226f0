"""Schedules: how a tensor program runs, apart from what it computes; every primitive checks that it is legal.

schedule.py      Schedule, which applies primitives and records them; replay
trace.py         the record: printed, saved, loaded
loops.py         split, fuse, reorder, tile, vectorize, parallel, unroll
placement.py     compute_at, reverse_compute_at, compute_inline
caching.py       cache_read, cache_write
reduction.py     rfactor, decompose_reduction
dependence.py    which iterations touch the same element
affine.py        which interval an index runs through; storage.py: buffers that shrink to it
order.py         what must stay before what; nest.py: a block in new loops; tree.py: loops and blocks by name
"""
