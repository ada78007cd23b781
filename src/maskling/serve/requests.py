"""What several endpoints are asked with."""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from maskling.serve.service import Service

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
