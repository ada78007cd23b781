"""The application: endpoints, the page, and what guards them."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles

from maskling.errors import SettingsError
from maskling.serve import hugging_face, native, openai, tei
from maskling.serve.batching import Batcher
from maskling.serve.http import answer_mistakes
from maskling.serve.middleware import Counted, Counters, OwnNames, WholeRequests
from maskling.serve.service import Asking, Service
from maskling.version import __version__

# FOLDED DOCS
# [running] A server that runs until it is stopped.


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
    for endpoints in (native, hugging_face, openai, tei):
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


_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_SECONDS_TO_FINISH = 10


def listening(host: str, port: int) -> socket.socket:
    """A socket at an address. Raises SettingsError where it is taken, is not this machine's, or may not be used."""
    try:
        family, _, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise SettingsError(f"--host {host}: there is no such address; 127.0.0.1 is this machine alone") from None
    # Told its protocol, or asyncio would not turn Nagle's algorithm off: 40 ms for each answer.
    opened = socket.socket(family, socket.SOCK_STREAM, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind(address)
        opened.listen(128)
    except OSError as error:
        opened.close()
        raise SettingsError(
            f"{host}:{port} cannot be listened at: {(error.strerror or str(error)).lower()}; give another --port "
            f"(0 takes a free one) or --host"
        ) from None
    return opened


def names_of(host: str, opened: socket.socket) -> tuple[str, ...] | None:
    """The names under which a server answers on this machine alone; None where others reach it, by whatever name.

    host: as it was asked for.
    """
    address = opened.getsockname()[0]
    if not ipaddress.ip_address(address).is_loopback:
        return None
    return tuple({*_LOCAL, *(f"[{name}]" if ":" in name else name for name in (host, address))})


def address_of(opened: socket.socket) -> str:
    """The address as a browser wants it."""
    host, port = opened.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: FastAPI, opened: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until Ctrl-C or SIGTERM; requests that have begun are finished, for ten seconds at most."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=_SECONDS_TO_FINISH, lifespan="off"
    )
    server = _Server(config, ready)
    server.run(sockets=[opened])


class _Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()
