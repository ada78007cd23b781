"""ASGI middleware: allowed host names, buffered requests with a size limit, and request metrics for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterator
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskling.serve.batching import Batcher
from maskling.serve.http import error_response

MAX_BODY_BYTES: Final = 4 << 20

# The status that nginx logs when a client closes the connection before the response.
_CLIENT_CLOSED: Final = 499
_INTERNAL_ERROR: Final = 500


class AllowedHosts:
    """Refuses requests to any other host name, for a server that only this machine can reach.

    Otherwise any page in a browser could reach it by letting a host name of its own resolve to this machine (DNS
    rebinding). hosts: as in a URL, without the port.
    """

    # Not starlette's TrustedHostMiddleware: it answers "Invalid host header" in plain text, without names or a remedy.
    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = _without_port(Headers(scope=scope).get("host", "")).lower()
            if host not in self._hosts:
                message = (
                    f"this server only accepts requests from its own machine, as {', '.join(sorted(self._hosts))}, "
                    f"not as {host!r}; start it with --host 0.0.0.0 to accept others"
                )
                await error_response(scope["path"], HTTPStatus.BAD_REQUEST, message)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _without_port(host: str) -> str:
    if host.startswith("["):  # IPv6
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


class BufferedRequests:
    """Reads each request whole, up to a size limit, before it is handled, and cancels it when its client disconnects.

    max_bytes: of the body of a request.
    """

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await self._read(scope, receive)
        if body is None:
            message = f"the request is larger than {self._max_bytes >> 20} MB; send fewer texts at a time"
            close = {"Connection": "close"}
            response = error_response(scope["path"], HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, close)
            await response(scope, receive, send)
            return
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

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the whole body, or None if it is too large."""
        length = Headers(scope=scope).get("content-length", "")
        if length.isdigit() and int(length) > self._max_bytes:
            return None
        chunks: list[bytes] = []
        more, size = True, 0
        while more:
            message = await receive()
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            more = message.get("more_body", False)
            if size > self._max_bytes:
                return None
        return b"".join(chunks)


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

        @app.get("/metrics", tags=["text-embeddings-inference"])
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
