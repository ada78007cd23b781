"""What all endpoints share: request types, JSON responses, and error responses in the shape that each client reads."""

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

_T = TypeVar("_T")

# Texts per request; clients split longer lists into several requests.
MAX_TEXTS: Final = 2048

TextOrTexts = str | Annotated[list[str], Field(min_length=1, max_length=MAX_TEXTS)]

# OpenAI clients expect the message in an object; all others expect a string.
_OPENAI_PREFIX: Final = "/v1/"


class StrictRequest(BaseModel):
    """Request body in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


def check_model_name(name: str, service: Service) -> None:
    """Raise HTTPException (404) if `name` is not the served model."""
    if name != service.name:
        raise HTTPException(404, f"there is no model {name!r} here, only {service.name!r}")


def as_list(one_or_many: _T | list[_T]) -> list[_T]:
    """Return a list, of one item if a single item was given."""
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]


def json_response(content: Any) -> Response:
    """Return `content`, which may hold numpy arrays, as a JSON response. NaN and infinity become null.

    orjson, because the standard library would block all other requests while it writes a list of vectors.
    """
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def add_error_handlers(app: FastAPI) -> None:
    """Answer every request error with one clear line, and internal errors without details."""

    @app.exception_handler(MasklingError)
    async def user_error(request: Request, error: MasklingError) -> JSONResponse:
        return error_response(request.url.path, HTTPStatus.UNPROCESSABLE_ENTITY, str(error))

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> JSONResponse:
        return error_response(request.url.path, HTTPStatus.TOO_MANY_REQUESTS, str(error), {"Retry-After": "1"})

    @app.exception_handler(RequestValidationError)
    async def invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
        if "json" not in request.headers.get("content-type", ""):
            message = "the request is not declared as JSON; send it with the header Content-Type: application/json"
            return error_response(request.url.path, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)
        return error_response(request.url.path, HTTPStatus.UNPROCESSABLE_ENTITY, _validation_message(error))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        path, message = request.url.path, str(error.detail)
        if message == HTTPStatus.NOT_FOUND.phrase:
            message = f"there is nothing at {path}; see /openapi.json for the endpoints"
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            message = f"{path} does not accept {request.method}; see /openapi.json"
        elif error.status_code == HTTPStatus.BAD_REQUEST:
            message = "the request cannot be read; send JSON in UTF-8, without huge numbers or deep nesting"
        return error_response(path, error.status_code, message, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def internal_error(request: Request, error: Exception) -> JSONResponse:
        message = f"internal server error ({type(error).__name__}); see the server's own output"
        return error_response(request.url.path, HTTPStatus.INTERNAL_SERVER_ERROR, message)


def error_response(path: str, status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an error as JSON, in the shape that the clients of this path read."""
    kind = {413: "too_large", 422: "validation", 429: "overloaded", 500: "backend"}.get(status, "request")
    if path.startswith(_OPENAI_PREFIX):
        error = {"message": message, "type": f"{kind}_error", "param": None, "code": None}
        return JSONResponse({"error": error}, status, headers)
    return JSONResponse({"error": message, "error_type": kind}, status, headers)


def _validation_message(error: RequestValidationError) -> str:
    """Return the first error of each key, for at most three keys."""
    messages: dict[str, str] = {}
    for problem in error.errors():
        if problem["type"] == "json_invalid":
            return f"the request is not JSON: {problem.get('ctx', {}).get('error', 'it cannot be read')}"
        # For a union of text and texts, pydantic adds the member it tried to the location.
        keys = [str(part) for part in problem["loc"][1:] if part != "str" and not str(part).startswith("list[")]
        message = "there is no such key here" if problem["type"] == "extra_forbidden" else problem["msg"]
        messages.setdefault(".".join(keys) or "the request", message[0].lower() + message[1:])
    return "; ".join(f"{key}: {message}" for key, message in list(messages.items())[:3])
