"""The load generator against the real server: who was sent when, what came of it, and every way to fail."""

import argparse
import asyncio
import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import crash
from service import PATIENCE, Service, tiny_engine
from sysai.serving.simulation import load_generator
from sysai.serving.simulation.latency import SLO, RequestTiming
from sysai.serving.simulation.load_generator import LEFT, Outcome, add_arguments, describe, replay, run
from sysai.serving.simulation.workload import Lengths, Sharing, WorkItem, make_workload


def items(count: int, rate: float = 200.0, seed: int = 0, **more) -> list[WorkItem]:
    return make_workload(count, rate, Lengths.uniform(1, 60), Lengths.uniform(1, 12), seed, vocabulary=256, **more)


async def replay_in_time(*arguments, **options) -> list[Outcome]:
    """As `replay`, which waits as long as a server lets it."""
    async with asyncio.timeout(PATIENCE):
        return await replay(*arguments, **options)


def replayed(service: Service, workload: list[WorkItem], **options) -> list[Outcome]:
    return asyncio.run(replay_in_time(workload, f"{service.url}/v1", "tiny", **options))


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 99))
def test_every_request_gets_its_tokens_in_order_and_none_is_sent_too_early(shared, seed):
    workload = items(25, seed=seed)
    outcomes = replayed(shared, workload)
    assert [outcome.error for outcome in outcomes] == [None] * 25, outcomes
    for item, outcome in zip(workload, outcomes, strict=True):
        assert len(outcome.timing.token_times) == item.output_length, "tokens that came together are counted each"
        assert item.arrival <= outcome.sent <= outcome.timing.token_times[0]
    shared.wait_until_idle()


def test_the_server_got_what_the_workload_says(service):
    before = service.engine.scheduler.memory.stats.queried
    workload = items(12)
    replayed(service, workload)
    after = service.engine.scheduler.memory.stats.queried
    assert after - before == sum(len(item.prompt_token_ids) for item in workload)


def test_an_open_loop_does_not_wait_for_answers_and_a_cap_does():
    """One sequence at a time and slow steps: without a cap all are sent at once, with one only when one has ended."""
    workload = [WorkItem(0.0, (1, 2, 3), 3, 3)] * 4
    with Service(tiny_engine(0.02, max_num_seqs=1, max_num_batched_tokens=16, prefix_caching=False)) as service:
        free, capped = replayed(service, workload), replayed(service, workload, max_concurrency=1)
    assert max(outcome.sent for outcome in free) < min(outcome.timing.token_times[-1] for outcome in free)
    in_turn = sorted(capped, key=lambda outcome: outcome.sent)
    for before, after in pairwise(in_turn):
        assert after.sent >= before.timing.token_times[-1]
    assert {outcome.timing.arrival for outcome in capped} == {0.0}, "waiting for the cap is the user's time"


def test_refusals_are_counted_by_their_kind(capsys):
    workload = [WorkItem(0.0, (i,) * 8, 12, 12) for i in range(12)]
    with Service(tiny_engine(0.02, max_num_seqs=1, max_num_batched_tokens=16), max_waiting=2) as service:
        outcomes = replayed(service, workload)
        assert [o.error for o in replayed(service, [WorkItem(0.0, (999,), 2, 2)])] == ["400"]
        text = describe(outcomes, SLO(ttft=100.0, tpot=0.0))
    assert sorted({outcome.error or "none" for outcome in outcomes}) == ["429", "none"]
    refused = sum(outcome.error == "429" for outcome in outcomes)
    assert f"requests {12 - refused} of 12 completed" in text
    assert f"failed   {refused} x 429" in text
    assert "SLO      ttft <= 100 s and tpot <= 0 s: 0.0%" in text


def test_a_client_without_patience_leaves_and_the_server_forgets_it():
    workload = [WorkItem(0.0, (1, 2), 200, 200, patience=0.3), WorkItem(0.0, (3,), 5, 5)]
    with Service(tiny_engine(0.02)) as service:
        left, other = replayed(service, workload)
        service.wait_until_idle()
    assert left.error == LEFT
    assert 0 < len(left.timing.token_times) < 200
    assert not left.timing.completed
    assert other.error is None


def test_a_broken_engine_is_told_in_the_stream():
    engine = tiny_engine(0.01)
    crash(engine, [4])
    with Service(engine) as service:
        (outcome,) = replayed(service, [WorkItem(0.0, (1,), 10, 10)])
    assert outcome.error == "in stream"
    assert "the engine failed" in outcome.message


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def answered_by(head: bytes, answer: bytes) -> Outcome:
    async def scene() -> Outcome:
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head + answer)
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            return (await replay([WorkItem(0.0, (1,), 4, 4)], url))[0]

    return asyncio.run(scene())


