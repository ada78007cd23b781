"""docs/reference/settings.md: every setting, in a table per section and per strategy of a section."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from generator.markdown import limits, prose, table, type_name, value
from maskling.data.prepare.settings import PrepareSettings
from maskling.data.prepare.tokenizer_stage import TokenizerTrainingSettings
from maskling.finetuning.recipe import FinetuneRecipe
from maskling.train.recipe import Recipe

_INTRODUCTION = """\
# Settings

Settings are given on the command line as `--section.key value` (dashes and underscores are the same), or in a TOML file
given with `--config`, as `key = value` under `[section]`. Where a setting allows it, the text `none` means no value.
`maskling train --show` and `maskling prepare --show` print the values that would be used and the origin of each.
[Settings](../guides/settings.md) explains how files, presets and options are merged.

If a section has a `kind`, choosing another kind resets the section to that kind's settings and defaults. The defaults
here are those of the code; `train` starts from a preset, which overrides some of them: see [Presets](presets.md).
"""


_OF_TRAIN = """
## train

Used by `maskling train` and `maskling config`; `maskling inspect --example` takes those that define an example.
"""
_OF_FINETUNE = """
## finetune

Used by `maskling finetune`, in addition to `[packing]`, `[optimizer]`, `[schedule]` and `[system]` as in `train`; the
default learning rate depends on the size of the model, and the default schedule is `linear` with a warm-up of 0.1.
"""
_OF_PREPARE = """
## prepare

Used by `maskling prepare`; `maskling evaluate` and `maskling inspect` use `[corpus]` for text they read.
"""
_OF_TOKENIZER = """
## tokenizer

Used by `maskling tokenizer`: `[corpus]`, `[tokenizer]` and `[system]` of `prepare`, and, in a file given with
`--config`, above all sections:
"""


def settings_page() -> str:
    """Return the page."""
    prepare_sections = tuple(PrepareSettings.model_fields)
    parts = [
        _INTRODUCTION,
        _OF_TRAIN,
        section(Recipe),
        _OF_FINETUNE,
        section(FinetuneRecipe, left_out=("packing", "optimizer", "schedule", "system")),
        _OF_PREPARE,
        section(PrepareSettings),
        _OF_TOKENIZER,
        section(TokenizerTrainingSettings, left_out=prepare_sections),
    ]
    return "".join(parts)


def section(model: type[BaseModel], path: str = "", left_out: Sequence[str] = ()) -> str:
    """Return the table of a model's own settings, followed by its sections."""
    fields = {name: field for name, field in model.model_fields.items() if name not in left_out and not _is_kind(field)}
    inner = {name: sections for name, field in fields.items() if (sections := _models(field.annotation))}
    rows = [[f"`{name}`", *_row(field)] for name, field in fields.items() if name not in inner]
    parts = ["\n" + table(("setting", "type", "default", "description"), rows)] if rows else []
    if not fields:
        parts.append("\nNo settings.\n")
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


def _is_kind(field: FieldInfo) -> bool:
    """Return whether a field is the `kind` of a strategy, which is in the heading."""
    return get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in get_args(annotation) for model in _models(part)]
