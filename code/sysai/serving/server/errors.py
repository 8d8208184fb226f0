"""Errors in the OpenAI API's form, every one of them: {"error": {"message", "type", "param", "code"}}.

The official clients choose their exception by the status, and show the message. What the client sent is named, cut
short; what went wrong inside is written to the log and not told.
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from sysai.serving.engine.async_engine import EngineDeadError, EngineStoppedError, QueueFullError
from sysai.serving.engine.stream import SlowReaderError

_MOST_SHOWN = 500  # characters of a message: it may quote the client
UNSUPPORTED = {"tools", "tool_choice", "tool_calls", "functions", "function_call", "audio", "modalities", "logit_bias"}
UNSUPPORTED |= {"prediction", "reasoning_effort", "verbosity", "web_search_options", "best_of", "suffix"}


class APIError(Exception):
    """An error that is the answer to a request, with its HTTP status."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.headers = status, message, param, code, headers

    @property
    def body(self) -> dict[str, dict[str, str | None]]:
        """The JSON object that is sent."""
        if self.status >= 500:
            kind = "server_error"
        else:
            kind = "rate_limit_error" if self.status == HTTPStatus.TOO_MANY_REQUESTS else "invalid_request_error"
        short = self.message if len(self.message) <= _MOST_SHOWN else self.message[:_MOST_SHOWN] + "..."
        return {"error": {"message": short, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """The HTTP response, body and headers."""
        content = json.dumps(self.body)  # in ASCII: what is quoted may be no valid Unicode
        return Response(content, self.status, self.headers, "application/json")


def as_api_error(error: Exception, retry_after: int) -> APIError:
    """Turn an error of the engine or of the program into the answer that the client gets."""
    retry = {"Retry-After": str(retry_after)}
    match error:
        case APIError():
            return error
        case QueueFullError():
            return APIError(429, str(error), code="queue_full", headers=retry)
        case EngineStoppedError():
            return APIError(503, str(error), code="shutting_down", headers=retry)
        case EngineDeadError():
            return APIError(503, "the engine has failed and must be restarted", code="engine_dead")
        case SlowReaderError():
            return APIError(500, str(error), code="slow_reader")
        case TimeoutError():
            return APIError(504, "the answer took longer than the server allows", code="timeout")
    return APIError(500, "the server failed on this request", code="internal_error")


def install(app: FastAPI, retry_after: int) -> None:
    """Give all errors of an application their form."""

    async def tell(request: Request, error: Exception) -> Response:
        return as_api_error(error, retry_after).response()

    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return _of_validation(error.errors()).response()

    async def of_http(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {error.detail}"
        return APIError(error.status_code, message, headers=error.headers).response()

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, of_http)
    for kind in (APIError, QueueFullError, EngineStoppedError, EngineDeadError, TimeoutError, Exception):
        app.add_exception_handler(kind, tell)


def _of_validation(errors: Sequence[Mapping]) -> APIError:
    """Turn the first fault that pydantic has found into an answer."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return APIError(400, f"the body is no JSON: {first['ctx']['error']}, at character {first['loc'][-1]}")
    param = ".".join(map(str, first["loc"][1:])) or None
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])
        reason = "this server does not support it" if name in UNSUPPORTED else "there is no such parameter"
        return APIError(400, f"{param}: {reason}; leave it out", param=param, code="unsupported_parameter")
    message = first["msg"].removeprefix("Value error, ")
    return APIError(400, f"{param}: {message}" if param else message, param=param, code="invalid_value")
