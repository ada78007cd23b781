"""Numbers about requests, as Prometheus reads them at /metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Final

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from maskling.serve.asgi import App, Message, Receive, Scope, Send
from maskling.serve.batching import Batcher

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
