"""Chapter 14: decode and prefill of SmolLM2-135M, our engine beside transformers and llama.cpp, on the same weights.

Each pair runs interleaved in one process (ours, theirs, theirs, ours), and the median of the rounds' ratios is the
result: above 1 ours is faster. A sample of decode begins with `--context` positions in everybody's cache and lets each
sequence of the batch take its likeliest token, step after step. Ours is the whole engine, from scheduler to text;
theirs is the pass and an argmax. Their caches go back to the context between samples, ours finds it in its prefix
cache. A context of 192 is what 128 tokens after a prompt of 128 have on average. A sample of prefill reads a whole
prompt and gives one token. "same" is the share of tokens in which both agree: of 16 and 8 bits not all.

The roofline is the bytes and FLOPs of sysai.models.formulas (weights as they are stored, keys and values in 4 bytes,
llama.cpp's in 2, as everybody has them) over the rates measured in the same run.

    python code/benchmarks/ch14_decode.py [--batches 1 2 4 8 32 64] [--only llama.cpp ...] [--rounds 5]
    python code/benchmarks/ch14_decode.py --record
    python code/benchmarks/ch14_decode.py --profile [--batches 1 32]        where a step of ours goes
"""

import argparse
import copy
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial

import torch
from ch14_llama_cpp import MISSING, LlamaCpp, llama_cpp
from ch14_profile import print_profile
from ch14_record import header, record
from sysai.core.benchmark import Comparison, compare
from sysai.hardware.rates import measure_matmul_rate, measure_read_bandwidth
from sysai.models.as_transformers import as_transformers
from sysai.models.formulas import decode_bytes, forward_flops, kv_cache_bytes, prefill_bytes
from sysai.models.presets import SMOLLM2_135M
from sysai.models.tokenizer import Tokenizer
from sysai.models.transformer import Transformer
from sysai.models.weights import load_smollm2
from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.engine.llm_engine import Engine
from sysai.serving.runners.compiled_runner import CompiledRunner
from sysai.serving.runners.model_runner import ModelRunner
from transformers import DynamicCache

WEIGHT_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "F32": 4, "F16": 2, "Q8_0": 34 / 32}
PAIRS = (  # our runner and its weights, theirs and its weights, the largest batch
    ("compiled float32", "transformers float32", 64),
    ("compiled float32", "llama.cpp F32", 64),
    ("compiled bfloat16", "transformers bfloat16", 1),  # whose larger products are far slower still on most CPUs
    ("compiled float16", "llama.cpp F16", 64),
    ("compiled bfloat16", "llama.cpp F16", 64),
    ("compiled int8", "llama.cpp Q8_0", 64),
    ("torch float32", "transformers float32", 64),
)
BLOCK_SIZE = 16
Program = Callable[[], list[list[int]]]  # gives the tokens of each sequence


