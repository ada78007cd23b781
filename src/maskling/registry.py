"""Tables of strategies: a name for each, and the pydantic union that a settings field needs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, TypeVar

from pydantic import Field

from maskling.config import Settings

T = TypeVar("T", bound=Settings)


def table(*strategies: type[T]) -> dict[str, type[T]]:
    """{'token': TokenMasking, ...} from classes that each have a `kind` with a default."""
    return {str(strategy.model_fields["kind"].default): strategy for strategy in strategies}


def choice(strategies: Mapping[str, type[Any]]) -> Any:
    """The annotation of a field that holds one of `strategies`, told apart by `kind`."""
    if len(strategies) == 1:
        return next(iter(strategies.values()))
    return Annotated[reduce(or_, strategies.values()), Field(discriminator="kind")]
