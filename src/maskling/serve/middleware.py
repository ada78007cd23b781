"""A server on this machine alone answers under its own names alone.

Else any page in a browser could reach it, by letting a name of its own mean this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from maskling.serve.batching import Batcher
from maskling.serve.http import problem

# FOLDED DOCS
# [whole_requests] A request is read whole before it is answered, as far as it may go, and given up when its client leaves.
# [counters] Numbers about requests, as Prometheus reads them at /metrics.
# [asgi] Names for what servers and applications say to each other.


class OwnNames:
    """ASGI middleware. names: as they stand in an address, without the port."""

    def __init__(self, app: App, names: Collection[str]) -> None:
        self._app, self._names = app, frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            name = _without_port(header(scope, "host")).lower()
            if name not in self._names:
                said = (
                    f"this server answers on its own machine alone, as {', '.join(sorted(self._names))}, not as "
                    f"{name!r}; start it with --host 0.0.0.0 to let others in"
                )
                await problem(scope["path"], HTTPStatus.BAD_REQUEST, said)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _without_port(host: str) -> str:
    if host.startswith("["):  # an address of IPv6
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


MOST_BYTES: Final = 4 << 20


class WholeRequests:
    """ASGI middleware. most: bytes of the body of a request."""

    def __init__(self, app: App, most: int = MOST_BYTES) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await self._body(scope, receive)
        if body is None:
            status, said = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request is larger than {self._most >> 20} MB"
            close = {"Connection": "close"}
            await problem(scope["path"], status, f"{said}; send fewer texts at a time", close)(scope, receive, send)
            return
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        left = asyncio.Event()
        answering = asyncio.ensure_future(self._app(scope, _again(body, left), noted))
        leaving = asyncio.ensure_future(_until_left(receive))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            # A server says that the client has left when the answer is complete, too.
            if not answering.done() and not begun:
                answering.cancel()
            left.set()
            with contextlib.suppress(asyncio.CancelledError):
                await answering
        except asyncio.CancelledError:  # the server ends, and this request has had its time
            answering.cancel()
            if not begun:
                said = "the server is being stopped; ask another, or again later"
                await problem(scope["path"], HTTPStatus.SERVICE_UNAVAILABLE, said)(scope, receive, send)
        finally:
            leaving.cancel()

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """All of it; None if it is too large."""
        said = header(scope, "content-length")
        if said.isdigit() and int(said) > self._most:
            return None
        pieces: list[bytes] = []
        more, size = True, 0
        while more:
            message = await receive()
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            more = message.get("more_body", False)
            if size > self._most:
                return None
        return b"".join(pieces)


def _again(body: bytes, left: asyncio.Event) -> Receive:
    """The body at once, and then that the client has left, once it has."""
    given = False

    async def receive() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    return receive


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


# What nginx writes of a client that did not wait for its answer.
_LEFT: Final = 499
_FAULT: Final = 500


class Counters:
    """Requests and seconds by endpoint, and what the batcher does."""

    def __init__(self, batcher: Batcher) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_OfBatcher(batcher))
        labels = ["path", "status"]
        self._requests = Counter("maskling_requests", "Requests", labels, registry=self._registry)
        self._seconds = Histogram(
            "maskling_request_seconds", "From request to answer", ["path"], registry=self._registry
        )

    def answer(self, app: FastAPI) -> None:
        """Answer GET /metrics."""

        @app.get("/metrics", tags=["text-embeddings-inference"])
        async def metrics() -> Response:
            """Counters for Prometheus."""
            return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    def add(self, path: str, status: int, seconds: float) -> None:
        """Count a request. path: of its route, not its address, of which there are as many as anybody asks for."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)


class Counted:
    """ASGI middleware that counts every request, whatever becomes of it."""

    def __init__(self, app: App, counters: Counters) -> None:
        self._app, self._counters = app, counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = _LEFT, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except asyncio.CancelledError:
            raise
        except Exception:
            status = _FAULT
            raise
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self._counters.add(path, status, time.perf_counter() - began)


class _OfBatcher:
    """What the batcher knows, read when it is asked for."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("maskling_model_calls", "Calls of the model", value=self._batcher.calls)
        yield CounterMetricFamily("maskling_model_texts", "Texts in these calls", value=self._batcher.items)
        yield GaugeMetricFamily("maskling_waiting_texts", "Texts that wait for the model", self._batcher.num_waiting)


Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def header(scope: Scope, name: str) -> str:
    """A header of a request, empty where there is none."""
    return str(dict(scope["headers"]).get(name.encode(), b"").decode("latin-1"))
