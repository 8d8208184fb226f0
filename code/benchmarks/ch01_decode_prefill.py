"""Chapter 01: prefill and decode of SmolLM2-135M, ours beside transformers, on the same weights in fp32.

Both run in one process, interleaved (ours, theirs, theirs, ours); the ratio is the result. Then each of our
phases is predicted from its FLOPs or bytes and the rates measured on this machine.

    python code/benchmarks/ch01_decode_prefill.py [--tokens 512] [--rounds 5] [--device auto]
"""

import argparse

import torch
import transformers
from sysai.core.benchmark import compare
from sysai.core.device import describe_device, select_device
from sysai.hardware.rates import measure_matmul_rate, measure_matvec_bandwidth
from sysai.models.as_transformers import as_transformers
from sysai.models.formulas import decode_bytes, forward_flops
from sysai.models.kv_cache import KVCache
from sysai.models.weights import load_smollm2


def prefill_programs(model, theirs, tokens_BT):
    """One pass over the prompt that fills a fresh cache and scores the last position."""

    def ours():
        cache = KVCache(model.config, 1, tokens_BT.shape[1] + 1, model.device, model.dtype)
        return model(tokens_BT, cache, last_only=True)

    return {"ours": ours, "transformers": lambda: theirs(tokens_BT, use_cache=True, logits_to_keep=1).logits}


def decode_programs(model, theirs, tokens_BT):
    """One step after the prompt; afterwards each forgets the step, so that every step has the same context."""
    context, next_B1 = tokens_BT.shape[1], tokens_BT[:, :1]
    cache = KVCache(model.config, 1, context + 1, model.device, model.dtype)
    model(tokens_BT, cache, last_only=True)
    their_cache = theirs(tokens_BT, use_cache=True).past_key_values

    def ours():
        cache.length = context
        return model(next_B1, cache)

    def of_transformers():
        logits = theirs(next_B1, past_key_values=their_cache, use_cache=True).logits
        their_cache.crop(-1)  # a negative number removes so many
        return logits

    return {"ours": ours, "transformers": of_transformers}


@torch.inference_mode()
def main() -> None:
    """Measure, compare, predict, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=512, help="length of the prompt")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = select_device(options.device)
    print(f"{describe_device(device)}, transformers {transformers.__version__}")

    model, _ = load_smollm2(device)
    theirs = as_transformers(model)
    generator = torch.Generator().manual_seed(0)
    tokens_BT = torch.randint(model.config.vocab_size, (1, options.tokens), generator=generator).to(device)
    flops = forward_flops(model.config, 1, options.tokens, last_only=True).total
    moved = decode_bytes(model.config, 1, options.tokens)
    print(f"prefill {options.tokens} tokens: {flops / 1e9:.1f} GFLOP; decode after them: {moved / 1e6:.0f} MB")
    phases = {
        "prefill": (prefill_programs, flops, measure_matmul_rate),
        "decode": (decode_programs, moved, measure_matvec_bandwidth),
    }
    for phase, (programs, work, measure_rate) in phases.items():
        pair = programs(model, theirs, tokens_BT)
        difference = float((pair["ours"]() - pair["transformers"]()).abs().max())
        predicted = work / measure_rate(device)
        result = compare(pair, options.rounds, device=device)
        measured = result.timings["ours"].median
        print(f"{phase}: {result}; largest logit difference {difference:.1e}")
        print(
            f"{phase}: predicted {predicted * 1e3:.1f} ms, measured {measured * 1e3:.1f} ms: "
            f"measured/predicted = {measured / predicted:.2f}"
        )


if __name__ == "__main__":
    main()
