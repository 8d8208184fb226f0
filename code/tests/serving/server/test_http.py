"""What monitors, browsers and careless clients send: HEAD, preflights, bodies that are no JSON."""

import httpx2
import pytest
from service import Service, tiny_engine

PAGE = "https://page.example"
PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
PREFLIGHT |= {"Access-Control-Request-Headers": "authorization, content-type"}


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/models/tiny", "/metrics", "/openapi.json", "/nothing"])
def test_head_is_get_without_a_body(service, path):
    with httpx2.Client(base_url=service.url, timeout=60) as client:
        head, get = client.head(path), client.get(path)  # on one connection: no byte is left over
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert int(head.headers["content-length"]) > 0


def test_head_of_what_is_only_posted_is_refused(service):
    assert httpx2.head(f"{service.url}/v1/completions").status_code == 405


@pytest.mark.parametrize("origins", [(PAGE,), ("*",)])
def test_pages_of_allowed_origins_may_ask_before_they_have_sent_a_key_and_read_every_answer(origins):
    with Service(tiny_engine(), api_key="the key", allowed_origins=origins) as service:
        preflight = httpx2.options(f"{service.url}/v1/chat/completions", headers=PREFLIGHT)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origins[0]
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
        for key, status in (("the key", 200), ("another", 401)):
            headers = {"Origin": PAGE, "Authorization": f"Bearer {key}"}
            answer = service.post("/v1/completions", json={"prompt": "x"}, headers=headers)
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, origins[0])


def test_pages_of_other_origins_may_not():
    with Service(tiny_engine(), allowed_origins=("https://other.example",)) as service:
        assert httpx2.options(f"{service.url}/v1/completions", headers=PREFLIGHT).status_code == 400
        assert "access-control-allow-origin" not in service.get("/health", headers={"Origin": PAGE}).headers


def test_without_the_option_there_is_no_such_header(service):
    answer = service.get("/health", headers={"Origin": PAGE})
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize(
    ("content", "headers", "message"),
    [
        (b'{"prompt": "x"}', {}, "send it with the header 'Content-Type: application/json'"),
        (b'{"prompt": "x"}', {"Content-Type": "text/plain"}, "Content-Type: application/json"),
        (b'{"prompt": "\xff"}', {"Content-Type": "application/json"}, "no UTF-8"),
        (b"[" * 200_000, {"Content-Type": "application/json"}, "nested too deeply"),
        (b'{"prompt": ', {"Content-Type": "application/json"}, "the body is no JSON: Expecting value, at character 11"),
    ],
)
def test_a_body_that_is_no_json_is_told_what_is_wrong_with_it(service, content, headers, message):
    answer = service.post("/v1/completions", content=content, headers=headers)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
