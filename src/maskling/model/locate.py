"""Find the model folder that a path means: the path itself, or the model/ folder of a run. Imports no torch."""

from __future__ import annotations

import os
from pathlib import Path

from maskling.errors import CheckpointError, ModelError


def model_folder(path: str | os.PathLike[str]) -> Path:
    """Return the folder with config.json: `path` itself or the model/ folder of a run; `path` if neither has one."""
    folder = Path(path)
    # While a run replaces its model, the old one is model.old for an instant; a reader must not move it back.
    candidates = (folder, folder / "model", folder / "model.old")
    return next((found for found in candidates if (found / "config.json").is_file()), folder)


def find_model(path: str | os.PathLike[str]) -> Path:
    """Return `model_folder(path)`, which must exist.

    Raises ModelError or CheckpointError with what `path` holds instead and what to do.
    """
    folder = Path(path)
    if not folder.exists():
        raise ModelError(
            f"{path}: there is no such folder; give a run of 'maskling train', an export, or a folder with config.json "
            f"and model.safetensors (download a model of huggingface.co with 'hf download NAME --local-dir FOLDER')"
        )
    if not folder.is_dir():
        raise ModelError(f"{path} is a file; give the folder that holds config.json and the weights")
    found = model_folder(folder)
    if (found / "config.json").is_file():
        return found
    if (folder / "checkpoints").is_dir():
        raise CheckpointError(f"{path} is a run that has no model/ yet; run the same 'maskling train' again")
    if (folder / "manifest.json").is_file():
        raise ModelError(f"{path} is a prepared data folder, not a model; train one: maskling train --data {path}")
    raise ModelError(f"{path} has neither config.json nor model/config.json; give a run, an export or a model folder")
