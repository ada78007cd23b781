"""Numbers about requests, as Prometheus reads them at /metrics."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from maskling.serve.batching import Batcher


def count_requests(app: FastAPI, batcher: Batcher) -> None:
    """Count requests and seconds by endpoint, and what the batcher does; answer GET /metrics."""
    registry = CollectorRegistry()
    requests = Counter("maskling_requests", "Requests answered", ["path", "status"], registry=registry)
    seconds = Histogram("maskling_request_seconds", "Seconds from request to answer", ["path"], registry=registry)
    registry.register(_OfBatcher(batcher))

    @app.middleware("http")
    async def counted(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        began = time.perf_counter()
        response = await call_next(request)
        # The route, not the address, of which there are as many as anybody cares to ask for.
        route = request.scope.get("route")
        path = getattr(route, "path", "other")
        requests.labels(path, response.status_code).inc()
        seconds.labels(path).observe(time.perf_counter() - began)
        return response

    @app.get("/metrics", tags=["text-embeddings-inference"])
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _OfBatcher:
    """What the batcher knows, read when it is asked for."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("maskling_model_calls", "Calls of the model", value=self._batcher.calls)
        yield CounterMetricFamily("maskling_model_texts", "Texts in these calls", value=self._batcher.items)
        yield GaugeMetricFamily("maskling_waiting_texts", "Texts that wait for the model", self._batcher.num_waiting)
