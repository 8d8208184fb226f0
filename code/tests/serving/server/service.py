"""A real server on a loopback port, in a thread of this process, over a tiny model."""

import asyncio
import threading
import time
from dataclasses import replace

import httpx2
import openai
from sysai.models.tokenizer import _SYMBOL_OF_BYTE, Tokenizer
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.engine.llm_engine import Engine
from sysai.serving.server.lifecycle import bind, serve
from sysai.serving.server.limits import ServerLimits
from tiny_models import END, tiny_model

CONFIG = SchedulerConfig(num_blocks=256, block_size=8, max_num_batched_tokens=128, max_num_seqs=16, max_model_len=500)
PATIENCE = 30  # seconds without a byte or an end, after which a test fails
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ':' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)


def chat_tokenizer() -> Tokenizer:
    symbols = [_SYMBOL_OF_BYTE[byte] for byte in range(256)]
    return Tokenizer([*symbols, "<|end|>"], [], special_ids=[END], eos_id=END, chat_template=TEMPLATE)


def tiny_engine(step_seconds: float = 0.0, **changes) -> Engine:
    """An engine whose every step is checked, and takes at least so long."""
    engine = Engine(tiny_model(max_positions=512), chat_tokenizer(), replace(CONFIG, **changes))
    plain = engine.step

    def step():
        chunks = plain()
        time.sleep(step_seconds)
        engine.scheduler.check_invariants()
        return chunks

    engine.step = step
    return engine


class Service:
    """`with Service(engine) as service`: serves until the end of the block."""

    def __init__(self, engine: Engine, api_key: str | None = None, allowed_origins=(), **limits) -> None:
        self.engine, self.api_key, self.limits = engine, api_key, ServerLimits(**limits)
        self.allowed_origins = allowed_origins
        self.listener = bind("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)  # one that does not end holds up no exit

    def _run(self) -> None:
        options = (self.limits, self.api_key, self._note, self.allowed_origins)
        asyncio.run(serve(self.engine, self.listener, "tiny", *options))

    def _note(self, server) -> None:
        self.server = server
        self._ready.set()

    def __enter__(self) -> "Service":
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_) -> None:
        self.server.should_exit = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the server does not end"

    def client(self, **options) -> openai.OpenAI:
        options = {"api_key": "any", "max_retries": 0, "timeout": PATIENCE} | options
        return openai.OpenAI(base_url=f"{self.url}/v1", **options)

    def async_client(self, **options) -> openai.AsyncOpenAI:
        options = {"api_key": "any", "max_retries": 0, "timeout": PATIENCE} | options
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", **options)

    def post(self, path: str, **options) -> httpx2.Response:
        return httpx2.post(self.url + path, timeout=PATIENCE, **options)

    def get(self, path: str, **options) -> httpx2.Response:
        return httpx2.get(self.url + path, timeout=PATIENCE, **options)

    def wait_until(self, condition, seconds: float = PATIENCE) -> None:
        """Until what another thread does is done."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it does not happen"
            time.sleep(0.005)

    def wait_until_idle(self) -> None:
        """Until no request is left, and then no block is held."""
        self.wait_until(lambda: not self.engine.has_work)
        assert self.engine.scheduler.memory.pool.num_available == self.engine.scheduler.config.num_blocks
