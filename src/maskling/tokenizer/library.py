"""Calls into the `tokenizers` library that can fail, and the special tokens a masked language model needs.

The library's Rust panics surface as exceptions outside Exception's tree, and its own errors are bare `Exception`s;
both become a one-line TokenizerError here.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

import tokenizers

from maskling.errors import TokenizerError

TokenizerJson = dict[str, Any]
MAX_WORD_CHARACTERS: Final = 100  # BertTokenizer's limit: a longer word is [UNK]
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

NO_TEXT: Final = "\U0010fffe"  # not a character: Unicode guarantees that no text needs it
ROLES: Final = ("pad", "unk", "cls", "sep", "mask")
BERT_SPECIAL_TOKENS: Final = {role: f"[{role.upper()}]" for role in ROLES}
ROBERTA_SPECIAL_TOKENS: Final = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
SUBSTITUTE_ROLES: Final = {"cls": "bos", "sep": "eos"}
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
    return _without_special_pieces(copy)


def _without_special_pieces(library: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Return a tokenizer whose model cannot find a special token in a text, with the same ids.

    library: encodes special tokens as plain text. Its model may still know them: Unigram finds the piece "<s>" in
    "a<s>b", and a whole word "[MASK]" is an entry of WordPiece. They are renamed to what no text contains.
    """
    tokenizer_json = library_to_json(library)
    special = {token["content"]: int(token["id"]) for token in tokenizer_json["added_tokens"] if token["special"]}
    texts = [text for name in special for text in (name, f" {name} ", f"a{name}a")]
    with library_errors("the tokenizer failed on a special token"):
        reached = {id_ for encoding in library.encode_batch(texts, add_special_tokens=False) for id_ in encoding.ids}
    model = tokenizer_json["model"]
    vocabulary = model["vocab"]
    scored = isinstance(vocabulary, list)
    known = {token for token, _ in vocabulary} if scored else vocabulary.keys()
    whole = model["type"] in ("Unigram", "WordLevel") or bool(model.get("ignore_merges"))
    hidden = {name: f"{NO_TEXT}{name}" for name, id_ in special.items() if name in known and (whole or id_ in reached)}
    if not hidden:
        return library
    entries = vocabulary if scored else vocabulary.items()
    renamed = [(hidden.get(token, token), value) for token, value in entries]
    model["vocab"] = renamed if scored else dict(renamed)
    if model.get("unk_token") in hidden:
        model["unk_token"] = hidden[model["unk_token"]]
    tokenizer_json["added_tokens"] = [
        token for token in tokenizer_json["added_tokens"] if token["content"] not in hidden
    ]
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
