"""Save a tokenizer in files from which AutoTokenizer of transformers 4.57 and 5.x makes the same ids.

Since 5.0 `BertTokenizer` builds everything from flags and reads only the vocabulary of tokenizer.json, and 4.57 cannot
open the files that 5.x's own save_pretrained writes for the general class. Therefore BERT's own pipeline is written as
BertTokenizer with every flag, and everything else as PreTrainedTokenizerFast with every special token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from maskling.files import atomic_write, write_json
from maskling.tokenizer import older
from maskling.tokenizer.library import MAX_WORD_CHARACTERS, TokenizerJson
from maskling.tokenizer.segmentation import WordRules

_NO_LIMIT: Final = int(1e30)  # transformers' value for a tokenizer without a maximum length


def save_tokenizer_files(
    folder: Path,
    tokenizer_json: TokenizerJson,
    special_tokens: Mapping[str, str],
    max_length: int | None,
    token_types: bool,
    words: WordRules,
) -> None:
    """Write tokenizer.json, tokenizer_config.json, special_tokens_map.json and, for BERT's own pipeline, vocab.txt.

    tokenizer_json: parsed; special_tokens: the token of each role; max_length: tokens per sequence, None without a
    limit; token_types: whether models of this tokenizer take token_type_ids; words: how words are found in scripts
    without spaces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    special: TokenizerJson = {f"{role}_token": name for role, name in special_tokens.items()}
    if others := other_special_tokens(tokenizer_json, special_tokens):
        special["additional_special_tokens"] = others
    inputs = ["input_ids", *(["token_type_ids"] if token_types else []), "attention_mask"]
    config: TokenizerJson = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **special,
        "model_max_length": max_length if max_length is not None else _NO_LIMIT,
        "model_input_names": inputs,
        "padding_side": "right",
        "truncation_side": "right",
        "clean_up_tokenization_spaces": False,
        **words.as_config(),
        "added_tokens_decoder": {
            str(token["id"]): {key: value for key, value in token.items() if key != "id"}
            for token in tokenizer_json["added_tokens"]
        },
    }
    write_json(folder / "tokenizer.json", tokenizer_json)
    if is_bert(tokenizer_json):
        normalizer = tokenizer_json["normalizer"]
        config |= {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": normalizer["lowercase"],
            "strip_accents": normalizer["strip_accents"],
            "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
            "do_basic_tokenize": True,
            "never_split": None,
        }
        if not any("\n" in token for token in tokenizer_json["model"]["vocab"]):
            _write_vocab(folder / "vocab.txt", tokenizer_json["model"]["vocab"])
    write_json(folder / "tokenizer_config.json", config)
    write_json(folder / "special_tokens_map.json", special)


def other_special_tokens(tokenizer_json: TokenizerJson, special_tokens: Mapping[str, str]) -> list[str]:
    """Return the special tokens that have none of the five roles, in the order of their ids."""
    roles = set(special_tokens.values())
    added = sorted(tokenizer_json["added_tokens"], key=lambda token: int(token["id"]))
    return [token["content"] for token in added if token["special"] and token["content"] not in roles]


def is_bert(tokenizer_json: TokenizerJson) -> bool:
    """Return whether transformers' BertTokenizer, built from flags, is exactly this tokenizer."""
    model, normalizer = tokenizer_json["model"], tokenizer_json["normalizer"] or {}
    return (
        model["type"] == "WordPiece"
        and model["continuing_subword_prefix"] == "##"
        and model["max_input_chars_per_word"] == MAX_WORD_CHARACTERS
        and normalizer.get("type") == "BertNormalizer"
        and bool(normalizer["clean_text"])
        and (tokenizer_json["pre_tokenizer"] or {}).get("type") == "BertPreTokenizer"
        and _is_template(tokenizer_json["post_processor"])
    )


def _is_template(processor: Any) -> bool:
    """Return whether a post-processor is [CLS] A [SEP] B [SEP] with types 0 and 1, in either form of the library."""
    if not processor:
        return False
    if processor["type"] == "BertProcessing":
        return True
    if processor["type"] != "TemplateProcessing":
        return False
    shape = [
        [(next(iter(part)), next(iter(part.values()))["type_id"]) for part in processor[side]]
        for side in ("single", "pair")
    ]
    special, text = "SpecialToken", "Sequence"
    return shape == [
        [(special, 0), (text, 0), (special, 0)],
        [(special, 0), (text, 0), (special, 0), (text, 1), (special, 1)],
    ]


def _write_vocab(file: Path, vocabulary: Mapping[str, int]) -> None:
    with atomic_write(file) as out:
        for token, _ in sorted(vocabulary.items(), key=lambda item: item[1]):
            out.write(token.encode() + b"\n")


def canonical_form(tokenizer_json: TokenizerJson, special_tokens: Mapping[str, str]) -> Any:
    """Return the parts of a tokenizer that determine the ids of a text, in one canonical form."""
    original = older.original(tokenizer_json)
    parts = {key: original[key] for key in ("added_tokens", "normalizer", "pre_tokenizer", "model")}
    return json.loads(json.dumps({**parts, "names": dict(special_tokens)}))
