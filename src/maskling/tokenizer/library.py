"""Calls into the `tokenizers` library that can fail, and the special tokens a masked language model needs.

The library's Rust panics surface as exceptions outside Exception's tree, and its own errors are bare `Exception`s;
both become a one-line TokenizerError here.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
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


def with_special_as_text(
    library: tokenizers.Tokenizer, special_tokens: Collection[str] | None = None
) -> tokenizers.Tokenizer:
    """Return a copy that encodes some special tokens, written in a text, as plain text.

    special_tokens: those of the five roles, which a corpus must not inject; all others, such as [URL], stay whole.
    None for all special tokens.
    """
    tokenizer_json = library_to_json(library)
    for token in tokenizer_json["added_tokens"]:
        token["special"] = token["special"] and (special_tokens is None or token["content"] in special_tokens)
    copy = tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json))
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
