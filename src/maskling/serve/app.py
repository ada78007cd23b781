"""The application: endpoints, the page, and what guards them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from maskling import __version__
from maskling.serve import embeddings_inference, hugging_face, openai, own
from maskling.serve.asking import Asking
from maskling.serve.batching import Batcher
from maskling.serve.counters import count_requests
from maskling.serve.problems import answer_mistakes
from maskling.serve.service import Service
from maskling.serve.size_limit import SizeLimit

PAGE: Final = Path(__file__).parent / "page"
# The page takes nothing from anywhere else, and nothing else may frame it.
_POLICY: Final = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"


def application(service: Service, hosts: Sequence[str] = ("*",)) -> FastAPI:
    """The whole server for one model.

    hosts: names under which it answers; a server on this machine alone should know them, or any page in a browser
    could reach it by giving its own name this machine's address.
    """
    batcher = Batcher()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        batcher.close()

    app = FastAPI(
        title=f"maskling: {service.name}",
        version=__version__,
        docs_url=None,  # its page is another server's
        redoc_url=None,
        lifespan=lifespan,
    )
    asking = Asking(service, batcher)
    for endpoints in (own, hugging_face, openai, embeddings_inference):
        app.include_router(endpoints.router(asking))
    answer_mistakes(app)
    count_requests(app, batcher)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": _POLICY})

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    app.add_middleware(SizeLimit)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    return app
