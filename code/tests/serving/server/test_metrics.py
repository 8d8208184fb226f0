"""The metrics that Prometheus reads agree with what was asked and answered."""

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families
from service import Service, tiny_engine
from sysai.serving.core.sequence import FinishReason
from sysai.serving.engine.stream import CompletionRecord
from sysai.serving.server.metrics import Metrics


def read(service):
    """Samples by name and, where there is one, finished_reason; a histogram's buckets left out."""
    response = service.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    samples = [sample for family in text_string_to_metric_families(response.text) for sample in family.samples]
    return {
        (sample.name, sample.labels.get("finished_reason")): sample.value
        for sample in samples
        if "le" not in sample.labels and not sample.name.endswith("_created")
    }


def test_counts_and_latencies():
    engine = tiny_engine()
    with Service(engine) as service:
        client = service.client()
        before = read(service)
        assert all(name.startswith("sysai_") for name, _ in before)
        assert set(before.values()) == {0, 1}, "nothing has happened, and the engine is healthy"
        prompt = "a prompt of thirty-two characters"
        for _ in range(2):
            client.completions.create(model="tiny", prompt=prompt, max_tokens=5, n=2, extra_body={"ignore_eos": True})
        after = read(service)
        assert after["sysai_request_finished_total", "length"] == 4
        assert after["sysai_prompt_tokens_total", None] == 2 * len(prompt)
        assert after["sysai_generation_tokens_total", None] == 20
        assert after["sysai_prefix_cache_queries_total", None] == 2 * len(prompt)
        assert after["sysai_prefix_cache_hits_total", None] == 32
        for name in (
            "time_to_first_token",
            "request_time_per_output_token",
            "e2e_request_latency",
            "request_queue_time",
        ):
            assert after[f"sysai_{name}_seconds_count", None] == 4
        ttft, e2e = (
            after[f"sysai_{name}_seconds_sum", None] for name in ("time_to_first_token", "e2e_request_latency")
        )
        tpot = after["sysai_request_time_per_output_token_seconds_sum", None]
        assert abs(ttft + 4 * tpot - e2e) < 1e-6, "first token and four more make the whole"
        assert after["sysai_request_queue_time_seconds_sum", None] <= ttft


def test_each_latency_is_from_its_beginning_to_its_end():
    metrics = Metrics()
    times = {"arrival": 10.0, "start": 12.0, "first_token": 15.0, "end": 23.0}
    record = CompletionRecord(prompt_tokens=3, output_tokens=5, finish_reason=FinishReason.STOP, **times)
    left = replace(record, finish_reason=FinishReason.ABORT)
    for one in (record, left):
        metrics.first_token(one)
        metrics.finished(one)
    names = ("request_queue_time", "time_to_first_token", "e2e_request_latency", "request_time_per_output_token")
    sums = [metrics.registry.get_sample_value(f"sysai_{name}_seconds_sum") for name in names]
    assert sums == [2 * 2.0, 2 * 5.0, 13.0, 8.0 / 4], "the last two are of completions that were not left"


def test_gauges_tell_what_runs_and_waits():
    with Service(tiny_engine(step_seconds=0.01, max_num_seqs=2, max_num_batched_tokens=16)) as service:
        client = service.client()
        body = {"ignore_eos": True}
        stream = client.completions.create(model="tiny", prompt="x", max_tokens=450, n=3, stream=True, extra_body=body)
        next(iter(stream))
        during = read(service)
        assert during["sysai_num_requests_running", None] == 2
        assert during["sysai_num_requests_waiting", None] == 1
        assert 0 < during["sysai_kv_cache_usage_perc", None] < 1
        stream.close()
        service.wait_until_idle()
        after = read(service)
        assert after["sysai_num_requests_running", None] == after["sysai_num_requests_waiting", None] == 0
        assert after["sysai_kv_cache_usage_perc", None] == 0
        assert after["sysai_request_finished_total", "abort"] == 3
