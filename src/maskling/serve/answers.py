"""Answers as JSON, of arrays too."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Response


def as_json(answer: Any) -> Response:
    """The whole response. Numbers that are none become null.

    A list of vectors written number by number would keep all other requests waiting for it.
    """
    return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
