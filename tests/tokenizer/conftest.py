"""Small tokenizers of every kind, trained here."""

from __future__ import annotations

import pytest

from maskling.tokenizer.tokenizer import Tokenizer
from oracles.tokenizer_recipes import RECIPES, small


@pytest.fixture(scope="session", params=RECIPES)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """One of every kind in turn."""
    return small(request.param)
