"""Views of a run folder, a checkpoint, and a model folder, for `maskling inspect`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from maskling.cli.format import byte_size, size, table
from maskling.cli.views import View
from maskling.console import counted
from maskling.errors import CheckpointError
from maskling.report.runs import read_metrics, read_run_settings

SHOWN_EVALUATIONS = 12


def view_run(folder: Path) -> View:
    """Show the settings of a run, its checkpoints, and its held-out metrics."""
    from maskling.train.checkpoint import read_checkpoint

    recipe, rows = read_run_settings(folder)
    checkpoints = []
    for path in sorted((folder / "checkpoints").glob("step-??????*")):
        if not path.name.removeprefix("step-").isdigit():
            continue  # left by an interrupted write
        problem = ""
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            problem = str(error)
        checkpoints.append({"name": path.name, "whole": not problem, "problem": problem})
        rows.append(["checkpoint", f"{path.name}, {problem or 'whole'}"])
    metrics, unreadable = read_metrics(folder / "metrics.jsonl")
    if unreadable:
        rows.append(["metrics", f"metrics.jsonl has {counted(unreadable, 'line')} that cannot be read"])
    if (folder / "model" / "config.json").is_file():
        rows.append(["for use", str(folder / "model")])
    evaluations = [entry for entry in metrics if entry.get("kind") == "evaluation"]
    lines = [f"run {folder}", *table(rows), *_evaluations(evaluations)]
    return View(lines, {"recipe": recipe.model_dump(mode="json"), "checkpoints": checkpoints, "metrics": metrics})


def view_checkpoint(folder: Path) -> View:
    """Show step, fingerprints and sizes; every byte is compared with its checksum."""
    from dataclasses import asdict

    from maskling.train.checkpoint import read_checkpoint

    state = asdict(read_checkpoint(folder).state)
    rows = [[key, _shown(value)] for key, value in state.items() if value not in (None, [], {})]
    files = [[path.name, byte_size(path.stat().st_size)] for path in sorted(folder.iterdir())]
    return View([f"checkpoint {folder} (whole, checksums agree)", *table(rows), *table(files)], {"state": state})


def view_model(folder: Path) -> View:
    """Show the configuration, the names and the number of weights. Raises ModelError if the folder is damaged."""
    from maskling.model.folder import read_config, weight_shapes

    config = read_config(folder)
    names = weight_shapes(folder)
    total = sum(map(math.prod, names.values()))
    keys = ("architectures", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    lines = [
        f"model {folder}: {size(total)} weights in {counted(len(names), 'tensor')}",
        *table([[key, _shown(config[key])] for key in keys if key in config]),
        "",
        *table([[name, " x ".join(map(str, shape))] for name, shape in names.items()]),
    ]
    return View(lines, {"config": config, "weights": names, "parameters": total})


def _evaluations(entries: list[dict[str, Any]]) -> list[str]:
    """Return a table of the newest evaluations."""
    if entries and "mlm_loss" not in entries[-1]:
        return _labelled_evaluations(entries)
    try:
        rows = [
            [f"{entry['step']:,}", f"{entry['mlm_loss']:.3f}", f"{100 * entry['top1']:.1f}%", _pairs(entry)]
            for entry in entries[-SHOWN_EVALUATIONS:]
        ]
    except (KeyError, TypeError, ValueError):
        return ["  held-out numbers were written by another version of maskling and cannot be shown"]
    heads = ["step", "held-out loss", "top-1", "pairs" if any(row[3] for row in rows) else ""]
    return ["", *table([heads, *rows], heads=True)] if rows else []


def _labelled_evaluations(entries: list[dict[str, Any]]) -> list[str]:
    """Return a table of the newest evaluations of a fine-tuning run, with the metrics of its task."""
    names = [name for name, value in entries[-1].items() if isinstance(value, float)]
    try:
        rows = [
            [f"{entry['step']:,}", *(f"{entry[name]:.4f}" if entry.get(name) is not None else "" for name in names)]
            for entry in entries[-SHOWN_EVALUATIONS:]
        ]
    except (KeyError, TypeError, ValueError):
        return ["  held-out numbers were written by another version of maskling and cannot be shown"]
    return ["", *table([["step", *names], *rows], heads=True)]


def _pairs(entry: dict[str, Any]) -> str:
    return "" if entry["pair_accuracy"] is None else f"{100 * entry['pair_accuracy']:.1f}%"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(inner)}" for key, inner in value.items() if inner not in (None, []))
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
