"""What is measured and limited of every request, before anything reads it."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recbole_diffusion.serving.service.metrics import Metrics

# For the whole body of a request to arrive.
BODY_SECONDS = 10.0
RETRY_AFTER = {"Retry-After": "1"}


class Measured:
    """Counts and times the answers of each path.

    Args:
        app: What answers.
        metrics: Where they are counted.
        paths: That are told apart; the others are one.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Iterable[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and count."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else "other"
        start, status = time.perf_counter(), 500

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, told)
        finally:
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - start)


class Limited:
    """Takes some requests with a body at once, and bodies up to a size.

    Args:
        app: What answers; it gets the whole body at once.
        metrics: Where requests under way are told.
        most_requests: At once.
        most_bytes: Of a body.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, most_requests: int, most_bytes: int) -> None:
        self._app, self._metrics = app, metrics
        self._most_requests, self._most_bytes = most_requests, most_bytes
        self._n_requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        if self._n_requests >= self._most_requests:
            text = f"busy: {self._most_requests} requests are under way (key `max_requests`)"
            await _refused(503, text, RETRY_AFTER)(scope, receive, send)
            return
        self._n_requests += 1
        self._metrics.under_way.set(self._n_requests)
        try:
            await self._answer(scope, receive, send)
        finally:
            self._n_requests -= 1
            self._metrics.under_way.set(self._n_requests)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._body(scope, receive)
        except TimeoutError:
            text = f"body: found a part after {BODY_SECONDS:g} seconds, expected all of it"
            await _refused(408, text)(scope, receive, send)
            return
        if body is None:
            text = f"body: expected at most {self._most_bytes} bytes (key `max_bytes`)"
            await _refused(413, text)(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def received() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, received, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None as soon as it is known to be too long."""
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if int(declared) > self._most_bytes:
            return None
        parts, size = [], 0
        while True:
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            if size > self._most_bytes:
                return None
            parts.append(part)
            if not message.get("more_body", False):  # also of one who has gone
                return b"".join(parts)


def _refused(status: int, detail: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, {"Connection": "close", **(headers or {})})
