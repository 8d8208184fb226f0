"""The routes: `/v1/completions`, `/v1/chat/completions`, `/v1/models`, `/health`, `/metrics`, `/openapi.json`."""

import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response

from sysai.serving.engine.async_engine import AsyncEngine
from sysai.serving.server import errors
from sysai.serving.server.admission import Admission
from sysai.serving.server.auth import RequireKey
from sysai.serving.server.body import BoundBody
from sysai.serving.server.errors import APIError
from sysai.serving.server.head import AnswerHead
from sysai.serving.server.limits import ServerLimits
from sysai.serving.server.metrics import Metrics
from sysai.serving.server.protocol import ChatRequest, CompletionRequest
from sysai.serving.server.replies import ChatReply, CompletionReply
from sysai.serving.server.responses import ChatCompletion, Completion, ErrorResponse, Health, Model, ModelList
from sysai.serving.server.streaming import EventStream, whole_answer

_REFUSALS = (400, 401, 404, 405, 408, 413, 429, 500, 503, 504)


def create_app(
    engine: AsyncEngine,
    metrics: Metrics,
    name: str,
    limits: ServerLimits,
    api_key: str | None,
    allowed_origins: Sequence[str] = (),
) -> FastAPI:
    """Make the server's ASGI application.

    Args:
        engine: running, and observed by `metrics`.
        metrics: told at `/metrics`.
        name: the model's, by which requests ask for it.
        limits: what clients may take.
        api_key: that clients must have; None for an open server.
        allowed_origins: of pages whose scripts a browser lets read the answers; "*" for all.
    """
    app = FastAPI(
        title="sysai serve",
        version=version("sysai"),
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        responses={status: {"model": ErrorResponse} for status in _REFUSALS},
    )
    errors.install(app, limits.retry_after)
    # The middleware added last sees a request first: keys are checked before a byte of the body is read.
    app.add_middleware(BoundBody, limits=limits)
    if api_key is not None:
        app.add_middleware(RequireKey, api_key=api_key)
    app.add_middleware(AnswerHead)
    if allowed_origins:  # before the key: a browser asks whether it may send one, and sends none to ask
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allowed_origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("*",),
            expose_headers=("Retry-After",),
        )
    admission = Admission(engine, name, limits)
    model = Model(
        id=name, object="model", created=int(time.time()), owned_by="sysai", max_model_len=admission.max_model_len
    )

    @app.post("/v1/completions", response_model=Completion, responses=_streaming())
    async def complete(body: CompletionRequest, request: Request) -> Response:
        """Continue a prompt, or each of several."""
        stream = await admission.complete(body)
        reply = CompletionReply(admission.tokenizer, name, list(stream.prompts.values()), body)
        if body.stream:
            return EventStream(stream, reply, limits)
        return await whole_answer(stream, reply, limits, request.receive)

    @app.post("/v1/chat/completions", response_model=ChatCompletion, responses=_streaming())
    async def chat(body: ChatRequest, request: Request) -> Response:
        """Answer a conversation."""
        stream = await admission.chat(body)
        reply = ChatReply(admission.tokenizer, name, list(stream.prompts.values()), body)
        if body.stream:
            return EventStream(stream, reply, limits)
        return await whole_answer(stream, reply, limits, request.receive)

    @app.get("/v1/models")
    async def models() -> ModelList:
        """List the model that is served."""
        return ModelList(object="list", data=[model])

    @app.get("/v1/models/{model_id:path}")
    async def model_of(model_id: str) -> Model:
        """Describe the model, if it has this name."""
        if model_id != name:
            raise APIError(404, f"the model {model_id!r} is not served here", param="model", code="model_not_found")
        return model

    @app.get("/health", responses={503: {"model": Health}})
    async def health() -> Response:
        """Status 200 if requests are taken, 503 if not or no more."""
        status = "dead" if not engine.is_healthy else "ok" if engine.is_accepting else "draining"
        return JSONResponse({"status": status}, 200 if status == "ok" else 503)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {CONTENT_TYPE_LATEST: {}}}})
    async def tell_metrics() -> Response:
        """All metrics in Prometheus's text form."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app


def _streaming() -> dict[int | str, dict[str, Any]]:
    data = {"type": "string", "description": "A chunk as JSON, or an error; after the last chunk `[DONE]`."}
    event = {"type": "object", "properties": {"data": data}, "required": ["data"]}
    return {200: {"content": {"text/event-stream": {"itemSchema": event}}}}  # OpenAPI 3.2's word; FastAPI's too
