"""Faults: a step that fails, an engine that dies, memory that runs out."""

import asyncio
import threading

import openai
import pytest
from planted import crash
from service import Service, tiny_engine


def test_a_failed_step_fails_its_requests_and_others_go_on():
    engine = tiny_engine(max_num_seqs=1, max_num_batched_tokens=16)
    crash(engine, [4])
    with Service(engine) as service:
        client = service.client()
        options = {"model": "tiny", "prompt": "x", "max_tokens": 10, "temperature": 0}
        broken = client.completions.create(**options, stream=True, extra_body={"ignore_eos": True})
        second = threading.Thread(target=lambda: answers.append(client.completions.create(**options)))
        answers = []
        second.start()  # waits for the first to end
        pieces = []
        with pytest.raises(openai.APIError, match="the engine failed on this request"):
            pieces.extend(broken)
        assert len(pieces) == 3
        second.join()
        assert answers[0].choices[0].finish_reason
        assert service.get("/health").status_code == 200
        metrics = service.get("/metrics").text
        assert "sysai_failed_steps_total 1.0" in metrics
        assert 'sysai_request_finished_total{finished_reason="error"} 1.0' in metrics
        crash(engine, [1])
        with pytest.raises(openai.InternalServerError) as caught:
            client.completions.create(**options)
        assert (caught.value.status_code, caught.value.code) == (500, "engine_error")
        assert "PlantedError" not in caught.value.response.text
        service.wait_until_idle()


def test_a_dead_engine_is_told_to_all_who_wait_and_to_the_health_check():
    engine = tiny_engine(step_seconds=0.005)
    with Service(engine) as service:
        client = service.client()
        options = {"model": "tiny", "prompt": "x", "max_tokens": 400, "extra_body": {"ignore_eos": True}}
        stream = client.completions.create(**options, stream=True)
        next(iter(stream))
        engine.scheduler.schedule = None  # the loop itself fails
        with pytest.raises(openai.APIError, match="the engine has failed and must be restarted"):
            list(stream)
        health = service.get("/health")
        assert (health.status_code, health.json()) == (503, {"status": "dead"})
        with pytest.raises(openai.InternalServerError) as caught:
            client.completions.create(model="tiny", prompt="x")
        assert (caught.value.status_code, caught.value.code) == (503, "engine_dead")
        assert "sysai_engine_healthy 0.0" in service.get("/metrics").text


def test_a_server_that_drains_says_so_and_refuses_what_is_new():
    with Service(tiny_engine(), retry_after=7) as service:
        service.server.engine.stop_accepting()
        health = service.get("/health")
        assert (health.status_code, health.json()) == (503, {"status": "draining"})
        with pytest.raises(openai.InternalServerError) as caught:
            service.client().completions.create(model="tiny", prompt="x")
        assert (caught.value.status_code, caught.value.code) == (503, "shutting_down")
        assert caught.value.response.headers["retry-after"] == "7"


def test_out_of_blocks_delays_and_never_stops():
    engine = tiny_engine(num_blocks=16, max_model_len=128, max_num_seqs=8, max_num_batched_tokens=16)
    with Service(engine) as service:
        body = {"max_tokens": 100, "temperature": 0, "extra_body": {"ignore_eos": True}}

        async def main():
            async with service.async_client() as client:
                calls = [client.completions.create(model="tiny", prompt=f"a prompt {i}", **body) for i in range(16)]
                return await asyncio.gather(*calls)

        answers = asyncio.run(main())
        assert [answer.usage.completion_tokens for answer in answers] == [100] * 16
        assert engine.scheduler.num_preemptions > 0
        service.wait_until_idle()
