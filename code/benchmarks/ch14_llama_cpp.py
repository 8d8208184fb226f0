"""llama.cpp on SmolLM2, for chapter 14's benchmarks: through llama-cpp-python's plain bindings, in this process.

    pip install llama-cpp-python        builds llama.cpp for this machine, in some minutes; it wants a C++ compiler

Its files of other types are made by llama.cpp from the one file that sysai has, into sysai's cache: F32 and F16 hold
the same weights as ours (F16 rounded), Q8_0 blocks of 32 weights of 8 bits with a scale of 16.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from sysai.models.smollm2 import cache_folder, fetch_smollm2

try:
    import llama_cpp
except ImportError:
    llama_cpp = None

FILE_TYPES = {"F32": 0, "F16": 1, "Q8_0": 7, "Q4_1": 3}  # llama.h, enum llama_ftype
MISSING = "llama.cpp is left out: pip install llama-cpp-python"


def model_file(kind: str) -> Path:
    """SmolLM2 in one of FILE_TYPES, made if it is not in the cache yet."""
    source = fetch_smollm2()
    if kind == "Q4_1":
        return source
    target = cache_folder() / f"SmolLM2-135M-Instruct.{kind}.gguf"
    if not target.exists():
        _be_quiet()
        fresh = target.with_suffix(f".{os.getpid()}")
        params = llama_cpp.llama_model_quantize_default_params()
        params.ftype, params.allow_requantize = FILE_TYPES[kind], True
        if llama_cpp.llama_model_quantize(str(source).encode(), str(fresh).encode(), ctypes.byref(params)):
            raise RuntimeError(f"llama.cpp could not make {target.name} from {source}")
        os.replace(fresh, target)
    return target


class LlamaCpp:
    """A model, and memory for `sequences` of `positions` each; keys and values in 16 bits, its default.

    Like llama-batched-bench it is given steps; unlike it, it takes the likeliest token of each row.
    """

    def __init__(self, kind: str, sequences: int, positions: int, threads: int) -> None:
        self.kv_bytes = 2
        _be_quiet()
        self._model = llama_cpp.llama_model_load_from_file(
            str(model_file(kind)).encode(), llama_cpp.llama_model_default_params()
        )
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_seq_max, params.kv_unified = sequences * positions, sequences, False
        params.n_batch = params.n_ubatch = 512
        params.n_threads = params.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        assert self._context, "llama.cpp could not allocate its memory"
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(512, 0, 1)
        self._held: list[Sequence[int]] = []  # the context of each sequence
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))

    def close(self) -> None:
        """Give everything back."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def prefill(self, prompt: Sequence[int]) -> Callable[[], list[list[int]]]:
        """A program that reads the prompt into an empty memory, and takes the likeliest token."""

        def program() -> list[list[int]]:
            llama_cpp.llama_memory_clear(self._memory, False)
            self._held = []
            return [self._pass([(token, i, 0) for i, token in enumerate(prompt)], 1)]

        return program

    def decode(self, prompts: Sequence[Sequence[int]], steps: int) -> Callable[[], list[list[int]]]:
        """A program that goes on with each prompt for `steps` tokens; all but its last token are in the memory.

        At least once they have run: those that are not yet there are read first.
        """
        context = len(prompts[0]) - 1

        def program() -> list[list[int]]:
            for sequence, prompt in enumerate(prompts):
                self._hold(sequence, prompt[:context])
            rows, taken = [prompt[-1] for prompt in prompts], []
            for step in range(steps):
                rows = self._pass([(token, context + step, i) for i, token in enumerate(rows)], len(rows))
                taken.append(rows)
            return [list(tokens) for tokens in zip(*taken, strict=True)]

        return program

    def _hold(self, sequence: int, context: Sequence[int]) -> None:
        """See that a sequence's memory holds just the context; sequences come to it in order."""
        known = sequence < len(self._held) and self._held[sequence] == context
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, len(context) if known else 0, -1)
        if not known:
            for start in range(0, len(context), 512):
                chunk = context[start : start + 512]
                self._pass([(token, start + i, sequence) for i, token in enumerate(chunk)], 1)
            self._held[sequence : sequence + 1] = [context]

    def _pass(self, tokens: Sequence[tuple[int, int, int]], outputs: int) -> list[int]:
        """Compute (token, position, sequence)s; the likeliest token after each of the last `outputs`."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, (token, position, sequence) in enumerate(tokens):
            batch.token[i], batch.pos[i] = token, position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
            batch.logits[i] = i >= len(tokens) - outputs
        status = llama_cpp.llama_decode(self._context, batch)
        assert status == 0, f"llama_decode: {status}"
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits(self._context), (outputs, self._vocabulary))
        return logits.argmax(-1).tolist()


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def _ignore(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    """What llama.cpp has to say while it loads and converts."""


def _be_quiet() -> None:
    llama_cpp.llama_log_set(_ignore, ctypes.c_void_p(0))
