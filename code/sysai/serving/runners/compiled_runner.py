"""The runner on a CPU: a step is two calls of generated C, one for all layers and one for the head.

Chapter 07's compiler is given three modules of the transformer, made of the parts in `sysai.models`: what a block does
before attention (norm, projections), what it does after it (projection, MLP, both residuals), and the head. They are
compiled once for all layers, and are bound to the weights of each:

    pre(layer 0), attention(layer 0), post(layer 0), pre(layer 1), ...      one C function calls them all

The same weights are packed once and read by kernels for any number of rows. With few rows a product is bound by
memory, and a kernel that knows their number keeps all of them in registers while a weight passes by; so there are
kernels for 1, 2, 4 and 8 rows and one set for any number. A step of 3 rows is executed as one of 4: the last row is
computed and ignored, at no cost where time is memory's.

    seconds >= max(bytes of weights, keys, values / bandwidth, FLOPs / rate)          what is left is in chapter 14

Weights may be stored in 16 or 8 bits (`quantized_linear`); all else is float32. Production engines on CPUs work
likewise (llama.cpp's ggml, with kernels written by hand); on GPUs the one call is a CUDA graph.

Shapes: T tokens of the step, D model, R rows that have logits, V vocabulary.
"""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from sysai.models.transformer import Transformer, TransformerBlock
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.scheduler_output import SchedulerOutput
from sysai.serving.runners.cpu_attention import TILE, PagedAttention
from sysai.serving.runners.model_runner import check_served
from sysai.serving.runners.paged_cache import PagedKVCache
from sysai.serving.runners.quantized_linear import QuantizedLinear, quantize_linears
from sysai.serving.runners.step_inputs import StepInputs
from sysai.serving.runners.step_program import ModuleKernels, StepProgram, padded


class _PreAttention(nn.Module):
    """x [T, D] to query [T, H * K], key and value [T, N * K]; not turned to their positions yet."""

    def __init__(self, block: TransformerBlock) -> None:
        super().__init__()
        self.norm, self.attention = block.attention_norm, block.attention

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, layer = self.norm(x), self.attention
        q, k = layer.query(x), layer.key(x)
        if not isinstance(layer.query_norm, nn.Identity):
            q, k = (
                norm(y.unflatten(-1, (-1, layer.head_dim))).flatten(-2)
                for norm, y in ((layer.query_norm, q), (layer.key_norm, k))
            )
        return q, k, layer.value(x)


class _PostAttention(nn.Module):
    """x [T, D] and what attention has mixed [T, H * K] to the next layer's x [T, D]."""

    def __init__(self, block: TransformerBlock) -> None:
        super().__init__()
        self.output, self.norm, self.mlp = block.attention.output, block.mlp_norm, block.mlp

    def forward(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = x + self.output(mixed)
        return x + self.mlp(self.norm(x))


class _Head(nn.Module):
    """x [R, D] to logits [R, V]."""

    def __init__(self, norm: nn.Module, linear: nn.Module) -> None:
        super().__init__()
        self.norm, self.linear = norm, linear

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x))


