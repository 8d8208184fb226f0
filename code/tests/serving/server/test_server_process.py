"""The command as a process of its own: signals while there is load, bounded memory, and the key of the environment."""

import asyncio
import json
import signal

import httpx2
import openai
import psutil
import pytest
from service import PATIENCE
from test_hostile_clients import JSON, LONG, MIB, refused, request_of
from tiny_server import TinyServers


@pytest.fixture(scope="module")
def tiny_server():
    with TinyServers() as tiny_server:
        yield tiny_server


async def read_stream(client, url, accepted):
    """The lines of a stream; None if it was not accepted."""
    lines, began = [], False
    try:
        async with client.stream(
            "POST", f"{url}/v1/completions", json=LONG | {"max_tokens": 60, "stream": True}
        ) as got:
            if got.status_code != 200:
                return None
            began = True
            accepted.append(None)
            async for line in got.aiter_lines():
                if line:
                    lines.append(line)
    except httpx2.TransportError:
        assert not began, "an accepted stream was cut"
        return None
    return lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_loses_no_accepted_request(tiny_server, number):
    with tiny_server(step_seconds=0.01) as (process, url):

        async def main():
            accepted, later = [], []
            async with (
                asyncio.timeout(2 * PATIENCE),
                httpx2.AsyncClient(timeout=PATIENCE, limits=httpx2.Limits(max_connections=100)) as client,
            ):
                calls = [asyncio.create_task(read_stream(client, url, accepted)) for _ in range(40)]
                while len(accepted) < 20:
                    await asyncio.sleep(0.01)
                process.send_signal(number)
                while process.poll() is None and not all(call.done() for call in calls):
                    later.append(asyncio.create_task(read_stream(client, url, [])))
                    await asyncio.sleep(0.1)
                return await asyncio.gather(*calls), await asyncio.gather(*later)

        streams, later = asyncio.run(main())
        answered = [lines for lines in streams if lines is not None]
        assert len(answered) >= 20
        for lines in [*answered, *(lines for lines in later if lines is not None)]:
            assert lines[-1] == "data: [DONE]"
            assert json.loads(lines[-2].removeprefix("data: "))["choices"][0]["finish_reason"] == "length"
        assert None in later, "new requests are refused"
        assert process.wait(60) == 0


def test_a_second_signal_cuts(tiny_server):
    body = LONG | {"stream": True}
    with (
        tiny_server(step_seconds=0.2) as (process, url),
        httpx2.stream("POST", f"{url}/v1/completions", json=body, timeout=PATIENCE) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        process.send_signal(signal.SIGTERM)
        next(line for line in lines if line)  # it goes on
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 1


def test_large_bodies_are_refused_with_and_without_their_length_and_cost_no_memory(tiny_server):
    def parts():
        for _ in range(50):
            yield b"x" * MIB

    with tiny_server() as (process, url):
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
        assert client._client.post(f"{url}/v1/completions", json={"prompt": "x"}).status_code == 200
        memory = psutil.Process(process.pid)
        before = memory.memory_info().rss
        peak = before
        for body in (b"x" * (50 * MIB), parts()):
            response = client._client.post(f"{url}/v1/completions", content=body, headers=JSON)
            refused(response, 413)
            peak = max(peak, memory.memory_info().rss)
        with pytest.raises(openai.APIStatusError) as caught:
            client.completions.create(model="any", prompt="x" * (3 * MIB))
        assert caught.value.status_code == 413
        for i in range(8):
            text = f"{i}" + "".join(chr(97 + (i * j * j) % 26) for j in range(MIB))
            refused(client._client.post(f"{url}/v1/completions", json={"prompt": text}), 400, "context_length_exceeded")
            peak = max(peak, memory.memory_info().rss)
        assert peak - before < 150 * MIB


async def raw_post(host, port, body):
    """Status and body of an answer, on a connection of its own."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(request_of(body).replace(b"Host: x", b"Host: x\r\nConnection: close"))
    data = await reader.read()
    writer.close()
    return int(data.split(b" ", 2)[1]), data


def test_five_hundred_connections_at_once_are_served_or_told_to_come_again(tiny_server):
    with tiny_server("--max-num-seqs", "16", "--max-waiting", "200") as (process, url):
        host, port = url.removeprefix("http://").split(":")
        memory = psutil.Process(process.pid)
        before = memory.memory_info().rss

        async def main():
            body = {"prompt": "x", "max_tokens": 8, "temperature": 0, "ignore_eos": True}
            async with asyncio.timeout(2 * PATIENCE):
                return await asyncio.gather(*(raw_post(host, port, body) for _ in range(500)))

        answers = asyncio.run(main())
        statuses = [status for status, _ in answers]
        assert set(statuses) <= {200, 429}
        assert statuses.count(200) >= 216
        texts = {
            json.loads(data.split(b"\r\n\r\n")[1])["choices"][0]["text"] for status, data in answers if status == 200
        }
        assert len(texts) == 1
        assert memory.memory_info().rss - before < 150 * MIB


def test_first_lines_say_what_is_served_and_the_key_may_come_from_the_environment(tiny_server, monkeypatch):
    monkeypatch.setenv("SYSAI_API_KEY", "secret")
    with tiny_server() as (_, url):
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="secret", max_retries=0)
        (model,) = client.models.list().data
        assert model.id == "smollm2"
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="other").models.list()


def test_who_comes_while_the_server_drains_is_told_so(tiny_server):
    body = LONG | {"stream": True, "max_tokens": 40}
    with (
        tiny_server(step_seconds=0.05) as (process, url),
        httpx2.stream("POST", f"{url}/v1/completions", json=body, timeout=60) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        process.send_signal(signal.SIGTERM)
        while (health := httpx2.get(f"{url}/health")).status_code == 200:  # the signal is on its way
            pass
        assert (health.status_code, health.json()) == (503, {"status": "draining"})
        refused(httpx2.post(f"{url}/v1/completions", json=LONG), 503, "shutting_down")
        assert list(lines)[-2:] == ["data: [DONE]", ""]
        assert process.wait(60) == 0
