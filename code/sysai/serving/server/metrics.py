"""Metrics that Prometheus reads at `/metrics`: latencies as histograms, the present as gauges, the past as counters.

Names, units and meanings are vLLM's with `sysai_` in place of `vllm:`, so that its dashboards need one change. Times
are told when they are known; what the engine counts itself is read when asked for.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sysai.serving.core.sequence import FinishReason
from sysai.serving.engine.async_engine import AsyncEngine
from sysai.serving.engine.stream import CompletionRecord

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2.5, 5)


class Metrics:
    """The observer of an engine (see `stream.Observer`), once it is told to `watch` it."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def histogram(name: str, text: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
            return Histogram(f"sysai_{name}_seconds", text, buckets=buckets, registry=registry)

        self._ttft = histogram("time_to_first_token", "From arrival to the first token.")
        self._tpot = histogram("request_time_per_output_token", "Mean time of a token after the first.", _TOKEN_SECONDS)
        self._e2e = histogram("e2e_request_latency", "From arrival to the end.")
        self._queue = histogram("request_queue_time", "From arrival to the first step.")
        self._finished = Counter(
            "sysai_request_finished", "Completions that have ended.", ["finished_reason"], registry=registry
        )
        for reason in FinishReason:
            self._finished.labels(reason)

    def watch(self, engine: AsyncEngine) -> None:
        """Tell the engine's own counts, too, read whenever Prometheus asks."""
        self.registry.register(_EngineCollector(engine))

    def first_token(self, record: CompletionRecord) -> None:
        """A completion's first token has come."""
        self._ttft.observe(record.first_token - record.arrival)
        self._queue.observe(record.start - record.arrival)

    def finished(self, record: CompletionRecord) -> None:
        """A completion has ended; latencies are those of such as were completed."""
        self._finished.labels(record.finish_reason).inc()
        if record.finish_reason in (FinishReason.STOP, FinishReason.LENGTH):
            self._e2e.observe(record.end - record.arrival)
            if record.output_tokens > 1:
                self._tpot.observe((record.end - record.first_token) / (record.output_tokens - 1))

    def text(self) -> bytes:
        """All metrics in Prometheus's text form."""
        return generate_latest(self.registry)


class _EngineCollector(Collector):
    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        stats = self.engine.stats()
        for name, text, value in (
            ("num_requests_running", "Completions in the running batch.", stats.running),
            ("num_requests_waiting", "Completions accepted and not running.", stats.waiting),
            ("kv_cache_usage_perc", "Fraction of the blocks in use; 1 is all.", stats.cache_usage),
            ("engine_healthy", "1, or 0 if the engine has died.", float(self.engine.is_healthy)),
        ):
            yield GaugeMetricFamily(f"sysai_{name}", text, value)
        for name, text, value in (
            ("prompt_tokens", "Tokens of accepted prompts.", stats.prompt_tokens),
            ("generation_tokens", "Tokens generated.", stats.generated_tokens),
            ("prefix_cache_queries", "Tokens looked up in the prefix cache.", stats.prefix_queries),
            ("prefix_cache_hits", "Tokens found there.", stats.prefix_hits),
            ("num_preemptions", "Completions that had to give their blocks back.", stats.preemptions),
            ("failed_steps", "Steps of the engine that have failed.", stats.failed_steps),
        ):
            yield CounterMetricFamily(f"sysai_{name}", text, value)
