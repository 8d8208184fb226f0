"""Chapter 14: what fewer bits for weights, or for keys and values, do to SmolLM2-135M's predictions.

The model reads Python's documentation, every token predicted from those before it in its chunk, once as it is and once
with each format; what a format stands for is rounded and put back into float32, so that only the rounding differs.

    perplexity   exp(mean negative log-likelihood of the next token)
    divergence   mean KL(p || q) in nats, p the model as it is and q with the format: of all words, not of one
    agreement    share of positions with the same likeliest token

Weights: a scale for each row of a matrix, as `quantized_linear` has it, or for 32 weights of a row, as llama.cpp's Q8_0
and Q4_0 have; embedding and norms stay. Keys (turned to their position) and values: a scale for each position and head.
Rounding is to the nearest; the largest absolute value is the largest code. The file's own weights were rounded to 4
bits before (Q4_1, 32 weights a group): it is a second rounding that is measured.

    python code/benchmarks/ch14_quantization.py [--chunks 4] [--length 512] [--record]
"""

import argparse
import copy
import math
from collections.abc import Callable, Iterator
from functools import partial
from pydoc_data.topics import topics

import torch
from ch14_record import header, record
from sysai.hardware.rates import measure_matmul_rate, measure_read_bandwidth
from sysai.models.kv_cache import KVCache
from sysai.models.transformer import Transformer
from sysai.models.weights import load_smollm2
from torch import Tensor, nn

Rounding = Callable[[Tensor], Tensor]  # [..., K] to what a format keeps of it


def rounded_to(dtype: torch.dtype) -> Rounding:
    """Values as floating-point numbers of fewer bits."""
    return lambda x: x.to(dtype).to(x.dtype)


def rounded_to_integers(bits: int, group: int | None = None) -> Rounding:
    """Values as signed integers, with a scale for each `group` along the last dimension, or for all of it."""
    largest = 2 ** (bits - 1) - 1

    def rounding(x: Tensor) -> Tensor:
        grouped = x.unflatten(-1, (-1, group)) if group else x
        scale = grouped.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny) / largest
        return ((grouped / scale).round() * scale).view_as(x)

    return rounding


WEIGHTS: dict[str, Rounding] = {
    "bfloat16": rounded_to(torch.bfloat16),
    "int8, a scale for a row": rounded_to_integers(8),
    "int8, a scale for 32": rounded_to_integers(8, 32),
    "int4, a scale for a row": rounded_to_integers(4),
    "int4, a scale for 32": rounded_to_integers(4, 32),
}
CACHES: dict[str, Rounding] = {
    "bfloat16": rounded_to(torch.bfloat16),
    "fp8 (e4m3)": rounded_to(torch.float8_e4m3fn),
    "int8, a scale for a head": rounded_to_integers(8),
    "int4, a scale for a head": rounded_to_integers(4),
}


class RoundedKVCache(KVCache):
    """Keys and values as a format keeps them."""

    def __init__(self, rounding: Rounding, *arguments: object) -> None:
        super().__init__(*arguments)
        self.rounding = rounding

    def update(self, layer: int, *new_BNTK: Tensor) -> list[Tensor]:
        """Round the new positions before they are written."""
        return super().update(layer, *map(self.rounding, new_BNTK))


def with_rounded_weights(model: Transformer, rounding: Rounding) -> Transformer:
    """A copy whose linear layers' weights are rounded; a head that is the embedding's matrix gets its own."""
    model = copy.deepcopy(model)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.weight = nn.Parameter(rounding(layer.weight.detach()))
    return model


def log_probabilities(model: Transformer, chunks_CT: Tensor, rounding: Rounding | None = None) -> Iterator[Tensor]:
    """Of every next token, chunk by chunk, [T - 1, V]; keys and values as `rounding` keeps them."""
    for chunk_T in chunks_CT:
        sizes = (model.config, 1, len(chunk_T) - 1)
        cache = KVCache(*sizes) if rounding is None else RoundedKVCache(rounding, *sizes)
        yield model(chunk_T[None, :-1], cache)[0].log_softmax(-1)


def compare(model: Transformer, chunks_CT: Tensor, formats: dict[str, Iterator[Tensor]]) -> dict[str, dict[str, float]]:
    """Perplexity, divergence and agreement of each format, beside the model as it is."""
    sums = {name: torch.zeros(3, dtype=torch.float64) for name in formats}
    positions = chunks_CT[:, 1:].numel()
    for i, exact_TV in enumerate(log_probabilities(model, chunks_CT)):
        targets_T1 = chunks_CT[i, 1:, None]
        for name, found in formats.items():
            found_TV = next(found)
            loss = -found_TV.gather(1, targets_T1).sum()
            divergence = (exact_TV.exp() * (exact_TV - found_TV)).sum()
            same = (exact_TV.argmax(-1) == found_TV.argmax(-1)).sum()
            sums[name] += torch.stack([loss, divergence, same]).double()
    rows = {}
    for name, (loss, divergence, same) in ((name, total / positions) for name, total in sums.items()):
        figures = (math.exp(loss), float(divergence), float(same))
        rows[name] = dict(zip(("perplexity", "divergence", "agreement"), figures, strict=True))
        print(f"{name:34} perplexity {figures[0]:8.3f}, KL {figures[1]:.5f}, same {figures[2]:.1%}", flush=True)
    return rows


@torch.inference_mode()
def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--length", type=int, default=512, help="tokens of a chunk")
    parser.add_argument("--record", action="store_true", help="for the chapter, in sysai.recorded")
    options = parser.parse_args()
    rates = {"bandwidth": measure_read_bandwidth("cpu"), "flops": measure_matmul_rate("cpu", size=1024)}
    print(header(rates)["hardware"])
    model, tokenizer = load_smollm2("cpu")
    tokens = tokenizer.encode("\n".join(topics[name] for name in sorted(topics)))
    chunks_CT = torch.tensor(tokens[: options.chunks * options.length]).view(options.chunks, -1)
    read = partial(log_probabilities, chunks_CT=chunks_CT)
    formats = {"as it is": read(model)}
    formats |= {f"weights, {name}": read(with_rounded_weights(model, one)) for name, one in WEIGHTS.items()}
    formats |= {f"cache, {name}": read(model, rounding=one) for name, one in CACHES.items()}
    rows = {"tokens": chunks_CT.numel(), "formats": compare(model, chunks_CT, formats)}
    if options.record:
        record("ch14_quantization", rates, contestants=(), quality=rows)


if __name__ == "__main__":
    main()
