"""Small SentencePiece models, trained by the sentencepiece library with the options of published ones."""

from __future__ import annotations

import functools
import io
from typing import Any

from oracles.small_text import texts

_ALBERT = {
    "pad_id": 0,
    "unk_id": 1,
    "bos_id": -1,
    "eos_id": -1,
    "control_symbols": ["[CLS]", "[SEP]", "[MASK]"],
    "user_defined_symbols": ["(", ")", '"', "-", "."],
}
_LLAMA = {
    "model_type": "bpe",
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "character_coverage": 0.98,
    "remove_extra_whitespaces": False,
    "split_digits": True,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "unigram": {},
    "byte fallback": {"byte_fallback": True, "character_coverage": 0.98},
    "identity": {"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "no dummy prefix": {"add_dummy_prefix": False},
    "case folding": {"normalization_rule_name": "nmt_nfkc_cf"},
    "user-defined": {"user_defined_symbols": ["<url>", "(", ")", "C++"]},
    "words together": {"split_by_whitespace": False},
    "bpe": {"model_type": "bpe"},
    "bpe user-defined": {"model_type": "bpe", "user_defined_symbols": ["<url>", "(", ")", "C++"]},
    "llama": _LLAMA,
    "gemma": {**_LLAMA, "add_dummy_prefix": False, "user_defined_symbols": ["\n", "  ", "<b>"]},
    "char": {"model_type": "char"},
    "t5": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    "albert": _ALBERT,
    "deberta": {
        "pad_id": 0,
        "bos_id": 1,
        "eos_id": 2,
        "unk_id": 3,
        "pad_piece": "[PAD]",
        "bos_piece": "[CLS]",
        "eos_piece": "[SEP]",
        "unk_piece": "[UNK]",
    },
    "word": {"model_type": "word"},
    "suffix": {"treat_whitespace_as_suffix": True},
}


@functools.cache
def model_bytes(name: str) -> bytes:
    """Return the content of a `.model` file of some 500 pieces."""
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in texts() * 3 for line in text.splitlines() if line.strip()]),
        model_writer=out,
        vocab_size=500,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
        **({"model_type": "unigram"} | OPTIONS[name]),
    )
    return out.getvalue()
