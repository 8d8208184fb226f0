"""The command itself: with the real model, and what it says when it can't."""

import argparse
import signal
import socket
import subprocess
import sys

import openai
import torch
from service import chat_tokenizer
from sysai import cli
from sysai.serving.runners import step_program
from sysai.serving.runners.compiled_runner import CompiledRunner
from sysai.serving.runners.model_runner import ModelRunner
from sysai.serving.server import build
from sysai.serving.server.arguments import add_arguments
from sysai.serving.server.build import build_engine
from sysai.serving.server.lifecycle import bind
from tiny_models import tiny_model


def test_the_real_model_answers(tokenizer):
    options = ["--port", "0", "--cache-gb", "0.1", "--served-model-name", "smol"]
    command = [sys.executable, "-m", "sysai", "serve", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        lines = [process.stdout.readline() for _ in range(5)]
        assert [line.split()[0] for line in lines] == ["model", "limits", "cache", "api", "address"]
        assert "smollm2, weights in float32, CompiledRunner on cpu" in lines[0]
        address = lines[4].split()[1]
        client = openai.OpenAI(base_url=address, api_key="any", max_retries=0, timeout=120)
        messages = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
        answer = client.chat.completions.create(model="smol", messages=messages, max_tokens=12, temperature=0)
        assert "Paris" in answer.choices[0].message.content
        prompt = tokenizer.apply_chat_template(messages)
        assert answer.usage.prompt_tokens == len(tokenizer.encode(prompt))
        text = client.completions.create(model="smol", prompt=prompt, max_tokens=12, temperature=0).choices[0].text
        assert text == answer.choices[0].message.content
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


def test_the_engine_is_built_as_the_options_say(monkeypatch):
    """With a tiny model in the place of the file's."""
    monkeypatch.setattr(build, "fetch_smollm2", lambda: None)
    monkeypatch.setattr(build, "open_gguf", lambda path: path)
    monkeypatch.setattr(build, "load_gguf", lambda reader, device, dtype: tiny_model().to(device, dtype))
    monkeypatch.setattr(build.Tokenizer, "from_gguf", lambda reader: chat_tokenizer())
    monkeypatch.setattr(step_program, "FEW_ROWS", (1, 8))

    def engine_of(*options):
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        return build_engine(parser.parse_args([*options, "--device", "cpu", "--max-num-seqs", "9"]))

    engine = engine_of("--weight-dtype", "int8", "--cache-gb", "0.001", "--max-num-batched-tokens", "30")
    config, block = engine.scheduler.config, 16 * 2 * 2 * 2 * 8 * 4  # positions, layers, keys and values, heads, floats
    assert (type(engine.runner), engine.runner.weight_dtype) == (CompiledRunner, "int8")
    assert (config.num_blocks, config.max_num_batched_tokens, config.max_num_seqs) == (
        int(0.001 * 2**30 / block),
        30,
        9,
    )
    assert config.prefix_caching
    engine = engine_of(
        "--runner", "torch", "--weight-dtype", "bfloat16", "--num-blocks", "20", "--no-enable-prefix-caching"
    )
    assert (type(engine.runner), engine.runner.model.dtype) == (ModelRunner, torch.bfloat16)
    assert engine.scheduler.config.num_blocks == 20
    assert not engine.scheduler.config.prefix_caching


def test_what_can_not_be_had_is_one_line(capsys, monkeypatch, tmp_path):
    def complaint(*options, code):
        assert cli.main(["serve", *options]) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        return captured.err

    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"127.0.0.1:{port} can't be had" in complaint("--port", port, code=1)
    assert "can't be had" in complaint("--port", "70000", code=1)
    assert "can't be had" in complaint("--host", "no.such.host.invalid", code=1)
    assert "max_waiting must be positive" in complaint("--max-waiting", "0", code=2)
    eight_bits = ("--port", "0", "--weight-dtype", "int8")
    assert "int8 is for compiled kernels" in complaint(*eight_bits, "--runner", "torch", code=1)
    monkeypatch.setenv("CC", "no-such-compiler")
    assert "$CC is 'no-such-compiler', which is not found" in complaint(*eight_bits, code=1)
    monkeypatch.delenv("CC")
    assert "can't be read" in complaint("--port", "0", "--model", str(tmp_path / "none.gguf"), code=1)
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    assert "no whole GGUF file" in complaint("--port", "0", "--model", str(tmp_path / "broken.gguf"), code=1)
    monkeypatch.delitem(sys.modules, "sysai.serving.server.lifecycle")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "uvicorn is not installed: pip install 'sysai[serve]'" in complaint("--port", "0", code=2)


def test_bind_takes_both_families():
    for host in ("127.0.0.1", "::1"):
        try:
            listener = bind(host, 0)
        except OSError:
            assert host == "::1", "a machine without IPv6"
            continue
        assert listener.family == (socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.close()
