"""A recipe as a file for a person: every setting with what it means beside it."""

from __future__ import annotations

import textwrap

import tomli_w
from pydantic import BaseModel

from maskling.train.recipe import Recipe


def commented_toml(recipe: Recipe) -> str:
    """Every setting of `recipe` as TOML, each under a comment that says what it is. Reads back as the same recipe."""
    top = [line for name in type(recipe).model_fields for line in _setting(recipe, name)]
    sections = [_section(name, getattr(recipe, name)) for name in type(recipe).model_fields]
    return "\n".join(["\n".join(top), *filter(None, sections)]) + "\n"


def _section(name: str, section: object) -> str:
    if not isinstance(section, BaseModel):
        return ""
    lines = [line for field in type(section).model_fields for line in _setting(section, field)]
    nested = [_section(f"{name}.{field}", getattr(section, field)) for field in type(section).model_fields]
    return "\n".join([f"\n[{name}]", *lines, *filter(None, nested)])


def _setting(settings: BaseModel, name: str) -> list[str]:
    value = getattr(settings, name)
    if isinstance(value, BaseModel):
        return []
    described = type(settings).model_fields[name].description
    comment = textwrap.wrap(described or "", 110, initial_indent="# ", subsequent_indent="# ")
    plain = settings.model_dump(mode="json")[name]
    return [*comment, tomli_w.dumps({name: "none" if plain is None else plain}).rstrip()]