class Ours:
    """The engine on a runner."""

    def __init__(self, model: Transformer, tokenizer: Tokenizer, name: str, batch: int, positions: int) -> None:
        blocks = batch * -(-positions // BLOCK_SIZE) + 2
        self.config = SchedulerConfig(blocks, BLOCK_SIZE, max_num_batched_tokens=512, max_num_seqs=batch, watermark=0.0)
        kind, weight_dtype = name.split()
        runner = partial(CompiledRunner, weight_dtype=weight_dtype) if kind == "compiled" else ModelRunner
        self.engine = Engine(model, tokenizer, self.config, make_runner=runner)
        self.kv_bytes = 4

    def prefill(self, prompt: Sequence[int]) -> Program:
        """Read the prompt, of which nothing is in the cache, and take a token."""

        def program() -> list[list[int]]:
            self.engine.scheduler.memory.cache.evict(self.config.num_blocks)
            return self._generate([prompt], 1)

        return program

    def decode(self, prompts: Sequence[Sequence[int]], steps: int) -> Program:
        """`steps` tokens after each prompt; all of it but the last token is in the prefix cache, once it has run."""
        assert (len(prompts[0]) - 1) % BLOCK_SIZE == 0, "the prefix cache keeps whole blocks"
        return lambda: self._generate(prompts, steps)

    def _generate(self, prompts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
        params = SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True)
        return [list(made.outputs[0].token_ids) for made in self.engine.generate(prompts, params)]


class Transformers:
    """transformers' Llama with its default cache, which grows by concatenation."""

    def __init__(self, model: Transformer, dtype: torch.dtype) -> None:
        self.model = as_transformers(model)
        if dtype != model.dtype:  # a copy: these are our very tensors
            self.model = copy.deepcopy(self.model).to(dtype)
            self.model.model.rotary_emb.float()
        self.kv_bytes = dtype.itemsize

    def prefill(self, prompt: Sequence[int]) -> Program:
        """Read the prompt into a fresh cache, and take a token."""
        tokens_BT = torch.tensor([prompt])
        return lambda: self.model(tokens_BT, use_cache=True, logits_to_keep=1).logits[:, -1:].argmax(-1).tolist()

    def decode(self, prompts: Sequence[Sequence[int]], steps: int) -> Program:
        """`steps` tokens after each prompt; all of it but the last token is in the cache."""
        tokens_BT = torch.tensor(prompts)
        parts = [  # a few at a time: of all at once the logits alone would take gigabytes
            self.model(part_BT[:, :-1], use_cache=True, logits_to_keep=1).past_key_values
            for part_BT in tokens_BT.split(8)
        ]
        layers = [
            tuple(torch.cat([getattr(part.layers[i], name) for part in parts]) for name in ("keys", "values"))
            for i in range(len(parts[0].layers))
        ]

        def program() -> list[list[int]]:
            past, rows_B1, taken = DynamicCache(layers), tokens_BT[:, -1:], []
            for _ in range(steps):
                rows_B1 = self.model(rows_B1, past_key_values=past, use_cache=True).logits[:, -1:].argmax(-1)
                taken.append(rows_B1)
            return torch.cat(taken, 1).tolist()

        return program


class Bench:
    """All contestants, made when they are first asked for, and the prompts that they are given."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, generator = options, random.Random(options.seed)
        self.model, self.tokenizer = load_smollm2("cpu")
        self.batch, self.positions = max(options.batches), max(options.context + 1 + options.tokens, options.prefill)
        longest = max(options.context + 1, options.prefill)
        vocabulary = len(self.tokenizer)
        self.prompts = [[generator.randrange(vocabulary) for _ in range(longest)] for _ in range(self.batch)]
        self.contestant, self.decode = cache(self._contestant), cache(self._decode)

    def _contestant(self, name: str) -> Ours | Transformers | LlamaCpp:
        kind, dtype = name.split()
        if kind == "transformers":
            return Transformers(self.model, getattr(torch, dtype))
        if kind == "llama.cpp":
            return LlamaCpp(dtype, self.batch, self.positions, torch.get_num_threads())
        return Ours(self.model, self.tokenizer, name, self.batch, self.positions)

    def steps(self, batch: int) -> int:
        """Steps of a sample: fewer where each takes longer."""
        return max(4, self.options.tokens // batch)

    def _decode(self, name: str, batch: int, context: int | None = None) -> Program:
        prompts = [prompt[: (context or self.options.context) + 1] for prompt in self.prompts[:batch]]
        return self.contestant(name).decode(prompts, self.steps(batch))

    def prefill(self, name: str) -> Program:
        """A contestant's program."""
        return self.contestant(name).prefill(self.prompts[0][: self.options.prefill])


def limit(name: str, bench: Bench, batch: int, rates: dict[str, float]) -> float:
    """Tokens a second that bytes and FLOPs allow; batch 0 is prefill."""
    width, kv, config = WEIGHT_BYTES[name.split()[1]], bench.contestant(name).kv_bytes, SMOLLM2_135M
    tokens, context = bench.options.prefill, bench.options.context
    if batch:
        keys = kv_cache_bytes(config, batch, context + 1, 1)
        moved = (decode_bytes(config, batch, context, 1) - keys) * width + keys * kv
        return batch / max(moved / rates["bandwidth"], forward_flops(config, batch, 1, context).total / rates["flops"])
    moved = prefill_bytes(config, 1, tokens, 1) * width
    return tokens / max(moved / rates["bandwidth"], forward_flops(config, 1, tokens, 0, True).total / rates["flops"])


def measure(bench: Bench, ours: str, theirs: str, batch: int, rates: dict[str, float]) -> dict:
    """One row of the table; batch 0 is prefill."""
    programs = {name: bench.decode(name, batch) if batch else bench.prefill(name) for name in (theirs, ours)}
    made = [program() for program in programs.values()]  # warms up, too
    same = [ours == theirs for pair in zip(*made, strict=True) for ours, theirs in zip(*pair, strict=True)]
    result: Comparison = compare(programs, bench.options.rounds, warmup=0)
    tokens = batch * bench.steps(batch) if batch else bench.options.prefill
    speeds = {name: tokens / timing.median for name, timing in result.timings.items()}
    return {
        "phase": f"decode, batch {batch}" if batch else f"prefill of {tokens}",
        "batch": batch,
        "ours": ours,
        "theirs": theirs,
        "tokens_per_second": speeds[ours],
        "their_tokens_per_second": speeds[theirs],
        "ratio": result.ratio,
        "ratio_low": result.ratio_low,
        "ratio_high": result.ratio_high,
        "roofline": speeds[ours] / limit(ours, bench, batch, rates),
        "same_tokens": sum(same) / len(same),
        "their_roofline": speeds[theirs] / limit(theirs, bench, batch, rates),
    }


def rows(bench: Bench, pairs: Iterable[tuple[str, str, int]], rates: dict[str, float]) -> Iterator[dict]:
    """Measure everything that was asked for, printing each row."""
    for batch in (*([0] if bench.options.prefill else []), *bench.options.batches):
        for ours, theirs, most in pairs:
            if batch <= most:
                row = measure(bench, ours, theirs, batch, rates)
                show(row)
                yield row


def show(row: dict) -> None:
    """One line."""
    ours = f"{row['ours']:18} {row['tokens_per_second']:7.1f}/s {row['roofline']:4.0%} of roofline"
    theirs = f"{row['theirs']:21} {row['their_tokens_per_second']:7.1f}/s {row['their_roofline']:4.0%}"
    ratio = f"{row['ratio']:5.2f}x ({row['ratio_low']:.2f} to {row['ratio_high']:.2f}), same {row['same_tokens']:.0%}"
    print(f"{row['phase']:17} {ours}  {theirs}  {ratio}", flush=True)


@torch.inference_mode()
def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 2, 4, 8, 32, 64])
    parser.add_argument("--context", type=int, default=192, help="positions in the cache, a multiple of 16")
    parser.add_argument("--tokens", type=int, default=32, help="of a sample, over its batch; at least 4 each")
    parser.add_argument("--prefill", type=int, default=512, help="tokens of the prompt; 0 for no prefill")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=(), help="parts of names: of pairs that have one of them")
    parser.add_argument("--record", action="store_true", help="for the chapter, in sysai.recorded")
    parser.add_argument("--profile", action="store_true", help="where a step of ours goes, instead")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    bench = Bench(options)
    if options.profile:
        for name in dict.fromkeys(ours for ours, _, _ in PAIRS):
            if not options.only or any(part in name for part in options.only):
                for batch in options.batches:
                    programs = (bench.decode(name, batch), bench.decode(name, batch, BLOCK_SIZE))
                    print_profile(f"{name}, batch {batch}", bench.contestant(name).engine, *programs)
        return
    rates = {"bandwidth": measure_read_bandwidth("cpu"), "flops": measure_matmul_rate("cpu", size=1024)}
    print(f"{header(rates)['hardware']}: {rates['bandwidth'] / 1e9:.1f} GB/s, {rates['flops'] / 1e9:.0f} GFLOP/s")
    if llama_cpp is None:
        print(MISSING)
    pairs = [
        pair
        for pair in PAIRS
        if (not options.only or any(part in name for part in options.only for name in pair[:2]))
        and (llama_cpp is not None or not pair[1].startswith("llama.cpp"))
    ]
    found = list(rows(bench, pairs, rates))
    if options.record:
        record("ch14_decode", rates, decode=found)


if __name__ == "__main__":
    main()
