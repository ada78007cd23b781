"""Small tokenizers of every kind, trained here."""

from __future__ import annotations

import pytest

from maskling.tokenizer.tokenizer import Tokenizer
from oracles.tokenizer_recipes import DOMAIN_RECIPES, RECIPES, small

_KINDS = {name: recipe.get("kind", "wordpiece") for name, recipe in (RECIPES | DOMAIN_RECIPES).items()}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out tests of texts that are split as bytes for tokenizers that split none so, where nothing differs."""
    items[:] = [item for item in items if not _is_repeated(item)]


def _is_repeated(item: pytest.Item) -> bool:
    params = item.callspec.params if hasattr(item, "callspec") else {}
    kind = _KINDS.get(params.get("tokenizer"))
    about_splitting = item.name.startswith("test_only_bert_tokenizers_split_texts_as_bytes")
    return params.get("split_as") == "bytes" and kind not in (None, "wordpiece") and not about_splitting


@pytest.fixture(scope="session", params=RECIPES)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """One of every kind in turn."""
    return small(request.param)
