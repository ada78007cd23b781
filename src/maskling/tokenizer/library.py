"""Calls into the `tokenizers` library that can fail, and the special tokens a masked language model needs.

The library's Rust panics surface as exceptions outside Exception's tree, and its own errors are bare `Exception`s;
both become a one-line TokenizerError here.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import tokenizers

from maskling.errors import TokenizerError

TokenizerJson = dict[str, Any]
MAX_WORD_CHARACTERS: Final = 100  # BertTokenizer's limit: a longer word is [UNK]
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

ROLES: Final = ("pad", "unk", "cls", "sep", "mask")
BERT_SPECIAL_TOKENS: Final = {role: f"[{role.upper()}]" for role in ROLES}
_ROBERTA_SPECIAL_TOKENS: Final = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
_SUBSTITUTE_ROLES: Final = {"cls": "bos", "sep": "eos"}
UNUSED: Final = re.compile(r"\[unused\d+\]")


@contextlib.contextmanager
def library_errors(message: str) -> Iterator[None]:
    """Turn any exception of the library into a TokenizerError that reads "`message`: reason"."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, TokenizerError):
        raise
    except BaseException as error:
        # pyo3's PanicException derives from BaseException; nothing else that does can come from the library.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise TokenizerError(f"{message}: {reason}") from None


def replace_surrogates(text: str) -> str:
    """Replace each half of a surrogate pair, which the library refuses (from a broken JSON escape), by U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def library_from_json(tokenizer_json: TokenizerJson, where: str) -> tokenizers.Tokenizer:
    """Build the library's tokenizer from a parsed tokenizer.json. Raises TokenizerError naming `where`."""
    if problem := _growth_problem(tokenizer_json):
        raise TokenizerError(f"{where} {problem}, so that a short text could fill the memory; do not trust it")
    with library_errors(f"{where} is not a usable tokenizer.json"):
        library = tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json))
        # A file saved during fine-tuning often truncates at 512 tokens or pads; neither belongs to a vocabulary.
        library.no_truncation()
        library.no_padding()
    return library


def library_to_json(library: tokenizers.Tokenizer) -> TokenizerJson:
    """Return tokenizer.json as nested dicts, in the form that the installed version of the library writes."""
    tokenizer_json: TokenizerJson = json.loads(library.to_str())
    return tokenizer_json


def with_special_as_text(library: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Return a copy that encodes special tokens written in a text as plain text."""
    copy = tokenizers.Tokenizer.from_str(library.to_str())
    copy.encode_special_tokens = True
    return copy


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """The ids of the five special tokens."""

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int


def find_special_tokens(vocabulary: Mapping[str, int], configs: list[Mapping[str, Any]], where: str) -> dict[str, str]:
    """Return the special token of each role: from the folder's configuration files, else by BERT's or RoBERTa's names.

    Raises TokenizerError naming the roles without a token.
    """
    special_tokens: dict[str, str] = {}
    for role in ROLES:
        configured = [
            _content(config.get(f"{name}_token"))
            for config in configs
            for name in (role, _SUBSTITUTE_ROLES.get(role, role))
        ]
        for token in [*configured, BERT_SPECIAL_TOKENS[role], _ROBERTA_SPECIAL_TOKENS[role]]:
            if token is not None and token in vocabulary:
                special_tokens[role] = token
                break
    missing = [role for role in ROLES if role not in special_tokens]
    if missing:
        wanted = ", ".join(f"{BERT_SPECIAL_TOKENS[role]} (or {_ROBERTA_SPECIAL_TOKENS[role]})" for role in missing)
        raise TokenizerError(
            f"{where} has no {wanted}, which masked language modelling needs; add the token to the vocabulary, "
            f"choose another vocabulary, or leave tokenizer.path unset to train one"
        )
    if len(set(special_tokens.values())) < len(ROLES):
        raise TokenizerError(
            f"{where} uses one token for two special roles ({special_tokens}), but masked language modelling needs "
            f"five different special tokens; give each role its own token in special_tokens_map.json"
        )
    return special_tokens


def _content(value: Any) -> str | None:
    """Return a token from a configuration file, which writes a string or an object with its content."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None


# Bounds of what a tokenizer may make of a text. Published ones replace a character by at most three.
_MOST_GROWTH: Final = 64
_MOST_ADDED: Final = 1000
_LONGEST_PATTERN: Final = 10_000


def _growth_problem(tokenizer_json: TokenizerJson) -> str | None:
    """Return why a tokenizer.json could make a text too large, None if it cannot.

    Replacements one after the other multiply: three of "a" by a thousand "a" make a gigabyte of one letter.
    """
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        growth = 1.0
        for step in _steps(tokenizer_json.get(part)):
            pattern, added = step.get("pattern"), step.get("content", step.get("prepend"))
            text = next(iter(pattern.values()), "") if isinstance(pattern, Mapping) else pattern
            if isinstance(text, str) and len(text) > _LONGEST_PATTERN:
                return f"has a pattern of {len(text):,} characters in its {part}"
            if not isinstance(added, str):
                continue
            if len(added) > _MOST_ADDED:
                return f"puts {len(added):,} characters into each text in its {part}"
            if step.get("type") == "Replace":
                # A regular expression may match a single character, or the empty string between two.
                plain = isinstance(pattern, Mapping) and "String" in pattern
                size = len(text) if plain and isinstance(text, str) else 0
                growth *= max(1.0, len(added) / size if size else len(added) + 1)
        if growth > _MOST_GROWTH:
            return f"replaces a character by up to {growth:,.0f} in its {part}"
    return None


def _steps(part: object) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a part of a tokenizer, those of sequences one by one."""
    if isinstance(part, Mapping):
        yield part
        for inner in ("normalizers", "pretokenizers", "decoders"):
            for step in part.get(inner) or () if isinstance(part.get(inner), list) else ():
                yield from _steps(step)
