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

from sysai.serving.core.sampling_params import ParameterError
from sysai.serving.engine.async_engine import EngineDeadError, EngineStoppedError, QueueFullError
from sysai.serving.engine.stream import SlowReaderError

_MOST_SHOWN = 500  # characters of a message: it may quote the client
UNSUPPORTED = {"tools", "tool_choice", "tool_calls", "functions", "function_call", "audio", "modalities", "logit_bias"}
UNSUPPORTED |= {"prediction", "reasoning_effort", "verbosity", "web_search_options", "best_of", "suffix", "name"}


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
        return _of_validation(error.errors(), error.body).response()

    async def of_http(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {error.detail}"
        match error.__cause__:  # of a body that FastAPI could not read
            case UnicodeDecodeError() as cause:
                message = f"the body is no UTF-8 ({cause.reason} at byte {cause.start}): send JSON encoded as UTF-8"
            case RecursionError():
                message = "the body is nested too deeply: send JSON with fewer levels"
        return APIError(error.status_code, message, headers=error.headers).response()

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, of_http)
    for kind in (APIError, QueueFullError, EngineStoppedError, EngineDeadError, TimeoutError, Exception):
        app.add_exception_handler(kind, tell)


def _of_validation(errors: Sequence[Mapping], body: object) -> APIError:
    """Turn the first fault that pydantic has found in `body` into an answer."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return APIError(400, f"the body is no JSON: {first['ctx']['error']}, at character {first['loc'][-1]}")
    if isinstance(body, bytes):
        return APIError(400, "the body was not read as JSON: send it with the header 'Content-Type: application/json'")
    steps, union_at = _path(first, body)
    # A union has a fault for each of its forms; what fails furthest inside is of the form that was meant.
    faults = [error for error in errors if union_at is not None and error["loc"][:union_at] == first["loc"][:union_at]]
    if faults:
        steps = max((_path(error, body)[0] for error in faults), key=len)
        faults = [error for error in faults if _path(error, body)[0] == steps]
        first = faults[0]
    param = ".".join(map(str, steps)) or None
    if first["type"] == "extra_forbidden":
        name = str(steps[-1])
        reason = "this server does not support it" if name in UNSUPPORTED else "there is no such parameter"
        return APIError(400, f"{param}: {reason}; leave it out", param=param, code="unsupported_parameter")
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ParameterError):
        return APIError(400, str(cause), param=cause.param, code="invalid_value")
    message = " or: ".join(dict.fromkeys(error["msg"].removeprefix("Value error, ") for error in faults or [first]))
    return APIError(400, f"{param}: {message}" if param else message, param=param, code="invalid_value")


def _path(error: Mapping, body: object) -> tuple[list[str | int], int | None]:
    """Where in the body a fault is, in the client's words; and where pydantic names the form of a union, if it does."""
    steps, union_at = [], None
    for at, step in enumerate(error["loc"][1:], 1):
        inside = step in body if isinstance(body, Mapping) else isinstance(body, list) and isinstance(step, int)
        if inside:
            body = body[step]
        if inside or (error["type"] == "missing" and at == len(error["loc"]) - 1):
            steps.append(step)
        elif union_at is None:
            union_at = at
    return steps, union_at
