"""The API key: `Authorization: Bearer KEY`, asked for on every path but `/health`.

Keys are compared in a time that does not depend on where they differ (`hmac.compare_digest`), and before anything of
the body is read.
"""

import hmac

from starlette.types import ASGIApp, Receive, Scope, Send

from sysai.serving.server.errors import APIError


class RequireKey:
    """An ASGI application in front of `app`."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self.app, self._expected = app, b"bearer " + api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request that has the key, or needs none."""
        if scope["type"] != "http" or scope["path"] == "/health" or self._has_key(scope):
            return await self.app(scope, receive, send)
        message = "wrong or no API key: send the header 'Authorization: Bearer KEY'"
        error = APIError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        await error.response()(scope, receive, send)

    def _has_key(self, scope: Scope) -> bool:
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, space, key = header.partition(b" ")
        return hmac.compare_digest(scheme.lower() + space + key, self._expected)
