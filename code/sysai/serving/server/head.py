"""HEAD: the head of what GET would answer, which monitors and load balancers ask for (RFC 9110, section 9.3.2).

The routes see a GET; that no body follows is the HTTP layer's part, which knows what was asked.
"""

from starlette.types import ASGIApp, Receive, Scope, Send


class AnswerHead:
    """An ASGI application in front of `app`, which gets a GET for a HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = scope | {"method": "GET"}
        await self.app(scope, receive, send)
