"""From the options of `sysai serve` to an engine: the one place where model, weights, memory and limits meet."""

import argparse
from functools import partial
from pathlib import Path

import torch

from sysai.compiler.codegen.toolchain import find_compiler
from sysai.compiler.errors import ToolchainError
from sysai.core.device import select_device
from sysai.models.config import ModelConfig
from sysai.models.gguf_file import open_gguf
from sysai.models.smollm2 import fetch_smollm2
from sysai.models.tokenizer import Tokenizer
from sysai.models.weights import load_gguf
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.engine.llm_engine import Engine
from sysai.serving.runners.compiled_runner import CompiledRunner
from sysai.serving.runners.model_runner import ModelRunner

BLOCK_SIZE = 16
_GIB = 2**30


def build_engine(options: argparse.Namespace) -> Engine:
    """Load the model and allocate the cache.

    Raises:
        ValueError: options that don't go together, or a file that is no such model. WeightsError: no model to be had.
            ToolchainError: kernels are asked for, and there is no C compiler, or it fails.
    """
    device = select_device(options.device)
    compiled = _compiles(options, device)
    dtype = torch.float32 if compiled else getattr(torch, options.weight_dtype)
    reader = open_gguf(fetch_smollm2() if options.model == "smollm2" else options.model)
    model, tokenizer = load_gguf(reader, device, dtype), Tokenizer.from_gguf(reader)
    num_blocks = options.num_blocks
    if num_blocks is None:
        num_blocks = int(options.cache_gb * _GIB / block_bytes(model.config, dtype))
    config = SchedulerConfig(
        num_blocks=num_blocks,
        block_size=BLOCK_SIZE,
        max_num_batched_tokens=options.max_num_batched_tokens,
        max_num_seqs=options.max_num_seqs,
        prefix_caching=not options.no_enable_prefix_caching,
        max_model_len=options.max_model_len,
    )
    make_runner = partial(CompiledRunner, weight_dtype=options.weight_dtype) if compiled else ModelRunner
    try:
        return Engine(model, tokenizer, config, make_runner=make_runner)
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        raise ValueError(f"there is no memory for {num_blocks} blocks: lower --cache-gb or --num-blocks") from None


def _compiles(options: argparse.Namespace, device: torch.device) -> bool:
    """Whether steps are executed by compiled kernels.

    Raises:
        ValueError: weights or a device that the chosen runner does not have. ToolchainError: as for `build_engine`.
    """
    compiled = options.runner == "compiled" or (options.runner == "auto" and device.type == "cpu")
    if compiled:
        if device.type != "cpu":
            raise ValueError(f"--runner compiled is for the CPU, not for {device}: choose --device cpu, or torch")
        try:
            find_compiler()
        except ToolchainError:
            if options.runner == "compiled" or options.weight_dtype == "int8":
                raise
            compiled = False
    if not compiled and options.weight_dtype == "int8":
        raise ValueError(
            "--weight-dtype int8 is for compiled kernels on the CPU: choose bfloat16, or --runner compiled"
        )
    return compiled


def model_name(options: argparse.Namespace) -> str:
    """The name that clients ask for."""
    return options.served_model_name or Path(options.model).stem


def block_bytes(config: ModelConfig, dtype: torch.dtype) -> int:
    """Bytes of one block: the keys and values of its positions in all layers."""
    return BLOCK_SIZE * config.n_layers * 2 * config.n_kv_heads * config.head_dim * dtype.itemsize