TOKEN = b'data: {"choices": [{"text": "a"}]}\n\n'


@pytest.mark.parametrize(
    ("answer", "error", "tokens"),
    [
        (TOKEN * 3 + 'data: {"choices": [{"text": "\u2028"}]}\n\ndata: [DONE]\n\n'.encode(), None, 4),
        (TOKEN * 4 + b"data: [DONE]\n\n", None, 4),
        (TOKEN * 2 + b'data: {"choices": [], "usage": {"completion_tokens": 4}}\n\ndata: [DONE]\n\n', None, 4),
        (TOKEN * 2, "cut", 2),
        (b"data: [DONE]\n\n", "cut", 0),
        (b"data: {}\n\ndata: [DONE]\n\n", "cut", 0),
        (TOKEN + b"data: what\n\n", "no events", 1),
    ],
)
def test_other_servers_answers(answer, error, tokens):
    outcome = answered_by(EVENTS + b"\r\n", answer)
    assert (outcome.error, len(outcome.timing.token_times)) == (error, tokens)


@pytest.mark.parametrize(
    ("head", "answer", "error"),
    [
        (b"", b"", "cut"),
        (b"", b"SSH-2.0-OpenSSH\r\n\r\n", "cut"),
        (EVENTS, b"Content-Length: 999\r\n\r\n" + TOKEN, "cut"),
        (EVENTS, b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata", "cut"),
        (EVENTS, b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", "cut"),
        (b"HTTP/1.1 200 OK\r\n", b"Content-Type: text/html\r\n\r\n<p>", "no events"),
        (b"HTTP/1.1 302 Found\r\n", b"Location: /login\r\n\r\n", "302"),
        (b"HTTP/1.1 429 Too Many\r\n", b"Content-Length: 4\r\n\r\nfull", "429"),
    ],
)
def test_what_is_no_stream_of_events_is_told(head, answer, error):
    outcome = answered_by(head, answer)
    assert outcome.error == error
    assert outcome.message


def test_no_server_and_a_wrong_key(unused_port):
    (outcome,) = asyncio.run(replay([WorkItem(0.0, (1,), 2, 2)], f"http://127.0.0.1:{unused_port}/v1"))
    assert outcome.error == "no connection"
    with Service(tiny_engine(), api_key="right") as service:
        assert [o.error for o in replayed(service, items(1), api_key="wrong")] == ["401"]
        assert [o.error for o in replayed(service, items(1), api_key="right")] == [None]
    for url in ("127.0.0.1:80", "ftp://x/", "http:///v1", "http://x:99999/", "http://x:y/"):
        with pytest.raises(ValueError, match="no address"):
            asyncio.run(replay(items(1), url))


@pytest.fixture
def unused_port():
    service = Service(tiny_engine())
    service.listener.close()
    return service.port


def test_shared_prompts_are_found_in_the_cache():
    with Service(tiny_engine()) as service:
        outcomes = replayed(service, items(8, rate=20.0, sharing=Sharing(1.0, 1, 40)), max_concurrency=1)
    assert sorted(outcome.cached_tokens >= 40 for outcome in outcomes) == [False] + [True] * 7


def test_the_command_prints_a_report_and_records_every_outcome(service, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(load_generator, "replay", replay_in_time)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    base = [f"{service.url}/v1", "--requests", "10", "--rate", "500", "--scale", "0.02", "--vocabulary", "256"]
    options = parser.parse_args([*base, "--ttft", "50", "--record", str(tmp_path / "out.json")])
    assert run(options) == 0
    text = capsys.readouterr().out
    assert "requests 10 of 10 completed" in text
    assert "SLO      ttft <= 50 s: 100.0%" in text
    assert (tmp_path / "out.json").read_text().count("token_times") == 10
    assert run(parser.parse_args([*base, "--rate", "-1"])) == 2
    assert "positive" in capsys.readouterr().err
    assert run(parser.parse_args([*base, "--vocabulary", "100000"])) == 1, "token ids that the server refuses"


def test_a_report_of_failures_only_has_no_percentiles():
    failed = Outcome(RequestTiming(0.0, (), completed=False), "429")
    assert describe([failed] * 3, SLO()) == "failed   3 x 429"
    assert math.isnan(failed.sent)
