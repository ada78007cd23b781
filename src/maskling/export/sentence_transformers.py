"""The three small files that make a model folder one that SentenceTransformer opens with mean pooling."""

from __future__ import annotations

import json
from pathlib import Path

from maskling.files import write_json


def write_pooling(folder: Path, hidden_size: int, max_length: int) -> None:
    """Write modules.json, sentence_bert_config.json and 1_Pooling/config.json.

    The module paths and keys are those of sentence-transformers 2 to 5; version 6 reads them too, but the
    ones that it writes itself are unknown to the older ones. There is no normalising module: a model that was
    only pretrained gives plain means of its last hidden states.
    """
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    pooling = {
        "word_embedding_dimension": hidden_size,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    write_json(folder / "1_Pooling" / "config.json", pooling)


def trained_length(folder: Path) -> int | None:
    """The longest sequence that the model in a folder was trained on, where the folder says so."""
    try:
        length = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))["max_seq_length"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return length if isinstance(length, int) and length > 2 else None