class CompiledRunner:
    """Executes steps over `model`, which stays as it is: its weights are copied, stored as `weight_dtype` says.

    Args:
        model: dense, in float32, on the CPU.
        config: the limits.
        weight_dtype: a name in `quantized_linear.WEIGHT_DTYPES`.

    Raises:
        ValueError: a model with experts or latent attention, not in float32 or not on the CPU, or longer sequences than
            it has positions; or blocks that vectors can't go along.
        ToolchainError: there is no C compiler, or it fails.
    """

    def __init__(self, model: Transformer, config: SchedulerConfig, weight_dtype: str = "float32") -> None:
        shape = model.config
        check_served(model, config)
        if model.device.type != "cpu" or model.dtype != torch.float32:
            raise ValueError(f"kernels are for float32 on the CPU, not {model.dtype} on {model.device}: convert it")
        self.model, self.weight_dtype = model, weight_dtype
        self._embedding_VD = model.embed.weight.detach()
        self._positions = model.positions.weight.detach() if shape.positions == "learned" else None
        self.cache = PagedKVCache(shape, config.num_blocks, config.block_size, config.num_cpu_blocks)
        self._body = StepProgram(padded(config.max_num_batched_tokens))
        self._head = StepProgram(padded(config.max_num_seqs))
        with torch.no_grad():
            self._result = self._add_layers(PagedAttention(shape, config.block_size))
            self._add_head()
        self._body.compile()
        self._head.compile()

    @torch.inference_mode()
    def execute(self, step: SchedulerOutput) -> Tensor:
        """Move the blocks of a step, and compute it: logits [R, V], each sequence's last `num_logits` in order.

        The logits are overwritten by the next step. A scored prompt has more rows than the head's memory: it is
        computed in pieces.
        """
        self.cache.move(step)
        inputs, memory = StepInputs.of(step, self.cache.block_size), self._body.memory
        rows, tiles_W4 = len(inputs.tokens), _tiles(inputs)
        x_TD = memory["x0"][:rows]
        torch.index_select(self._embedding_VD, 0, torch.from_numpy(inputs.tokens), out=x_TD)
        if self._positions is not None:
            x_TD += self._positions[inputs.positions]
        step_arrays = {
            "positions": inputs.positions,
            "slots": inputs.slot_mapping,
            "tables": inputs.block_tables,
            "tiles": tiles_W4,
        }
        self._body.run(rows, {"tokens": rows, "G": inputs.block_tables.shape[1], "W": len(tiles_W4)}, step_arrays)
        pieces = torch.from_numpy(inputs.logits).split(self._head.rows)
        if len(pieces) == 1:
            return self._logits(pieces[0])
        return torch.cat([self._logits(rows_R).clone() for rows_R in pieces])

    def _logits(self, rows_R: Tensor) -> Tensor:
        """Logits [R, V] of these rows of the step, in the head's memory."""
        memory = self._head.memory
        torch.index_select(self._body.memory[self._result], 0, rows_R, out=memory["x"][: len(rows_R)])
        if len(rows_R):
            self._head.run(len(rows_R), {}, {})
        return memory["logits"][: len(rows_R)]

    def _add_layers(self, attention: PagedAttention) -> str:
        """Add the calls of all layers; the name of the memory in which the last one leaves its result."""
        body, model, config = self._body, self.model, self.model.config
        blocks = [_quantized(block, self.weight_dtype) for block in model.blocks]
        heads = config.n_heads * config.head_dim
        pre = ModuleKernels.of("pre", _PreAttention(blocks[0]), config.d_model)
        post = ModuleKernels.of("post", _PostAttention(blocks[0]), config.d_model, heads)
        for name, columns in (("x0", config.d_model), ("x1", config.d_model), ("mixed", heads)):
            body.hold(name, torch.zeros(body.rows, columns))
        rope = getattr(model, "rope", None)
        body.hold("cosines", rope.cos if rope else torch.zeros(1))
        body.hold("sines", rope.sin if rope else torch.zeros(1))
        for name in ("positions", "slots", "tables", "tiles"):  # each step brings its own
            body.hold(name, torch.zeros(1, dtype=torch.int32))
        for layer, block in enumerate(blocks):
            x, y = f"x{layer % 2}", f"x{(layer + 1) % 2}"
            keys, values = f"{layer}.keys", f"{layer}.values"
            body.hold(keys, self.cache.blocks_L2PONK[layer, 0])
            body.hold(values, self.cache.blocks_L2PONK[layer, 1])
            qkv = [f"pre.{name}" for name in pre.outputs]
            rotated = [*qkv, "cosines", "sines", "positions", "slots"]
            body.add(pre, f"{layer}.pre", _PreAttention(block), {pre.inputs[0]: x})
            body.call(attention, [*rotated, keys, values, "tables", "tiles", "mixed"], ["tokens", "G", "W"])
            (result,) = post.outputs
            names = dict(zip((*post.inputs, result), (x, "mixed", y), strict=True))
            body.add(post, f"{layer}.post", _PostAttention(block), names)
        return y

    def _add_head(self) -> None:
        head, model, config = self._head, self.model, self.model.config
        weight = model.embed.weight if config.tie_embeddings else model.head.weight
        module = _Head(model.norm, QuantizedLinear(weight, None, self.weight_dtype))
        kernels = ModuleKernels.of("head", module, config.d_model)
        head.hold("x", torch.zeros(head.rows, config.d_model))
        head.hold("logits", torch.zeros(head.rows, config.vocab_size))
        head.add(kernels, "head", module, {kernels.inputs[0]: "x", kernels.outputs[0]: "logits"})


def _quantized(block: TransformerBlock, weight_dtype: str) -> TransformerBlock:
    """A copy of a block, with its linear layers stored as `weight_dtype`."""
    block = copy.deepcopy(block)
    quantize_linears(block, weight_dtype)
    return block.eval()


def _tiles(inputs: StepInputs) -> np.ndarray:
    """[W, 4]: first row in the step, rows, sequence and first position of each tile; the longest work first."""
    tiles, rows = [], inputs.query_starts.tolist()
    for sequence, (row, stop, length) in enumerate(zip(rows, rows[1:], inputs.lengths.tolist(), strict=False)):
        start = length - (stop - row)
        tiles += [(at, min(TILE, stop - at), sequence, start + at - row) for at in range(row, stop, TILE)]
    tiles.sort(key=lambda tile: -tile[1] * (tile[1] + tile[3]))
    return np.array(tiles, np.int32)
