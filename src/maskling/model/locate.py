"""Where a model lies: in a folder of its own, or inside a run. No torch."""

from __future__ import annotations

import os
from pathlib import Path

from maskling.errors import CheckpointError, ModelError


def model_folder(path: str | os.PathLike[str]) -> Path:
    """The folder with config.json that `path` means: itself, or the model/ of a run; itself too where there is none."""
    folder = Path(path)
    # For an instant while a run puts a new model in place, the old one stands aside; a reader must not move it back.
    places = (folder, folder / "model", folder / "model.old")
    return next((place for place in places if (place / "config.json").is_file()), folder)


def find_model(path: str | os.PathLike[str]) -> Path:
    """`model_folder`, where there must be one.

    Raises ModelError or CheckpointError that says what is there instead and what to do.
    """
    folder = Path(path)
    if not folder.exists():
        raise ModelError(
            f"{path}: there is no such folder. maskling reads models from folders: give a run of 'maskling train', an "
            f"export, or a folder with config.json and model.safetensors (a model of huggingface.co can be put in one "
            f"with 'hf download NAME --local-dir FOLDER')"
        )
    if not folder.is_dir():
        raise ModelError(f"{path} is a file; give the folder that holds config.json and the weights")
    found = model_folder(folder)
    if (found / "config.json").is_file():
        return found
    if (folder / "checkpoints").is_dir():
        raise CheckpointError(f"{path} is a run that has written no model/ yet; run the same 'maskling train' again")
    if (folder / "manifest.json").is_file():
        raise ModelError(f"{path} is a prepared data folder, not a model; train one: maskling train --data {path}")
    raise ModelError(
        f"{path} holds no model: no config.json, no model/config.json; give a run, an export or such a folder"
    )
