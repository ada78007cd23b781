"""A request is read whole before it is answered, as far as it may go, and given up when its client leaves."""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import Final

from maskling.serve.asgi import App, Message, Receive, Scope, Send, header
from maskling.serve.problems import problem

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
