"""docs/reference/presets.md: the size, settings and sources of every preset."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from itertools import takewhile

import torch

from generator.markdown import prose, table, value
from maskling.config import flatten
from maskling.model.bert import Bert
from maskling.model.config import BertConfig
from maskling.model.modernbert import Modern
from maskling.train.recipe import DEFAULT_PRESET, Recipe, preset_names, read_recipe

_INTRODUCTION = f"""\
# Presets

A preset is a short file of settings. Use one with `maskling train --preset NAME`; any other setting can be given in
addition. A name without a family means the modern one: `small` is `modern-small`. The default is `{DEFAULT_PRESET}`.
Which preset to use for which text and machine: [Choosing a preset](../guides/choosing-a-preset.md).

Parameters are in millions, for a vocabulary of 8,000 and of 30,522 tokens.

"""
_VOCABULARIES = (8_000, 30_522)
_WITH_COMMENT = re.compile(r"^(\w+)\s*=.*?#\s*(.*)$")


def presets_page() -> str:
    """Return the page."""
    names = preset_names()
    header = ("preset", "layers x width", "parameters", "tokens per row", "rows per step", "steps", "masking", "pairs")
    return _INTRODUCTION + table(header, [_summary(name) for name in names]) + "".join(map(_preset, names))


def _summary(name: str) -> list[str]:
    recipe = read_recipe(default_preset=name).settings
    return [
        f"[`{name}`](#{name})",
        f"{recipe.model.num_layers} x {recipe.model.hidden_size}",
        " / ".join(f"{_parameters(recipe, size) / 1e6:.1f}" for size in _VOCABULARIES),
        f"{recipe.data.seq_length:,}",
        f"{recipe.train.batch_size:,}",
        f"{recipe.train.steps:,}",
        f"{recipe.masking.kind}, {recipe.masking.rate}",
        recipe.pairing.kind,
    ]


def _preset(name: str) -> str:
    lines = resources.files("maskling.presets").joinpath(f"{name}.toml").read_text(encoding="utf-8").splitlines()
    about = " ".join(line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines))
    tree = tomllib.loads("\n".join(lines))
    base, purpose = tree.pop("extends", None), tree.pop("about")
    comments = _comments(lines)
    rows = [[f"`{path}`", f"`{value(found)}`", prose(comments.get(path, ""))] for path, found in flatten(tree).items()]
    extends = f" Extends [`{base}`](#{base})." if base else ""
    return (
        f"\n## {name}\n\n{prose(about)}{extends} For {prose(purpose)}.\n\n{table(('setting', 'value', 'source'), rows)}"
    )


def _comments(lines: list[str]) -> dict[str, str]:
    """Return the comment after each setting of a TOML file, by dotted path."""
    section, comments = "", {}
    for line in lines:
        if line.startswith("["):
            section = f"{line.strip('[] ')}."
        elif match := _WITH_COMMENT.match(line):
            comments[section + match[1]] = match[2]
    return comments


def _parameters(recipe: Recipe, vocab_size: int) -> int:
    """Count parameters on the meta device, which allocates no memory."""
    model = recipe.model.model_copy(update={"vocab_size": vocab_size, "pair_head": recipe.pairing.has_pairs})
    with torch.device("meta"):
        module = Bert(model) if isinstance(model, BertConfig) else Modern(model)
    return sum(parameter.numel() for parameter in module.parameters())
