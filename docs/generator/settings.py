"""docs/reference/settings.md: every setting, a table for each section and each strategy a section may hold."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from generator.markdown import limits, prose, table, type_name, value
from maskling.data.prepare.settings import PrepareSettings
from maskling.data.prepare.tokenizer_stage import TokenizerTrainingSettings
from maskling.finetune.recipe import FinetuneRecipe
from maskling.train.recipe import Recipe

_INTRODUCTION = """\
# Settings

A setting is given on the command line as `--section.key value` (dashes and underscores are the same), or in a TOML
file given with `--config`, as `key = value` under `[section]`. Where a setting allows it, the text `none` means no
value. `maskling train --show` and `maskling prepare --show` print the values that would be used, and where each comes
from. [Settings](../guides/settings.md) explains how files, presets and options are merged.

Where a section has a `kind`, choosing another kind starts the section afresh, with that kind's settings and defaults.
The defaults here are those of the code; `train` starts from a preset, which says otherwise in places:
see [Presets](presets.md).
"""


_OF_TRAIN = """
## train

Taken by `maskling train` and `maskling init`; `maskling inspect --example` takes those that decide an example.
"""
_OF_FINETUNE = """
## finetune

Taken by `maskling finetune`, beside `[packing]`, `[optimizer]`, `[schedule]` and `[system]` as in `train`; there the
learning rate follows the size of the model, and the schedule is `linear` with a warm-up of 0.1.
"""
_OF_PREPARE = """
## prepare

Taken by `maskling prepare`; `maskling evaluate` and `maskling inspect` take `[corpus]` for text they read.
"""
_OF_TOKENIZER = """
## tokenizer

Taken by `maskling tokenizer`: `[corpus]`, `[tokenizer]` and `[system]` of `prepare`, and in a file given with
`--config`, above all sections:
"""


def settings_page() -> str:
    """The whole page."""
    of_prepare = tuple(PrepareSettings.model_fields)
    parts = [
        _INTRODUCTION,
        _OF_TRAIN,
        section(Recipe),
        _OF_FINETUNE,
        section(FinetuneRecipe, left_out=("packing", "optimizer", "schedule", "system")),
        _OF_PREPARE,
        section(PrepareSettings),
        _OF_TOKENIZER,
        section(TokenizerTrainingSettings, left_out=of_prepare),
    ]
    return "".join(parts)


def section(model: type[BaseModel], path: str = "", left_out: Sequence[str] = ()) -> str:
    """The table of a model's own settings, then the sections inside it."""
    fields = {
        name: field for name, field in model.model_fields.items() if name not in left_out and not _tells_apart(field)
    }
    inner = {name: sections for name, field in fields.items() if (sections := _models(field.annotation))}
    rows = [[f"`{name}`", *_row(field)] for name, field in fields.items() if name not in inner]
    parts = ["\n" + table(("setting", "type", "default", "what it is"), rows)] if rows else []
    if not fields:
        parts.append("\nIt has no settings.\n")
    for name, sections in inner.items():
        here = f"{path}.{name}" if path else name
        for found in sections:
            parts += [_heading(here, found, fields[name], len(sections)), section(found, here)]
    return "".join(parts)


def _heading(path: str, model: type[BaseModel], field: FieldInfo, choices: int) -> str:
    title = f"[{path}]"
    if choices > 1:
        default = " (the default)" if isinstance(field.default, model) else ""
        title += f' kind = "{model.model_fields["kind"].default}"{default}'
    return f"\n### {title}\n\n{prose(inspect.getdoc(model) or '')}\n"


def _row(field: FieldInfo) -> list[str]:
    kind = ", ".join([type_name(field.annotation), *limits(field.metadata)])
    return [kind, f"`{value(field.default)}`", prose(field.description or "")]


def _tells_apart(field: FieldInfo) -> bool:
    """Whether a field is the `kind` of a strategy: the heading says it."""
    return get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in get_args(annotation) for model in _models(part)]
