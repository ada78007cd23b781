"""HTTP connections with limits: their number, the time for a request and a response, and no flood of logs."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from maskling.serve.http import error_content

# Connections that may be open, if the limit of open files allows.
MAX_CONNECTIONS: Final = 1000
# The kernel's queue of connections that are not accepted yet, and those accepted at a time.
BACKLOG: Final = 1024
ACCEPTED_AT_ONCE: Final = 16
# Files that the process may still need to open.
_SPARE_FILES: Final = 64
# Seconds for the head of a request, and without progress of a client that reads its response.
HEAD_SECONDS: Final = 10.0
STALLED_SECONDS: Final = 30.0
_LOG_SECONDS: Final = 60.0

_LOG: Final = logging.getLogger("uvicorn.error")


def max_connections() -> int:
    """Return how many connections may be open at once, so that the process never runs out of files."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MAX_CONNECTIONS
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    folder = Path("/proc/self/fd")
    opened = len(list(folder.iterdir())) if folder.is_dir() else 32
    return max(8, min(MAX_CONNECTIONS, files - opened - _SPARE_FILES))


class LimitedConnection(H11Protocol):
    """Connection that ends if its client is slow, and that makes room for others.

    A head must arrive within 10 seconds (the body: see `BufferedRequests`), and a client that does not read its
    response for 30 is cut off. When there are too many connections, the one that has waited longest for a request or
    for the rest of one is closed, so that a client that sends its request at once always finds room.
    """

    limit = MAX_CONNECTIONS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = time.monotonic()
        if len(self.connections) > self.limit:
            others = [one for one in self.connections if isinstance(one, LimitedConnection) and one is not self]
            waiting = [one for one in others if one._waits() and not one.transport.is_closing()]
            if not waiting:
                self._refuse(503, "the server has too many connections; try again later, or use another server")
                return
            min(waiting, key=lambda one: one._since)._drop()
        self._start(HEAD_SECONDS, self._drop)

    def _waits(self) -> bool:
        """Return whether the server waits for this client: for a request, or for the rest of one."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def data_received(self, data: bytes) -> None:
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._since = time.monotonic()
            self._start(HEAD_SECONDS, self._drop)
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()

    def on_response_complete(self) -> None:
        self._since = time.monotonic()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start(STALLED_SECONDS, self._drop)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - given by uvicorn
        """Refuse a request that is not HTTP, in the form of all errors."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._refuse(400, "the request is not valid HTTP")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        body = json.dumps(error_content("/", status, message)).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _start(self, seconds: float, call: Any) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, call)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drop(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()


class QuietAccept:
    """Exception handler of an event loop that reports a lack of files once a minute.

    Otherwise asyncio logs a traceback for each connection that it cannot accept, thousands a second.
    """

    def __init__(self) -> None:
        self._reported = -_LOG_SECONDS

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle the error that `context` describes."""
        if "accept() out of system resource" not in str(context.get("message")):
            loop.default_exception_handler(context)
            return
        if loop.time() - self._reported >= _LOG_SECONDS:
            self._reported = loop.time()
            _LOG.warning("no connection can be accepted, because too many files are open; raise 'ulimit -n'")
