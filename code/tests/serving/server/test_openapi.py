"""Schemathesis on the server's own description: no status 5xx, and every answer is as described."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = {
    ("/v1/completions", "POST"): 30,  # examples
    ("/v1/chat/completions", "POST"): 30,
    ("/v1/models", "GET"): 3,
    ("/v1/models/{model_id}", "GET"): 10,
    ("/health", "GET"): 3,
    ("/metrics", "GET"): 3,
}


CASES = [(*operation, GenerationMode.POSITIVE, False) for operation in OPERATIONS]
for path, method in OPERATIONS:
    if method == "POST":
        CASES += [(path, method, GenerationMode.POSITIVE, True), (path, method, GenerationMode.NEGATIVE, False)]


@pytest.mark.parametrize(("path", "method", "mode", "stream"), CASES)
def test_the_server_keeps_to_its_description(service, path, method, mode, stream):
    operation = schemathesis.openapi.from_url(f"{service.url}/openapi.json")[path][method]

    @settings(
        max_examples=OPERATIONS[path, method], deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(operation.as_strategy(generation_mode=mode))
    def check(case):
        if mode is GenerationMode.POSITIVE and method == "POST":  # let it reach the engine, and stay short
            case.body |= {"model": "tiny", "max_tokens": 4, "n": min(case.body.get("n", 1), 3), "stream": stream}
            case.body.pop("max_completion_tokens", None)
            if not stream:
                case.body.pop("stream_options", None)
        case.call_and_validate(checks=CHECKS, timeout=60)

    check()


def test_all_routes_are_described(service):
    assert set(service.get("/openapi.json").json()["paths"]) == {path for path, _ in OPERATIONS}
