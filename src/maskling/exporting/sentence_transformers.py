"""Writer of the files in which Sentence-Transformers keeps how a model's vectors are made.

`maskling.model.sentence_transformers` reads them.
"""

from __future__ import annotations

from pathlib import Path

from maskling.files import write_json
from maskling.model.sentence_transformers import MODULES, POOLING, TRANSFORMER
from maskling.model.tasks.config import Pooling


def write_pooling(
    folder: Path, hidden_size: int, max_length: int, pooling: Pooling = "mean", normalized: bool = False
) -> None:
    """Write modules.json, sentence_bert_config.json and 1_Pooling/config.json.

    The module paths and keys are those of sentence-transformers 2 to 5. Version 6 reads them too, but older versions
    cannot read the keys that version 6 writes. Vectors are means of the last hidden states, or the state of [CLS].
    normalized: add a third module that scales vectors to length 1; cosines do not need it.
    """
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    if normalized:
        modules.append({"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})
    write_json(folder / MODULES, modules)
    write_json(folder / TRANSFORMER, {"max_seq_length": max_length, "do_lower_case": False})
    pooling_config = {
        "word_embedding_dimension": hidden_size,
        "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    write_json(folder / POOLING, pooling_config)
