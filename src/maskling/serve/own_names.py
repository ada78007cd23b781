"""A server on this machine alone answers under its own names alone.

Else any page in a browser could reach it, by letting a name of its own mean this machine.
"""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus

from maskling.serve.asgi import App, Receive, Scope, Send, header
from maskling.serve.problems import problem


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
