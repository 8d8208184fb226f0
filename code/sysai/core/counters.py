"""Counting what a program does: operations, bytes, and what it keeps for its backward pass.

Under ``with OpCounter() as count`` every operator that torch runs is seen on its way to the device.

    FLOPs      torch's own registry of formulas, the one behind ``FlopCounterMode``, and what it lacks: fused attention
               on a CPU, products with a vector. Only matrix products and convolutions count, one multiply-add is 2.
               Like there, a causal mask saves nothing.
    bytes      what each operator must read (its inputs) and write (its outputs). Views cost none, a broadcast
               input counts its own elements once, a gather reads only the rows it takes.
    intensity  FLOPs / bytes, the abscissa of the roofline.

The bytes are those of operators run one after the other, each from and to memory: a cache that holds an
operator's output for the next, or a compiler that fuses the two, moves fewer. Hardware counters (perf, Nsight
Compute) measure what was really moved. Counting costs some microseconds of Python per operator.
"""

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
_FLOPS = {
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
    aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        aten._scaled_dot_product_flash_attention_backward
    ],
    aten._int_mm: flop_registry[aten.mm],
    aten.mv: lambda matrix, vector, **_: 2 * matrix.numel(),
    aten.addmv: lambda bias, matrix, vector, **_: 2 * matrix.numel(),
    aten.dot: lambda x, y, **_: 2 * x.numel(),
    aten.vdot: lambda x, y, **_: 2 * x.numel(),
}
_HIDE_PRODUCTS = {
    aten._native_multi_head_attention: "torch.backends.mha.set_fastpath_enabled(False)",
    aten._transformer_encoder_layer_fwd: "torch.backends.mha.set_fastpath_enabled(False)",
    aten.mkldnn_rnn_layer: "torch.backends.mkldnn.flags(enabled=False)",
    aten._cudnn_rnn: "torch.backends.cudnn.flags(enabled=False)",
}
"""Fused layers, by what makes torch run their parts one by one."""
_ALLOCATIONS = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided}
_OVERWRITES = {aten.copy_, aten.fill_, aten.zero_}  # their first argument is written, not read
_GATHERS = {aten.embedding, aten.index_select, aten.gather}  # read as much as they return, and the index


@dataclass
class OpCount:
    """Calls, FLOPs and bytes of one kind of operator."""

    calls: int = 0
    flops: int = 0
    bytes_read: int = 0
    bytes_written: int = 0

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written


class OpCounter(TorchDispatchMode):
    """Counts FLOPs and bytes of the operators run inside ``with OpCounter() as count:``.

    Raises:
        NotImplementedError: a fused layer runs, whose products nobody sees.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_op: dict[str, OpCount] = defaultdict(OpCount)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        operator = func._overloadpacket
        if operator in _HIDE_PRODUCTS:
            raise NotImplementedError(
                f"{operator.__name__} hides its matrix products from the count: "
                f"switch it off by {_HIDE_PRODUCTS[operator]}"
            )
        if operator not in _FLOPS:
            with self:  # a composite operator (linear, matmul ... in inference mode) is counted by its parts
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        read, written = _traffic(func, args, kwargs, result)
        flops = _FLOPS[operator](*args, **kwargs, out_val=result) if operator in _FLOPS else 0
        if read or written or flops:
            count = self.by_op[operator.__name__]
            count.calls += 1
            count.flops += flops
            count.bytes_read += read
            count.bytes_written += written
        return result

    @property
    def flops(self) -> int:
        """Floating-point operations of all operators."""
        return sum(count.flops for count in self.by_op.values())

    @property
    def bytes_read(self) -> int:
        """Bytes that the operators took in."""
        return sum(count.bytes_read for count in self.by_op.values())

    @property
    def bytes_written(self) -> int:
        """Bytes that the operators gave out."""
        return sum(count.bytes_written for count in self.by_op.values())

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written

    @property
    def intensity(self) -> float:
        """Arithmetic intensity, FLOP/byte."""
        return self.flops / self.bytes if self.bytes else 0.0

    def table(self) -> str:
        """One line an operator, the most bytes first, and their total."""
        lines = [f"{'operator':<24}{'calls':>8}{'GFLOP':>12}{'MB read':>12}{'MB written':>12}{'FLOP/byte':>11}"]
        rows = sorted(self.by_op.items(), key=lambda item: item[1].bytes, reverse=True)
        calls = sum(count.calls for count in self.by_op.values())
        total = OpCount(calls, self.flops, self.bytes_read, self.bytes_written)
        for name, count in [*rows, ("total", total)]:
            intensity = count.flops / count.bytes if count.bytes else 0.0
            lines.append(
                f"{name:<24}{count.calls:>8,}{count.flops / 1e9:>12,.3f}{count.bytes_read / 1e6:>12,.2f}"
                f"{count.bytes_written / 1e6:>12,.2f}{intensity:>11.2f}"
            )
        return "\n".join(lines)


class SavedTensors:
    """Measures what autograd keeps for the backward pass inside ``with SavedTensors(model) as saved:``.

    Each storage counts once, however many operators saved it; the parameters and buffers of the modules given
    do not count, since they exist anyway. Only what was saved is seen: the temporary memory of an operator
    while it runs is not.
    """

    def __init__(self, *modules: nn.Module) -> None:
        owned = [t for m in modules for t in (*m.parameters(), *m.buffers())]
        self._known = {t.untyped_storage().data_ptr() for t in owned}
        self._kept: list[Tensor] = []  # holding the tensors keeps their addresses from being given out again
        self.by_shape: dict[tuple[int, ...], int] = defaultdict(int)

    def __enter__(self) -> "SavedTensors":
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)
        self._hooks.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._hooks.__exit__(*error)
        self._kept.clear()

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._known:
            self._known.add(storage.data_ptr())
            self._kept.append(tensor)
            self.by_shape[tuple(tensor.shape)] += storage.nbytes()
        return tensor

    @property
    def bytes(self) -> int:
        """Bytes kept for the backward pass."""
        return sum(self.by_shape.values())


def _traffic(func, args, kwargs, result) -> tuple[int, int]:
    """Bytes that one operator reads and writes."""
    operator = func._overloadpacket
    if func.is_view or operator in _ALLOCATIONS:
        return 0, 0
    inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    outputs = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
    storages = {_storage(t) for t in inputs}
    if not func._schema.is_mutable and outputs and all(_storage(t) in storages for t in outputs):
        return 0, 0  # a view in all but name, such as _unsafe_view
    written = sum(map(_touched, outputs))
    if operator in _OVERWRITES:
        inputs = inputs[1:]
    if operator in _GATHERS:
        table, *index = inputs
        return sum(map(_touched, index)) + sum(t.numel() * table.element_size() for t in outputs), written
    return sum(map(_touched, inputs)), written


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _touched(tensor: Tensor) -> int:
    """Bytes of the distinct elements of a tensor: a dimension of stride 0 repeats the same ones."""
    elements = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= size if stride else min(size, 1)
    return elements * tensor.element_size()
