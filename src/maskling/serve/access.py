"""Who may use the server: host names, API key, and origins of web pages. ASGI middleware."""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from maskling.errors import SettingsError
from maskling.serve.http import error_response

# A host name or an address, and a port.
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:@/?#\s]+)(:[0-9]{1,5})?")
_ORIGIN: Final = re.compile(rf"https?://{_HOST.pattern}")
# A monitor, and a browser's question whether a page may ask, have no key.
_OPEN_PATHS: Final = frozenset({"/health"})


class AllowedHosts:
    """Refuses requests to any other host name, for a server that only this machine can reach.

    Otherwise any page in a browser could reach it by letting a host name of its own resolve to this machine (DNS
    rebinding). hosts: as in a URL, without the port.
    """

    # Not starlette's TrustedHostMiddleware: it answers "Invalid host header" in plain text, without names or a remedy.
    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = Headers(scope=scope).get("host", "")
            match = _HOST.fullmatch(given)
            if match is None or match[1].lower() not in self._hosts:
                message = (
                    f"this server only accepts requests from its own machine, as {', '.join(sorted(self._hosts))}, "
                    f"not as {(match[1] if match else given)!r}; start it with --host 0.0.0.0 to accept others"
                )
                await error_response(scope["path"], HTTPStatus.BAD_REQUEST, message)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class ApiKey:
    """Refuses requests without the key in `Authorization: Bearer KEY`, except for /health and the demo page's files.

    key: compared in constant time.
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_open(scope):
            scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("latin-1"), self._key):
                message = "the API key is missing or wrong; send it with the header Authorization: Bearer KEY"
                headers = {"WWW-Authenticate": "Bearer"}
                await error_response(scope["path"], HTTPStatus.UNAUTHORIZED, message, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        path: str = scope["path"]
        page = path in ("/", "/docs") or path.startswith("/page/")
        return path in _OPEN_PATHS or (page and scope["method"] in ("GET", "HEAD"))


def check_origins(origins: Sequence[str]) -> tuple[str, ...]:
    """Return the origins in the form that browsers send. Raises SettingsError for anything that is not an origin."""
    for origin in origins:
        if origin != "*" and _ORIGIN.fullmatch(origin) is None:
            raise SettingsError(
                f"--allow-origin {origin}: not an origin, which is a scheme and a host, such as https://example.org "
                f"or http://localhost:3000; or give * for any"
            )
    return tuple(origin.lower() for origin in origins)


def check_key(key: str | None) -> str | None:
    """Return the API key. Raises SettingsError for one that no client can send in a header."""
    if key is not None and not re.fullmatch(r"[\x21-\x7e]+", key):
        raise SettingsError("the API key is empty or has characters other than ASCII without spaces; choose another")
    return key
