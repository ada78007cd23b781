"""Names of places as a card that may be published gives them."""

from __future__ import annotations

from pathlib import PurePath
from urllib.parse import urlsplit


def public_name(place: str) -> str:
    """What a source is called, without where it lay on someone's machine.

    The last part of a path; an address without user, password and query, which may hold a key; names such as
    'python-docs:' and 'hf:NAME' as they are.
    """
    if "://" in place:
        parts = urlsplit(place)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"
    if place.startswith(("hf:", "python-docs:")):
        return place
    return PurePath(place.replace("\\", "/")).name or place
