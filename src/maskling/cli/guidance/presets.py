"""`maskling presets`: list the presets."""

from __future__ import annotations

import textwrap
from typing import Annotated, Any

from cyclopts import Parameter

from maskling.cli.format import byte_size, size, table
from maskling.cli.guidance.help import width
from maskling.console import Console, columns_of
from maskling.errors import SettingsError


def presets(
    name: Annotated[str | None, Parameter(help="show the settings of this preset, and where each comes from")] = None,
    *,
    vocab_size: Annotated[int, Parameter(help="size of the vocabulary that parameters and memory are counted for")] = (
        30_000
    ),
    json: Annotated[bool, Parameter(help="one line of JSON per preset on stdout")] = False,
) -> None:
    """List the presets of 'train': parameters, memory, and what each is for.

    Memory is the estimated peak of training in fp32 on a CPU, with micro-batches of 8,192 tokens; smaller ones
    (--system.micro-batch-tokens) need less. Steps are those of one run without --budget, --epochs or --steps. A name
    without a family is a modern one: 'small' is 'modern-small'.

    Example: maskling presets
    """
    from maskling.train.recipe import DEFAULT_PRESET, preset_name, preset_names, preset_text

    console = Console(as_json=json)
    if vocab_size < 1:
        raise SettingsError(f"--vocab-size is {vocab_size}; it must be 1 or more")
    if name is not None:
        found = preset_name(name)
        console.data({**_facts(found, vocab_size), "toml": preset_text(found)})
        for line in preset_text(found).splitlines():
            console.result(line)
        return
    # The smallest of the default family first.
    facts = [_facts(one, vocab_size) for one in preset_names()]
    facts.sort(key=lambda one: (not one["name"].startswith("modern"), one["parameters"], one["name"]))
    for one in facts:
        console.data(one)
    rows = [["preset", "parameters", "memory", "tokens", "batch", "steps"]]
    for one in facts:
        mark = " *" if one["name"] == DEFAULT_PRESET else ""
        rows.append(
            [
                f"{one['name']}{mark}",
                size(one["parameters"]),
                byte_size(one["memory_bytes"]),
                f"{one['seq_length']:,}",
                f"{one['batch_size']:,}",
                f"{one['steps']:,}",
            ]
        )
    lines = table(rows, indent="", heads=True)
    indent = max(map(columns_of, lines)) + 2
    if width() - indent < 30:  # a narrow terminal: what it is for goes below
        indent = 4
    console.result(lines[0] + (" " * (indent - columns_of(lines[0])) + "for" if indent > 4 else ""))
    for line, one in zip(lines[1:], facts, strict=True):
        first, *more = textwrap.wrap(one["about"], width() - indent)
        if indent > 4:
            console.result(f"{line}{' ' * (indent - columns_of(line))}{first}")
        else:
            console.result(line)
            more = [first, *more]
        for rest in more:
            console.result(" " * indent + rest)
    console.note(f"* the default. Numbers are for a vocabulary of {vocab_size:,} tokens (--vocab-size).")


def _facts(name: str, vocab_size: int) -> dict[str, Any]:
    from maskling.model.memory import num_parameters, training_memory
    from maskling.train.recipe import preset_about, read_recipe
    from maskling.train.settings import MICRO_BATCH_TOKENS

    recipe = read_recipe(default_preset=name).settings
    model = recipe.model.model_copy(update={"vocab_size": vocab_size, "pair_head": recipe.pairing.has_pairs})
    rows = max(1, min(recipe.train.batch_size, MICRO_BATCH_TOKENS // recipe.data.seq_length))
    memory = training_memory(
        model,
        rows=rows,
        seq=recipe.data.seq_length,
        dtype_bytes=4,
        mask_rate=recipe.masking.rate,
        hidden_moments=recipe.optimizer.hidden_moments,
    )
    return {
        "name": name,
        "about": preset_about(name),
        "parameters": num_parameters(model),
        "memory_bytes": memory.total,
        "num_layers": model.num_layers,
        "hidden_size": model.hidden_size,
        "seq_length": recipe.data.seq_length,
        "batch_size": recipe.train.batch_size,
        "steps": recipe.train.steps,
        "masking": recipe.masking.kind,
        "mask_rate": recipe.masking.rate,
        "pairing": recipe.pairing.kind,
    }
