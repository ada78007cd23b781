"""What all endpoints share: request types, JSON responses, and error responses in the shape that each client reads."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, TypeVar

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from starlette.exceptions import HTTPException
from starlette.routing import Match

from maskling.errors import MasklingError
from maskling.infer.masks import SPELLINGS
from maskling.serve.batching import BusyError
from maskling.serve.bounds import MAX_TARGET_CHARACTERS, MAX_TARGETS
from maskling.serve.service import Service

_T = TypeVar("_T")

# Texts per request; clients split longer lists into several requests.
MAX_TEXTS: Final = 2048


def _to_integer(value: Any) -> Any:
    """Return 3 for 3.0: JSON has one kind of number, and 3.0 is an integer in its schemas."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# In strict models, where a string or a boolean is not an integer. The limits come first: behind the validator they
# would not be in the JSON schema.
Integer = Annotated[int, BeforeValidator(_to_integer)]
Positive = Annotated[int, Field(ge=1), BeforeValidator(_to_integer)]


def integers(least: int, most: int) -> Any:
    """Return the type of an integer of a request that is `least` to `most`."""
    return Annotated[int, Field(ge=least, le=most), BeforeValidator(_to_integer)]


FromZero = Annotated[int, Field(ge=0, le=1000), BeforeValidator(_to_integer)]
Seed = Annotated[int, Field(ge=0, le=(1 << 53) - 1), BeforeValidator(_to_integer)]
UpToThousand = Annotated[int, Field(ge=1, le=1000), BeforeValidator(_to_integer)]


def _refuse_true(value: bool) -> bool:
    if value:
        raise ValueError("only false is supported")
    return value


# An option that other servers have; Literal[False] would accept 0.
OnlyFalse = Annotated[bool, AfterValidator(_refuse_true), WithJsonSchema({"type": "boolean", "const": False})] | None

# A word to choose for a mask; the schema says that it must not be empty.
Targets = Annotated[
    list[Annotated[str, WithJsonSchema({"type": "string", "pattern": r"\S", "maxLength": MAX_TARGET_CHARACTERS})]],
    Field(min_length=1, max_length=MAX_TARGETS, fail_fast=True),
]

# The tag decides whose errors are reported: those of a text, or those of a list.
TextOrTexts = Annotated[
    Annotated[str, Tag("a text")]
    | Annotated[list[str], Field(min_length=1, max_length=MAX_TEXTS, fail_fast=True), Tag("a list")],
    Discriminator(lambda value: "a list" if isinstance(value, list) else "a text"),
]

# The JSON schema of a text with masks, in the spellings that every model accepts.
MASKED_TEXT: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": "|".join(map(re.escape, SPELLINGS)),
    "description": "a text with masks",
}

# OpenAI clients expect the message in an object; all others expect a string.
_OPENAI_PREFIX: Final = "/v1/"

_ERROR_TYPES: Final = {
    401: "unauthorized",
    408: "timeout",
    413: "too_large",
    422: "validation",
    429: "overloaded",
    500: "backend",
    503: "overloaded",
}
_MEANINGS: Final = {
    400: "The request cannot be read, or comes under a host name that is not the server's",
    401: "The API key is missing or wrong",
    408: "The request did not arrive in time",
    413: "The request is too large",
    415: "The request is not declared as JSON",
    422: "The request is not valid, or beyond what the model or the limits allow",
    429: "Too many requests are waiting",
    500: "Internal error",
    503: "The server is shutting down, or has too many connections",
}


class ErrorAnswer(BaseModel):
    """An error: what is wrong and what to do, in one line."""

    error: str
    error_type: str


class OpenAIErrorDetail(BaseModel):
    """An error as OpenAI's clients read it."""

    message: str
    type: str
    param: None
    code: None


class OpenAIErrorAnswer(BaseModel):
    """An error as OpenAI's clients read it."""

    error: OpenAIErrorDetail


