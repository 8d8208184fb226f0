"""The options of `sysai serve`. Standard library only: they are known before anything large is imported."""

import argparse
import os

WEIGHT_DTYPES = ("float32", "float16", "bfloat16", "int8")
RUNNERS = ("auto", "compiled", "torch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""

    def add(name: str, kind: type, default: object, text: str, **others: object) -> None:
        parser.add_argument(name, type=kind, default=default, help=text, **others)

    add("--model", str, "smollm2", "smollm2, which is fetched once, or the path of a GGUF file (default: smollm2)")
    add("--served-model-name", str, None, "the name that clients ask for (default: the model's)", metavar="NAME")
    add("--host", str, "127.0.0.1", "address to listen on; 0.0.0.0 for all networks (default: 127.0.0.1)")
    add("--port", int, 8000, "port to listen on; 0 for any that is free (default: 8000)")
    add("--api-key", str, os.environ.get("SYSAI_API_KEY"), "asked of clients (default: SYSAI_API_KEY, or none)")
    parser.add_argument("--allowed-origins", nargs="+", default=(), metavar="ORIGIN", help="whose pages a browser lets "
        "use the server (CORS), such as https://example.org; * for all (default: none)")  # fmt: skip
    add("--device", str, "auto", "cpu, cuda, ... (default: cuda if there is a GPU)")
    add("--weight-dtype", str, "float32", "how weights are stored (default: float32)", choices=WEIGHT_DTYPES)
    add("--runner", str, "auto", "compiled: kernels for the CPU, made by a C compiler; torch: any device (default: "
        "compiled on a CPU with a C compiler)", choices=RUNNERS)  # fmt: skip
    add("--max-model-len", int, None, "positions of prompt and answer at most (default: what model and cache have)")
    add("--max-num-seqs", int, 64, "completions computed at once (default: 64)")
    add("--max-waiting", int, 512, "completions that may wait for their turn (default: 512)")
    add("--max-num-batched-tokens", int, 512, "tokens of a step, which bounds how long it takes (default: 512)")
    cache = parser.add_mutually_exclusive_group()
    cache.add_argument("--cache-gb", type=float, default=1.0, help="GiB of keys and values (default: 1)")
    cache.add_argument("--num-blocks", type=int, default=None, help="instead, blocks of 16 positions")
    parser.add_argument("--no-enable-prefix-caching", action="store_true", help="don't keep prompts for those alike")
    add("--request-timeout", float, 600.0, "seconds that an answer may take (default: 600)")
