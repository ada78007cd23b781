"""Find the model folder that a path means: the path itself, or the model/ folder of a run. Imports no torch."""

from __future__ import annotations

import os
from pathlib import Path

from maskling.adapters import base_folder, is_adapter
from maskling.errors import CheckpointError, ModelError


def model_folder(path: str | os.PathLike[str]) -> Path:
    """Return the folder of a model or adapter: `path`, or the model/ folder of a run; `path` if neither is one."""
    folder = Path(path)
    # While a run replaces its model, the old one is model.old for an instant; a reader must not move it back.
    candidates = (folder, folder / "model", folder / "model.old")
    return next((found for found in candidates if _is_model(found)), folder)


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() or is_adapter(folder)


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
    if is_adapter(found):
        base_folder(found)
    if _is_model(found):
        return found
    if (folder / "fold-1").is_dir():
        raise ModelError(f"{path} is a cross-validation, with a model for each fold; give one, such as {path}/fold-1")
    if (folder / "checkpoints").is_dir():
        raise CheckpointError(f"{path} is a run that has no model/ yet; run the same 'maskling train' again")
    if (folder / "manifest.json").is_file():
        raise ModelError(f"{path} is a prepared data folder, not a model; train one: maskling train --data {path}")
    raise ModelError(f"{path} has neither config.json nor model/config.json; give a run, an export or a model folder")
