"""What several endpoints are asked with."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from maskling.errors import MasklingError
from maskling.serve.batching import BusyError
from maskling.serve.service import Service

# FOLDED DOCS
# [answers] Answers as JSON, of arrays too.
# [problems] Mistakes as answers: what was wrong, in the shape that the client at that address reads.


T = TypeVar("T")

# Texts in one request; more of them are several requests.
MOST_TEXTS: Final = 2048

Texts = Annotated[list[str], Field(min_length=1, max_length=MOST_TEXTS)]
TextOrTexts = str | Texts


class OwnRequest(BaseModel):
    """A request of our own: a key that it does not know is a mistake, and is said to be one."""

    model_config = ConfigDict(extra="forbid", strict=True)


def check_name(name: str, service: Service) -> None:
    """Raise HTTPException, 404, for the name of another model."""
    if name != service.name:
        raise HTTPException(404, f"there is no model {name!r} here, only {service.name!r}")


def as_list(one_or_many: T | list[T]) -> list[T]:
    """A list for one text too."""
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]


def as_json(answer: Any) -> Response:
    """The whole response. Numbers that are none become null.

    A list of vectors written number by number would keep all other requests waiting for it.
    """
    return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


# Of OpenAI's clients, which want the message in an object; all others read a string.
_OPENAI = "/v1/"


def answer_mistakes(app: FastAPI) -> None:
    """Let every mistake of a request be answered with one clear line, and faults of ours without their insides."""

    @app.exception_handler(MasklingError)
    async def mendable(request: Request, error: MasklingError) -> JSONResponse:
        return problem(request.url.path, HTTPStatus.UNPROCESSABLE_ENTITY, str(error))

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> JSONResponse:
        return problem(request.url.path, HTTPStatus.TOO_MANY_REQUESTS, str(error), {"Retry-After": "1"})

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        if "json" not in request.headers.get("content-type", ""):
            said = "the request is not said to be JSON; send it with the header Content-Type: application/json"
            return problem(request.url.path, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, said)
        return problem(request.url.path, HTTPStatus.UNPROCESSABLE_ENTITY, _said(error))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        path, said = request.url.path, str(error.detail)
        if said == HTTPStatus.NOT_FOUND.phrase:
            said = f"there is nothing at {path}; see /openapi.json for what there is"
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            said = f"{path} does not take {request.method}; see /openapi.json"
        elif error.status_code == HTTPStatus.BAD_REQUEST:
            said = "the request cannot be read; it is JSON in UTF-8, with numbers of a usual size, not nested deeply"
        return problem(path, error.status_code, said, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> JSONResponse:
        said = f"a fault of the server ({type(error).__name__}); its own output says more"
        return problem(request.url.path, HTTPStatus.INTERNAL_SERVER_ERROR, said)


def problem(path: str, status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer to a mistake."""
    kind = {413: "too_large", 422: "validation", 429: "overloaded", 500: "backend"}.get(status, "request")
    if path.startswith(_OPENAI):
        error = {"message": message, "type": f"{kind}_error", "param": None, "code": None}
        return JSONResponse({"error": error}, status, headers)
    return JSONResponse({"error": message, "error_type": kind}, status, headers)


def _said(error: RequestValidationError) -> str:
    """The first mistake of each place, at most three."""
    said: dict[str, str] = {}
    for one in error.errors():
        if one["type"] == "json_invalid":
            return f"the request is no JSON: {one.get('ctx', {}).get('error', 'it cannot be read')}"
        # Of a choice between a text and texts pydantic names the kind it tried.
        names = [str(part) for part in one["loc"][1:] if part != "str" and not str(part).startswith("list[")]
        message = "there is no such key here" if one["type"] == "extra_forbidden" else one["msg"]
        said.setdefault(".".join(names) or "the request", message[0].lower() + message[1:])
    return "; ".join(f"{place}: {message}" for place, message in list(said.items())[:3])
