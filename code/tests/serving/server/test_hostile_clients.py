"""Hostile clients: a clear refusal or service, others served meanwhile, nothing left behind."""

import json
import socket
import time
from contextlib import suppress

import pytest
from service import Service, tiny_engine

MIB = 2**20
JSON = {"Content-Type": "application/json"}
LONG = {"prompt": "x", "max_tokens": 450, "ignore_eos": True, "temperature": 0}


def refused(response, status, code=None):
    """The answer is an error in the API's form."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert len(error["message"]) < 1000
    assert code is None or error["code"] == code


def deep(levels, inner="0"):
    return "[" * levels + inner + "]" * levels


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00",
        b'{"prompt": "\xc3\x28"}',
        b'{"prompt": "x"',
        b"null",
        b'"prompt"',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": ["x", "\\udfff"]}',
        b'{"prompt": "x", "temperature": NaN}',
        b'{"prompt": "x", "temperature": Infinity}',
        b'{"prompt": "x", "temperature": 1e999}',
        b'{"prompt": "x", "top_p": "0.5"}',
        b'{"prompt": "x", "n": 1000000000}',
        b'{"prompt": "x", "n": 1' + b"0" * 4000 + b"}",
        b'{"prompt": "x", "n": 1' + b"0" * 5000 + b"}",
        b'{"prompt": "x", "max_tokens": -1}',
        b'{"prompt": "x", "max_tokens": 100000}',
        b'{"prompt": "x", "seed": 99999999999999999999}',
        b'{"prompt": "x", "stop_token_ids": [-5]}',
        b'{"prompt": [-1]}',
        b'{"prompt": [1e3]}',
        b'{"prompt": [99999999999999999999999]}',
        b'{"prompt": []}',
        b'{"prompt": [[]]}',
        b'{"prompt": [["a"]]}',
        b'{"prompt": {"a": "b"}}',
        b'{"prompt": "x", "model": "\\ud800"}',
        b'{"prompt": "x", "\\ud800": 1}',
        b'{"prompt": "x", "logprobs": 21}',
        b'{"prompt": ' + deep(100_000).encode() + b"}",
        b'{"prompt": "x", "metadata": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b'{"prompt": ' + deep(300).encode() + b"}",
        json.dumps({"prompt": ["x"] * 129}).encode(),
        json.dumps({"prompt": ["x"] * 100_000}).encode(),
        json.dumps({"prompt": "word " * 100_000}).encode(),
        json.dumps({"prompt": "x" * 100_000}).encode(),
        json.dumps({"prompt": [7] * 100_000}).encode(),
    ],
    ids=lambda body: f"{body[:40]!r} of {len(body)}",
)
def test_a_body_that_can_not_be_served_is_refused(service, body):
    status = 404 if b'"model"' in body else 400
    refused(service.post("/v1/completions", content=body, headers=JSON), status)


def schema_body(schema):
    form = f'{{"type": "json_schema", "json_schema": {{"name": "x", "schema": {schema}}}}}'
    return f'{{"prompt": "x", "max_tokens": 4, "response_format": {form}}}'.encode()


def nested_objects(levels):
    return '{"type": "object", "properties": {"a": ' * levels + "true" + "}}" * levels


@pytest.mark.parametrize(
    "schema",
    [
        nested_objects(2_000),
        nested_objects(20_000),
        '{"const": ' + deep(80) + "}",
        '{"const": ' + deep(400) + "}",
        '{"const": ' + deep(100_000) + "}",
        '{"$ref": "#"}',
        '{"anyOf": []}',
        '{"enum": [NaN]}',
        '{"enum": ["\\ud800"]}',
        '{"type": "string", "description": "' + "x" * 20_000 + '"}',
        '{"type": "array", "minItems": 1e400}',
    ],
    ids=lambda schema: f"{schema[:40]} of {len(schema)}",
)
def test_a_hostile_schema_is_refused(service, schema):
    refused(service.post("/v1/completions", content=schema_body(schema), headers=JSON), 400)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {f"p{i}": {"type": ["string", "array", "object"]} for i in range(150)}},
        {"const": json.loads(deep(60))},
        {"enum": ["[" * 100, '"{' * 100]},
        json.loads(nested_objects(30)),
    ],
    ids=lambda schema: str(schema)[:40],
)
def test_a_large_schema_is_served(service, schema):
    answer = service.post("/v1/completions", content=schema_body(json.dumps(schema)), headers=JSON)
    assert answer.status_code == 200, answer.text


def test_wrong_paths_and_methods_have_the_same_form(service):
    refused(service.get("/v1/nothing"), 404)
    refused(service.get("/v1/completions"), 405)
    refused(service.post("/metrics"), 405)
    with connection(service) as wire:
        wire.sendall(b"this is no HTTP\r\n\r\n")
        head, _, body = everything(wire).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


def connection(service, receive_buffer=None):
    wire = socket.socket()
    if receive_buffer:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    wire.settimeout(30)
    wire.connect(("127.0.0.1", service.port))
    return wire


def everything(wire):
    data = b""
    while part := wire.recv(2**16):
        data += part
    return data


def request_of(body, path="/v1/completions"):
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def test_connections_beyond_the_limit_are_told_so():
    with Service(tiny_engine(), max_connections=2) as service:
        held = [connection(service) for _ in range(2)]
        service.wait_until(lambda: len(service.server.server_state.connections) == 2)
        refused(service.get("/health"), 503, "too_many_connections")
        for wire in held:
            wire.close()
        service.wait_until(lambda: not service.server.server_state.connections)
        assert service.get("/health").status_code == 200


def test_slow_senders_are_cut():
    with Service(tiny_engine(), head_timeout=0.3, body_timeout=0.3, keep_alive=0.3) as service:
        silent, slow_head, slow_body, idle = (connection(service) for _ in range(4))
        whole = request_of({"prompt": "x"})
        slow_head.sendall(whole[:20])
        slow_body.sendall(whole[:-1])
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea")
        assert service.client().completions.create(model="tiny", prompt="x").choices, "others are served"
        assert b"HTTP/1.1 408 " in everything(slow_body)
        assert everything(idle).count(b"HTTP/1.1") == 1
        for wire in (silent, slow_head):
            with suppress(ConnectionResetError):
                assert everything(wire) == b""
        service.wait_until(lambda: not service.server.server_state.connections)


def test_who_does_not_read_is_cut_and_frees_what_he_held():
    with Service(tiny_engine(), write_timeout=0.5) as service:
        service.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # what accepted sockets inherit
        unread = connection(service, receive_buffer=4096)
        unread.sendall(request_of(LONG | {"stream": True, "n": 8, "logprobs": 20}))
        service.wait_until(lambda: service.engine.has_work)
        for _ in range(3):
            assert service.client().completions.create(model="tiny", prompt="x").choices, "others are served"
        service.wait_until(lambda: not service.server.server_state.connections or not service.engine.has_work)
        service.wait_until_idle()
        data = b""
        with suppress(ConnectionResetError):
            data = everything(unread)
        assert b"[DONE]" not in data
        assert not data.endswith(b"0\r\n\r\n"), "a stream that was cut must not look whole"
        unread.close()


def test_who_does_not_read_all_of_a_whole_answer_is_cut_too():
    with Service(tiny_engine(), write_timeout=0.3, keep_alive=0.1) as service:
        service.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        unread = connection(service, receive_buffer=4096)
        unread.sendall(request_of(LONG | {"max_tokens": 100, "logprobs": 20}))
        service.wait_until(lambda: bool(service.server.server_state.connections))
        service.wait_until(lambda: not service.server.server_state.connections)
        unread.close()


@pytest.mark.parametrize("streaming", [True, False])
def test_a_client_that_leaves_frees_its_blocks(streaming):
    with Service(tiny_engine(step_seconds=0.005)) as service:
        for body in (LONG, LONG | {"n": 3}, LONG | {"prompt": ["x", "y"]}):
            wire = connection(service)
            wire.sendall(request_of(body | {"stream": streaming}))
            if streaming:
                assert wire.recv(100).startswith(b"HTTP/1.1 200")
            service.wait_until(lambda: service.engine.has_work)
            wire.close()
            service.wait_until_idle()
        assert 'finished_reason="abort"} 6.0' in service.get("/metrics").text
        assert service.client().completions.create(model="tiny", prompt="x").choices


@pytest.mark.parametrize("streaming", [True, False])
def test_an_answer_that_takes_too_long_is_ended(streaming):
    with Service(tiny_engine(step_seconds=0.02), request_timeout=0.5) as service:
        response = service.post("/v1/completions", json=LONG | {"stream": streaming})
        if streaming:
            *events, last = [line for line in response.text.split("\n\n") if line]
            assert len(events) > 2
            assert json.loads(last.removeprefix("data: "))["error"]["code"] == "timeout"
        else:
            refused(response, 504, "timeout")
        service.wait_until_idle()


def test_a_slow_reader_within_the_limits_gets_everything():
    engine = tiny_engine()
    with Service(engine) as service:
        wire = connection(service)
        wire.sendall(
            request_of(LONG | {"stream": True, "max_tokens": 200}).replace(b"x\r\n", b"x\r\nConnection: close\r\n", 1)
        )
        data = b""
        while part := wire.recv(500):
            data += part
            time.sleep(0.001)
        assert data.count(b'"index": 0') >= 150
        assert b"data: [DONE]" in data
