"""Folders of PEFT adapters: how to recognize one, and where its base model is. Imports no torch.

An adapter holds changes to the weights of a base model, which it only names; `maskling.model.adapter` merges the two.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

from maskling.errors import ModelError
from maskling.files import read_json

ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_WEIGHTS: Final = ("adapter_model.safetensors", "adapter_model.bin")
_HUB_NAME: Final = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_given_base: ContextVar[Path | None] = ContextVar("base of adapters", default=None)


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter of PEFT."""
    return (folder / ADAPTER_CONFIG).is_file()


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """Return the adapter_config.json of a folder. Raises ModelError if it is damaged."""
    path = folder / ADAPTER_CONFIG
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path} does not hold a JSON object; it is not the configuration of an adapter")
    return found


@contextlib.contextmanager
def adapters_on(base: Path | None) -> Iterator[None]:
    """Context in which adapters are merged with the model in `base`, whatever they name; None: with what they name."""
    token = _given_base.set(base)
    try:
        yield
    finally:
        _given_base.reset(token)


def base_folder(folder: Path) -> Path:
    """Return the folder of the base model of an adapter.

    The one given (see `adapters_on`), or base_model_name_or_path as a folder, as a folder beside the adapter, or as a
    model that was downloaded into Hugging Face's cache. Raises ModelError if there is none.
    """
    config, given = read_adapter_config(folder), _given_base.get()
    named = config.get("base_model_name_or_path")
    named = named if isinstance(named, str) and "\0" not in named else ""
    candidates = [given] if given is not None else []
    if named and given is None:
        candidates = [Path(named), folder / named, *_cached(named, config.get("revision"))]
    for candidate in candidates:
        for found in (candidate, candidate / "model"):
            if is_adapter(found):
                raise ModelError(
                    f"{folder}: its base {found} is an adapter itself; merge that first: maskling export {found} "
                    f"--out MERGED"
                )
            if (found / "config.json").is_file():
                return found
    if given is not None:
        raise ModelError(f"{given} is not the base model of {folder}: it has no config.json; give another with --base")
    what = f"its base model {named} is not here" if named else "it does not name its base model"
    raise ModelError(f"{folder} is an adapter, and {what}; give the folder of the base model with --base")


def file_of(folder: Path, name: str) -> Path:
    """Return the path of a file in a model folder; what an adapter lacks is in the folder of its base model."""
    path = folder / name
    return base_folder(folder) / name if is_adapter(folder) and not path.exists() else path


def _cached(name: str, revision: Any) -> list[Path]:
    """Return the folder of a downloaded model in the cache of huggingface_hub, if it can have one."""
    revision = "main" if revision is None else revision
    if not _HUB_NAME.fullmatch(name) or not isinstance(revision, str) or not _HUB_NAME.fullmatch(revision):
        return []
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    model = cache / f"models--{name.replace('/', '--')}"
    try:
        commit = (model / "refs" / revision).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        commit = revision
    return [model / "snapshots" / commit] if _HUB_NAME.fullmatch(commit) else []
