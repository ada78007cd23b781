"""Requests that are too large are refused before they are read whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from maskling.serve.problems import problem

MOST_BYTES: Final = 32 << 20

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class SizeLimit:
    """ASGI middleware. most: bytes of the body of a request."""

    def __init__(self, app: App, most: int = MOST_BYTES) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = dict(scope["headers"]).get(b"content-length", b"")
        # Some bodies come in pieces and do not say how long they are: those are read here, as far as they may go.
        pieces: list[Message] = []
        size = int(said) if said.isdigit() else 0
        more = not said
        while more and size <= self._most:
            pieces.append(await receive())
            size += len(pieces[-1].get("body", b""))
            more = pieces[-1].get("more_body", False)
        if size > self._most:
            answer = problem(
                scope["path"],
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the request is larger than {self._most >> 20} MB; send fewer texts at a time",
                {"Connection": "close"},
            )
            await answer(scope, receive, send)
            return
        rest = iter(pieces)

        async def again() -> Message:
            piece = next(rest, None)
            return piece if piece is not None else await receive()

        await self._app(scope, again, send)
