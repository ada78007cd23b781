"""Tokenizers that earlier versions trained: what is mended when they are loaded, and the fingerprint they keep.

They encode every text without a mask as before, but a mask that a person types was not encoded as one that training
puts in place of a word:

- Byte-level BPE: "The [MASK] of" had a token for the space before [MASK], which belongs to the masked word. As RoBERTa
  does, [MASK] now takes that space (`lstrip`).
- Unigram: "the [MASK]." had a "▁" before the full stop. Now only the first text of a sequence gets one that it does not
  have.

Prepared folders are compared with models by fingerprint, so a mended tokenizer has the fingerprint of the original.
"""

from __future__ import annotations

import copy
import functools
from typing import Any, Final

from tokenizers import Regex, pre_tokenizers

from maskling.tokenizer import normalization, pipeline
from maskling.tokenizer.library import BERT_SPECIAL_TOKENS, ROLES, TokenizerJson
from maskling.tokenizer.settings import TokenizerSettings

_MASK: Final = BERT_SPECIAL_TOKENS["mask"]


def mended(tokenizer_json: TokenizerJson) -> TokenizerJson:
    """Return a tokenizer.json with masks encoded as in training; the same object if there is nothing to mend."""
    if not _trained_here(tokenizer_json):
        return tokenizer_json
    if _is_byte_level(tokenizer_json) and not _mask(tokenizer_json)["lstrip"]:
        changed = copy.deepcopy(tokenizer_json)
        _mask(changed)["lstrip"] = True
        return changed
    if tokenizer_json["model"]["type"] == "Unigram" and tokenizer_json["pre_tokenizer"] == _old_unigram():
        return {
            **tokenizer_json,
            "normalizer": {"type": "Sequence", "normalizers": _with_spaces(_steps(tokenizer_json["normalizer"]))},
            "pre_tokenizer": normalization.as_json(pipeline.pre_tokenizer(TokenizerSettings(kind="unigram"))),
        }
    return tokenizer_json


def original(tokenizer_json: TokenizerJson) -> TokenizerJson:
    """Return what `mended` was given, as far as it determines the ids of text without masks."""
    if not _trained_here(tokenizer_json):
        return tokenizer_json
    if _is_byte_level(tokenizer_json):
        changed = {**tokenizer_json, "added_tokens": copy.deepcopy(tokenizer_json["added_tokens"])}
        _mask(changed)["lstrip"] = False
        return changed
    if (steps := mended_steps(tokenizer_json)) is not None:
        return {
            **tokenizer_json,
            "normalizer": {"type": "Sequence", "normalizers": steps},
            "pre_tokenizer": _old_unigram(),
        }
    return tokenizer_json


def mended_steps(tokenizer_json: TokenizerJson) -> list[Any] | None:
    """Return the steps of the normalizer that a mended Unigram tokenizer had before; None for other tokenizers."""
    if tokenizer_json["model"]["type"] != "Unigram":
        return None
    steps = _steps(tokenizer_json["normalizer"])
    before = [step for step in steps if step["type"] != "Replace"]
    return before if steps == _with_spaces(before) else None


def _steps(normalizer: Any) -> list[Any]:
    if normalizer is None:
        return []
    steps: list[Any] = normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
    return steps


def _with_spaces(steps: list[Any]) -> list[Any]:
    """Return the steps with those that the new pre-tokenizer of Unigram needs."""
    strips = any(step["type"] == "StripAccents" for step in steps)
    first = [normalization.space_for_first(r"\p{M}")] if strips else []
    return [*map(normalization.as_json, first), *steps, *map(normalization.as_json, normalization.spaces_only())]


def _trained_here(tokenizer_json: TokenizerJson) -> bool:
    """Return whether ids 0 to 4 are [PAD] [UNK] [CLS] [SEP] [MASK], as in every vocabulary that maskling trains."""
    first = [(token["id"], token["content"]) for token in tokenizer_json["added_tokens"][: len(ROLES)]]
    return first == list(enumerate(BERT_SPECIAL_TOKENS[role] for role in ROLES))


def _is_byte_level(tokenizer_json: TokenizerJson) -> bool:
    pre = tokenizer_json["pre_tokenizer"] or {}
    return tokenizer_json["model"]["type"] == "BPE" and pre.get("type") == "ByteLevel" and not pre["add_prefix_space"]


def _mask(tokenizer_json: TokenizerJson) -> Any:
    return next(token for token in tokenizer_json["added_tokens"] if token["content"] == _MASK)


@functools.cache
def _old_unigram() -> Any:
    """Return the pre-tokenizer of Unigram vocabularies that earlier versions trained."""
    return normalization.as_json(
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.WhitespaceSplit(),
                pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=False),
                pre_tokenizers.Split(Regex(pipeline.UNIGRAM_PIECE), behavior="isolated"),
            ]
        )
    )
