"""Readers of the files in which Sentence-Transformers keeps how a model's vectors are made: pooling, length, norm.

`maskling.exporting.folder` writes the same files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maskling.adapters import file_of
from maskling.errors import ModelError
from maskling.files import read_json
from maskling.model.config import ModelConfig
from maskling.model.tasks.config import Pooling
from maskling.tokenizer.tokenizer import Tokenizer

# The files, by their paths in a model folder.
MODULES = "modules.json"
TRANSFORMER = "sentence_bert_config.json"
POOLING = "1_Pooling/config.json"
SIMILARITY = "config_sentence_transformers.json"


def read_pooling(folder: Path) -> Pooling:
    """Return the pooling that modules.json and 1_Pooling/config.json name; the mean if neither file exists.

    Raises ModelError for a pooling or a layer that is not supported: the vectors would not be those that the model was
    trained for.
    """
    for kind in _module_kinds(folder):
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise ModelError(f"{folder}/{MODULES} has a layer of type {kind}, which is not supported")
    settings = _read_json(file_of(folder, POOLING), {})
    named = settings.get("pooling_mode")  # sentence-transformers 6; a list of names, or one
    modes = [named] if isinstance(named, str) else named or []
    if not isinstance(modes, list) or not all(isinstance(mode, str) for mode in modes):
        raise ModelError(f"{folder / POOLING}: pooling_mode is neither a name nor a list of names; restore it")
    modes = modes + [
        key.removeprefix("pooling_mode_") for key, on in settings.items() if key.startswith("pooling_mode_") and on
    ]
    if modes in ([], ["mean"], ["mean_tokens"]):
        return "mean"
    if modes in (["cls"], ["cls_token"]):
        return "cls"
    raise ModelError(f"{folder}/1_Pooling asks for {' and '.join(modes)}; only mean and cls are supported")


def normalizes(folder: Path) -> bool:
    """Return whether SentenceTransformer scales the vectors of the model in `folder` to length 1."""
    return "Normalize" in _module_kinds(folder)


def _module_kinds(folder: Path) -> list[str]:
    """Return the class names in modules.json, without their packages. Raises ModelError if it is damaged."""
    modules = _read_json(file_of(folder, MODULES), [])
    if not all(isinstance(module, dict) and isinstance(module.get("type"), str) for module in modules):
        raise ModelError(f"{folder / MODULES} has a layer without a type; copy the whole folder again")
    return [module["type"].rpartition(".")[2] for module in modules]


def trained_max_length(folder: Path) -> int | None:
    """Return the longest sequence, in tokens, that the model was trained on; None if the folder does not record it.

    Raises ModelError if the file that would is damaged.
    """
    length = _read_json(file_of(folder, TRANSFORMER), {}).get("max_seq_length")
    if length is None:
        return None
    if type(length) is not int or length < 1:
        raise ModelError(
            f"{folder / TRANSFORMER}: max_seq_length = {length!s:.40} is not a number of tokens; restore it"
        )
    return length if length > 2 else None


def max_sequence_length(folder: Path, config: ModelConfig, tokenizer: Tokenizer) -> int:
    """Return the most tokens of an input: the least of what the model, its tokenizer and its training allow."""
    lengths = (config.max_positions, tokenizer.max_length, trained_max_length(folder))
    return min(length for length in lengths if length is not None)


def _read_json(path: Path, default: Any) -> Any:
    """Return the contents of a JSON file, `default` if there is no file. Raises ModelError for another type."""
    try:
        found = read_json(path)
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, type(default)):
        raise ModelError(f"{path} is not a file that Sentence-Transformers writes; copy the whole folder again")
    return found
