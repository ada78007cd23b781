"""A run folder, one of its checkpoints, or a model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from maskling.cli.views.view import View
from maskling.console import size, table


def view_run(folder: Path) -> View:
    """Settings that are not the defaults, checkpoints, and the losses so far."""
    from maskling.train.checkpoint import read
    from maskling.train.recipe import read_config

    recipe = read_config(folder)
    lines = [
        f"run {folder}",
        f"  {recipe.model.kind} model, {recipe.model.num_layers} layers of {recipe.model.hidden_size}, "
        f"{recipe.train.steps:,} steps of {recipe.train.batch_size} rows of {recipe.data.seq_length} tokens, "
        f"{recipe.masking.kind} masking at {recipe.masking.rate}, pairs: {recipe.pairing.kind}",
    ]
    checkpoints = []
    for path in sorted((folder / "checkpoints").glob("step-*")):
        state = read(path).state
        checkpoints.append(state.step)
        lines.append(f"  checkpoint {path.name}: whole")
    metrics = _metrics(folder / "metrics.jsonl")
    rows = [
        [f"step {entry['step']:,}", f"loss {entry['mlm_loss']:.3f}", f"top-1 {100 * entry['top1']:.1f}%", _pair(entry)]
        for entry in metrics
        if entry["kind"] == "evaluation"
    ]
    lines += [f"  held-out{line}" for line in table(rows[-12:])]
    if (folder / "model" / "config.json").is_file():
        lines.append(f"  model folder: {folder / 'model'}")
    return View(lines, {"recipe": recipe.model_dump(mode="json"), "checkpoints": checkpoints, "metrics": metrics})


def view_checkpoint(folder: Path) -> View:
    """Step, fingerprints, sizes; every byte is compared with its checksum."""
    from dataclasses import asdict

    from maskling.train.checkpoint import read

    state = asdict(read(folder).state)
    files = [[path.name, f"{size(path.stat().st_size)}B"] for path in sorted(folder.iterdir())]
    rows = [[key, str(value)] for key, value in state.items()]
    return View([f"checkpoint {folder} (whole, checksums agree)", *table(rows), *table(files)], {"state": state})


def view_model(folder: Path) -> View:
    """The configuration, the number of weights, and what they are called."""
    from safetensors import safe_open

    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            names |= {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    total = sum(_product(shape) for shape in names.values())
    keys = ("architectures", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    lines = [
        f"model {folder}: {size(total)} weights in {len(names)} tensors",
        *table([[key, str(config[key])] for key in keys if key in config]),
        *table([[name, " x ".join(map(str, shape))] for name, shape in names.items()]),
    ]
    return View(lines, {"config": config, "weights": names, "parameters": total})


def _metrics(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def _pair(entry: dict[str, Any]) -> str:
    return "" if entry["pair_accuracy"] is None else f"pairs {100 * entry['pair_accuracy']:.1f}%"


def _product(shape: list[int]) -> int:
    total = 1
    for number in shape:
        total *= number
    return total