def error_responses(
    kind: type[BaseModel] = ErrorAnswer, *, not_found: str | None = None, body: bool = True
) -> dict[int | str, dict[str, Any]]:
    """Return the description of the error responses of an endpoint.

    not_found: what status 404 means there. body: whether its requests have a body.
    """
    without = (401, 400, 429, 500, 503)
    meanings = {status: words for status, words in _MEANINGS.items() if body or status in without}
    if not_found is not None:
        meanings[404] = not_found
    return {status: {"model": kind, "description": words} for status, words in sorted(meanings.items())}


class StrictRequest(BaseModel):
    """Request body in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


# Longer texts are cut at their end; there is no other direction.
TruncationDirection = Literal["right", "Right"] | None


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
        path, message, headers = request.url.path, str(error.detail), dict(error.headers or {})
        if message == HTTPStatus.NOT_FOUND.phrase:
            message = f"there is nothing at {path}; see /openapi.json for the endpoints"
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            message = f"{path} does not accept {request.method}; see /openapi.json"
            # Of all routes of this path; the framework lists the methods of the first alone.
            scopes = [{**request.scope, "method": method} for method in ("GET", "POST")]
            methods = [
                scope["method"]
                for scope in scopes
                if any(route.matches(scope)[0] is Match.FULL for route in app.routes)
            ]
            headers = {"Allow": ", ".join(methods)}
        elif error.status_code == HTTPStatus.BAD_REQUEST:
            message = "the request cannot be read; send JSON in UTF-8, without huge numbers or deep nesting"
        return error_response(path, error.status_code, message, headers)

    @app.exception_handler(Exception)
    async def internal_error(request: Request, error: Exception) -> JSONResponse:
        message = f"internal server error ({type(error).__name__}); see the server's own output"
        return error_response(request.url.path, HTTPStatus.INTERNAL_SERVER_ERROR, message)


def error_content(path: str, status: int, message: str) -> dict[str, Any]:
    """Return an error in the shape that the clients of this path read."""
    kind = _ERROR_TYPES.get(status, "request")
    if path.startswith(_OPENAI_PREFIX):
        return {"error": {"message": message, "type": f"{kind}_error", "param": None, "code": None}}
    return {"error": message, "error_type": kind}


def error_response(path: str, status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an error as JSON, in the shape that the clients of this path read."""
    return JSONResponse(error_content(path, status, message), status, headers)


def _validation_message(error: RequestValidationError) -> str:
    """Return the errors of at most three keys: the first of each, or one of each type that the key may have."""
    messages: dict[str, str] = {}
    for problem in error.errors():
        if problem["type"] == "json_invalid":
            return f"the request is not JSON: {problem.get('ctx', {}).get('error', 'it cannot be read')}"
        # For a union, pydantic adds the member that it tried to the location: "a text", or "literal['mean']".
        keys = [part for part in map(str, problem["loc"][1:]) if part not in ("a text", "a list") and part[-1:] != "]"]
        key, message = ".".join(keys) or "the request", _reworded(problem)
        if len(keys) < len(problem["loc"]) - 1 and str(problem["loc"][-1]).endswith("]") and key in messages:
            message = f"{messages[key]}, or {message.removeprefix('input should be ')}"
            messages[key] = message
        messages.setdefault(key, message)
    return "; ".join(f"{key}: {message}" for key, message in list(messages.items())[:3])


def _reworded(problem: dict[str, Any]) -> str:
    match problem["type"]:
        case "extra_forbidden":
            return "there is no such key here"
        case "too_long" if "max_length" in problem.get("ctx", {}):
            return f"more than {problem['ctx']['max_length']:,} items; send them in several requests"
        case "string_type" if "a text" in problem["loc"]:
            return "input should be a text or a list of texts"
        case "value_error":
            return str(problem["ctx"]["error"])
        case "none_required":
            return "not supported; leave it out"
    message = str(problem["msg"])
    return message[0].lower() + message[1:]
