"""ASGI middleware: buffered requests with a size limit, responses in parts, and request metrics for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskling.serve.batching import Batcher
from maskling.serve.bounds import REQUEST_MEMORY, Memory, RequestMemory
from maskling.serve.http import error_response, error_responses

MAX_BODY_BYTES: Final = 4 << 20
# Bytes of all requests in progress, beyond the first few of each.
MAX_BUFFERED_BYTES: Final = 32 << 20
_SMALL_BODY: Final = 1 << 16
# Seconds until a request must have arrived whole.
BODY_SECONDS: Final = 30.0
# A response is handed to the connection in parts, each when the client has read most of those before.
_PART_BYTES: Final = 1 << 18

# The status that nginx logs when a client closes the connection before the response.
_CLIENT_CLOSED: Final = 499
_INTERNAL_ERROR: Final = 500


class _TooMuchError(Exception):
    """A request that is refused while it is read. status, message: of the response."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class BufferedRequests:
    """Reads each request whole, within limits, before it is handled, and cancels it when its client disconnects.

    max_bytes: of the body of a request; seconds: in which it must arrive. The memory for its answer (see
    `RequestMemory`) is held until the response is sent.
    """

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES, seconds: float = BODY_SECONDS) -> None:
        self._app, self._max_bytes, self._seconds = app, max_bytes, seconds
        self._memory, self._buffered = Memory(), 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        memory = RequestMemory(self._memory)
        token = REQUEST_MEMORY.set(memory)
        try:
            if await self._read(scope, receive, body):
                await self._handle(scope, bytes(body), receive, _in_parts(send))
        except _TooMuchError as error:
            close = {"Connection": "close"}
            await error_response(scope["path"], error.status, error.message, close)(scope, receive, send)
        finally:
            self._buffered -= max(0, len(body) - _SMALL_BODY)
            memory.release()
            REQUEST_MEMORY.reset(token)

    async def _handle(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        disconnected = asyncio.Event()
        handling = asyncio.ensure_future(self._app(scope, _replay(body, disconnected), send_and_note))
        leaving = asyncio.ensure_future(_until_disconnected(receive))
        try:
            await asyncio.wait((handling, leaving), return_when=asyncio.FIRST_COMPLETED)
            # A server also reports a disconnect when the response is complete.
            if not handling.done() and not started:
                handling.cancel()
            disconnected.set()
            with contextlib.suppress(asyncio.CancelledError):
                await handling
        except asyncio.CancelledError:  # the server is shutting down, and the time for this request is over
            handling.cancel()
            if not started:
                message = "the server is shutting down; use another server, or try again later"
                await error_response(scope["path"], HTTPStatus.SERVICE_UNAVAILABLE, message)(scope, receive, send)
        finally:
            leaving.cancel()

    async def _read(self, scope: Scope, receive: Receive, body: bytearray) -> bool:
        """Read the body; return whether it is whole, or its client has left. Raises _TooMuchError."""
        length = Headers(scope=scope).get("content-length", "")
        too_large = f"the request is larger than {self._max_bytes >> 20} MB; send fewer texts at a time"
        if length.isdigit() and int(length) > self._max_bytes:
            raise _TooMuchError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large)
        more, loop = True, asyncio.get_running_loop()
        end = loop.time() + self._seconds
        while more:
            try:
                message = await asyncio.wait_for(receive(), end - loop.time())
            except TimeoutError:
                too_slow = f"the request did not arrive within {self._seconds:.0f} seconds; send it again"
                raise _TooMuchError(HTTPStatus.REQUEST_TIMEOUT, too_slow) from None
            if message["type"] == "http.disconnect":
                return False
            before = max(0, len(body) - _SMALL_BODY)
            body += message.get("body", b"")
            self._buffered += max(0, len(body) - _SMALL_BODY) - before
            more = message.get("more_body", False)
            if len(body) > self._max_bytes:
                raise _TooMuchError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large)
            if self._buffered > MAX_BUFFERED_BYTES and len(body) > _SMALL_BODY:
                too_many = "too many large requests are arriving; try again later, or send fewer texts at a time"
                raise _TooMuchError(HTTPStatus.TOO_MANY_REQUESTS, too_many)
        return True


def _in_parts(send: Send) -> Send:
    """Return a `send` that hands over large bodies in parts."""

    async def send_in_parts(message: Message) -> None:
        body = message.get("body", b"")
        for first in range(0, len(body) - _PART_BYTES, _PART_BYTES):
            await send({"type": "http.response.body", "body": body[first : first + _PART_BYTES], "more_body": True})
        if len(body) > _PART_BYTES:
            rest = (len(body) - 1) % _PART_BYTES + 1
            message = {**message, "body": body[-rest:]}
        await send(message)

    return send_in_parts


def _replay(body: bytes, disconnected: asyncio.Event) -> Receive:
    """Return an ASGI `receive` that gives the body at once, and then the disconnect when it comes."""
    given = False

    async def receive() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        await disconnected.wait()
        return {"type": "http.disconnect"}

    return receive


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class RequestMetrics:
    """Prometheus metrics: requests and seconds per endpoint, and the batcher's calls and queue."""

    def __init__(self, batcher: Batcher) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_BatcherCollector(batcher))
        labels = ["path", "status"]
        self._requests = Counter("maskling_requests", "Requests", labels, registry=self._registry)
        self._seconds = Histogram(
            "maskling_request_seconds", "Seconds from request to response", ["path"], registry=self._registry
        )

    def add_route(self, app: FastAPI) -> None:
        """Add GET /metrics."""

        described = {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus metrics"}

        @app.get(
            "/metrics",
            tags=["text-embeddings-inference"],
            response_class=PlainTextResponse,
            responses={200: described, **error_responses(body=False)},
        )
        async def metrics() -> Response:
            """Metrics for Prometheus."""
            return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    def observe(self, path: str, status: int, seconds: float) -> None:
        """Count a request. path: of the route, not of the URL, which has unlimited values."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)


class CountRequests:
    """Counts every request, however it ends."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = _CLIENT_CLOSED, time.perf_counter()

        async def send_and_note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except asyncio.CancelledError:
            raise
        except Exception:
            status = _INTERNAL_ERROR
            raise
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.observe(path, status, time.perf_counter() - began)


class _BatcherCollector:
    """Prometheus collector that reads the batcher's counters on each scrape."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("maskling_model_calls", "Calls of the model", value=self._batcher.calls)
        yield CounterMetricFamily("maskling_model_texts", "Texts in these calls", value=self._batcher.items)
        yield GaugeMetricFamily("maskling_waiting_texts", "Texts in the queue", self._batcher.num_queued)
