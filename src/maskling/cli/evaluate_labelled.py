"""The part of `maskling evaluate` that measures a fine-tuned model on labelled files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskling.cli.layout import table
from maskling.cli.reading import columns_in
from maskling.cli.settings import Pairs
from maskling.console import Console, counted
from maskling.errors import SettingsError

if TYPE_CHECKING:
    from maskling.infer.load import Model


def show_labelled(loaded: Model, files: Sequence[str], settings: Pairs, console: Console) -> None:
    """Measure on each file and show what came out. settings: --columns.key value."""
    from maskling.finetune.measuring import measured

    columns = columns_in(settings)
    if not files:
        raise SettingsError("say which labelled file to measure this fine-tuned model on")
    for file in files:
        console.doing(f"measuring on {file}")
        found, warnings = measured(loaded, file, columns)
        console.clear()
        for text in warnings:
            console.warn(text)
        console.result(f"{file}, {counted(found.records, 'record')}")
        numbers = {name: value for name, value in found.measured.items() if value is not None}
        for line in table([[name, f"{value:.4f}"] for name, value in numbers.items()]):
            console.result(line)
        console.data({"file": file, "records": found.records, **found.measured})
