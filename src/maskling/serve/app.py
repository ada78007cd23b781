"""The application: endpoints, the page, and what guards them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles

from maskling import __version__
from maskling.serve import embeddings_inference, hugging_face, openai, own
from maskling.serve.asking import Asking
from maskling.serve.batching import Batcher
from maskling.serve.counters import Counted, Counters
from maskling.serve.own_names import OwnNames
from maskling.serve.problems import answer_mistakes
from maskling.serve.service import Service
from maskling.serve.whole_requests import WholeRequests

PAGE: Final = Path(__file__).parent / "page"
# The page takes nothing from anywhere else, and nothing else may frame it.
_POLICY: Final = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"


def application(service: Service, names: Collection[str] | None = None, batcher: Batcher | None = None) -> FastAPI:
    """The whole server for one model.

    names: those under which it answers alone, see `OwnNames`; None is any. batcher: what runs the model.
    """
    batcher = batcher or Batcher()

    app = FastAPI(
        title=f"maskling: {service.name}",
        version=__version__,
        docs_url=None,  # its page is another server's
        redoc_url=None,
    )
    asking = Asking(service, batcher)
    for endpoints in (own, hugging_face, openai, embeddings_inference):
        app.include_router(endpoints.router(asking))
    answer_mistakes(app)
    counters = Counters(batcher)
    counters.answer(app)

    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": _POLICY})

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    # The last is the outermost.
    app.add_middleware(WholeRequests)
    if names is not None:
        app.add_middleware(OwnNames, names=names)
    app.add_middleware(Counted, counters=counters)
    return app
