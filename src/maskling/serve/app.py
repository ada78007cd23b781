"""The FastAPI application, the socket it listens on, and the server loop."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.middleware.cors import CORSMiddleware

from maskling.errors import SettingsError
from maskling.serve.access import AllowedHosts, ApiKey
from maskling.serve.batching import Batcher
from maskling.serve.connections import ACCEPTED_AT_ONCE, BACKLOG, LimitedConnection, QuietAccept, max_connections
from maskling.serve.http import add_error_handlers
from maskling.serve.hugging_face import hugging_face_router
from maskling.serve.middleware import BufferedRequests, CountRequests, RequestMetrics
from maskling.serve.native import native_router
from maskling.serve.openai import openai_router
from maskling.serve.queued import QueuedService
from maskling.serve.rerank import rerank_router
from maskling.serve.service import Service
from maskling.serve.tei import tei_router
from maskling.version import __version__

PAGE: Final = Path(__file__).parent / "page"
# The page loads nothing from other sites and cannot be framed by them.
_POLICY: Final = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"

_LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")
_SHUTDOWN_SECONDS: Final = 10
# Many clients keep a connection for later requests, and see an error if it is closed as they send one.
_KEEP_ALIVE_SECONDS: Final = 30


def create_app(
    service: Service,
    hosts: Collection[str] | None = None,
    batcher: Batcher | None = None,
    *,
    api_key: str | None = None,
    origins: Sequence[str] = (),
    compared: Service | None = None,
) -> FastAPI:
    """Return the application that serves one model.

    compared: a second model that the page shows beside it, with the same endpoints below /compare.
    hosts: the only accepted host names, see `AllowedHosts`; None accepts any. batcher: runs the model. api_key: the
    only accepted key; None accepts requests without one. origins: of web pages that may use the server (CORS).
    """
    batcher = batcher or Batcher()

    app = FastAPI(
        title=f"maskling: {service.name}",
        version=__version__,
        docs_url=None,  # FastAPI's documentation pages load scripts from other sites, so there is one of our own
        redoc_url=None,
    )
    # A server that other machines can reach may not show the texts that the model was made from.
    name = None if compared is None else compared.name
    _add_endpoints(app, QueuedService(service, batcher, shows_data=hosts is not None, compared=name))
    if compared is not None:
        if compared.task != service.task:
            raise SettingsError(
                f"{compared.name} is for {compared.task}, and {service.name} for {service.task}; compare models of the "
                f"same task"
            )
        other = FastAPI(title=f"maskling: {compared.name}", openapi_url=None, docs_url=None, redoc_url=None)
        _add_endpoints(other, QueuedService(compared, batcher))
        app.mount("/compare", other)
    metrics = RequestMetrics(batcher)
    metrics.add_route(app)

    @app.head("/", include_in_schema=False)
    @app.get("/", tags=["page"], response_class=HTMLResponse)
    async def page() -> Response:
        """Return the demo page."""
        return FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": _POLICY})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return FileResponse(PAGE / "docs.html", headers={"Content-Security-Policy": _POLICY})

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    # The last one added is the outermost.
    app.add_middleware(BufferedRequests)
    if api_key is not None:
        app.add_middleware(ApiKey, key=api_key)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    if hosts is not None:
        app.add_middleware(AllowedHosts, hosts=hosts)
    app.add_middleware(CountRequests, metrics=metrics)
    app.openapi = _with_limits(app.openapi, service, keyed=api_key is not None)  # type: ignore[method-assign]
    return app


def _add_endpoints(app: FastAPI, queued: QueuedService) -> None:
    for router in (native_router, hugging_face_router, openai_router, tei_router, rerank_router):
        app.include_router(router(queued))
    add_error_handlers(app)


def _with_limits(schema: Callable[[], dict[str, Any]], service: Service, keyed: bool) -> Callable[[], dict[str, Any]]:
    """Return a function that adds the limits of the model, and the API key, to the description of the application."""

    def openapi() -> dict[str, Any]:
        described = schema()
        for dimensions in _named(described, "dimensions"):
            for branch in dimensions.get("anyOf", ()):
                if branch.get("type") == "integer":
                    branch["maximum"] = service.model.module.config.hidden_size
        schemas = described["components"]["schemas"]
        schemas["EmbeddingsRequest"]["properties"]["truncate_prompt_tokens"]["anyOf"][0]["enum"] = [
            -1,
            service.model.max_length,
        ]
        if service.task != "regress" and "RerankRequest" in schemas:
            schemas["RerankRequest"]["properties"]["raw_scores"]["anyOf"][0]["const"] = False
        ids, many = schemas["DecodeRequest"]["properties"]["ids"]["anyOf"]
        for items in (ids["items"], many["items"]["items"]):
            items["maximum"] = service.model.tokenizer.vocab_size - 1
        if keyed:
            described["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            described["security"] = [{"key": []}]
        return described

    return openapi


def _named(tree: Any, name: str) -> Iterator[dict[str, Any]]:
    """Yield the objects that a JSON tree has under a key."""
    if isinstance(tree, dict):
        if isinstance(tree.get(name), dict):
            yield tree[name]
        tree = list(tree.values())
    for one in tree if isinstance(tree, list) else ():
        yield from _named(one, name)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address.

    Raises SettingsError if the address is in use, is not one of this machine's, or may not be used.
    """
    try:
        family, _, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise SettingsError(f"--host {host}: there is no such address; 127.0.0.1 is this machine alone") from None
    # Without an explicit protocol asyncio does not turn off Nagle's algorithm, which costs 40 ms per response.
    listener = socket.socket(family, socket.SOCK_STREAM, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {host}:{port}: {(error.strerror or str(error)).lower()}; choose another --port "
            f"(0 picks a free one) or --host"
        ) from None
    return listener


def local_hosts(host: str, listener: socket.socket) -> tuple[str, ...] | None:
    """Return the host names of a server that only this machine can reach, or None if other machines can.

    host: as given to `listen`.
    """
    address = listener.getsockname()[0]
    if not ipaddress.ip_address(address).is_loopback:
        return None
    return tuple({*_LOCAL_HOSTS, *(f"[{name}]" if ":" in name else name for name in (host, address))})


def url_of(listener: socket.socket) -> str:
    """Return the address as a browser accepts it."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve_until_stopped(app: FastAPI, listener: socket.socket, on_ready: Callable[[], None] = lambda: None) -> None:
    """Serve until Ctrl-C or SIGTERM, then wait at most ten seconds for the requests in progress.

    uvicorn handles these signals while it serves and raises them again at the end, so this function ends with the
    exception of the caller's signal handler.
    """
    limited = type("Connection", (LimitedConnection,), {"limit": max_connections()})
    config = uvicorn.Config(
        app,
        http=limited,
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        backlog=ACCEPTED_AT_ONCE,
        lifespan="off",
    )
    _Server(config, on_ready).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Server that calls a function when it accepts requests."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(QuietAccept())
        await super().startup(sockets)
        for each in sockets or ():
            # asyncio takes one number for both: connections that the kernel queues, and those accepted in one go,
            # before any of them can be refused.
            each.listen(BACKLOG)
        if self.started:
            self._on_ready()
