"""A fully associative cache with LRU replacement that watches a program's every access."""

from collections import Counter, OrderedDict

from sysai.compiler.tir.accesses import evaluate, instances
from sysai.compiler.tir.expr import ITEM_BYTES
from sysai.compiler.tir.statement import Allocate, statements


def simulate(function, sizes, capacity, line):
    """(lines loaded, lines written back) by buffer; each buffer begins at a line of its own."""
    buffers = [*function.buffers, *(s.buffer for s in statements(function.body) if isinstance(s, Allocate))]
    shapes = {buffer.name: [evaluate(extent, sizes) for extent in buffer.shape] for buffer in buffers}
    cache: OrderedDict[tuple[str, int], bool] = OrderedDict()
    loaded, stored = Counter(), Counter()
    for instance in instances(function.body, sizes):
        for touch in instance.touches:
            address = 0
            for index, extent in zip(touch.indices, shapes[touch.buffer.name], strict=True):
                address = address * extent + index
            place = (touch.buffer.name, address * ITEM_BYTES[touch.buffer.dtype] // line)
            if place not in cache:
                loaded[touch.buffer.name] += 1
                if len(cache) == capacity // line:
                    victim, dirty = cache.popitem(last=False)
                    stored[victim[0]] += dirty
            cache[place] = cache.pop(place, False) or touch.writes
    for (name, _), dirty in cache.items():
        stored[name] += dirty
    return loaded, stored
