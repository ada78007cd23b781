"""The three small files that say how the vectors of a model are made, as SentenceTransformer writes and reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from maskling.errors import ModelError
from maskling.files import write_json
from maskling.model.config import ModelConfig
from maskling.model.tasks.config import Pooling
from maskling.tokenizer.tokenizer import Tokenizer


def write_pooling(
    folder: Path, hidden_size: int, max_length: int, pooling: Pooling = "mean", normalized: bool = False
) -> None:
    """Write modules.json, sentence_bert_config.json and 1_Pooling/config.json.

    The module paths and keys are those of sentence-transformers 2 to 5; version 6 reads them too, but the
    ones that it writes itself are unknown to the older ones. Vectors are plain means of the last hidden states, or
    those of [CLS]; normalized: a third module scales them to length 1, for which a cosine does not ask.
    """
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    if normalized:
        modules.append({"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    how = {
        "word_embedding_dimension": hidden_size,
        "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    write_json(folder / "1_Pooling" / "config.json", how)


def trained_max_length(folder: Path) -> int | None:
    """The longest sequence that the model in a folder was trained on, where the folder says so."""
    try:
        length = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))["max_seq_length"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return length if isinstance(length, int) and length > 2 else None


def max_sequence_length(folder: Path, config: ModelConfig, tokenizer: Tokenizer) -> int:
    """The most tokens that the model in a folder takes: the least of what it, its tokenizer and its training allow."""
    lengths = (config.max_positions, tokenizer.max_length, trained_max_length(folder))
    return min(length for length in lengths if length is not None)


def read_pooling(folder: Path) -> Pooling:
    """The pooling that modules.json and 1_Pooling/config.json name; the mean where there is neither.

    Raises ModelError for one that is not done here, as its vectors would be others than the model was trained for.
    """
    for module in _json(folder / "modules.json", []):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise ModelError(f"{folder}/modules.json has a layer of the kind {kind}, which is not calculated here")
    said = _json(folder / "1_Pooling" / "config.json", {})
    named = said.get("pooling_mode")  # sentence-transformers 6; a list of names, or one
    modes = [named] if isinstance(named, str) else list(named or ())
    modes += [key.removeprefix("pooling_mode_") for key, on in said.items() if key.startswith("pooling_mode_") and on]
    if modes in ([], ["mean"], ["mean_tokens"]):
        return "mean"
    if modes in (["cls"], ["cls_token"]):
        return "cls"
    raise ModelError(f"{folder}/1_Pooling asks for {' and '.join(modes)}; only mean and cls are calculated here")


def reads_normalized(folder: Path) -> bool:
    """Whether SentenceTransformer scales the vectors of the model in a folder to length 1."""
    return any(str(module.get("type", "")).endswith("Normalize") for module in _json(folder / "modules.json", []))


def _json(path: Path, default: Any) -> Any:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, type(default)):
        raise ModelError(f"{path} does not hold what Sentence-Transformers writes; copy the folder again, whole")
    return found
