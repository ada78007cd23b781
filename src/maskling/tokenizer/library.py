"""Calls into the `tokenizers` library that can fail, and the special tokens a masked language model needs.

The library's Rust panics surface as exceptions outside Exception's tree, and its own errors are bare `Exception`s;
both become a one-line TokenizerError here.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
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


# Bounds of what a tokenizer may make of a text. NFKC, the most that published ones do, makes 18 characters of one.
_MOST_GROWTH: Final = 64
_MOST_ADDED: Final = 1000
_LONGEST_PATTERN: Final = 10_000
_ESCAPE: Final = re.compile(r"\\(?:[pP]\{[^}]*\}|.)", re.DOTALL)
_AROUND: Final = re.compile(r"\(\?<?[=!]")


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
            if step.get("type") == "Precompiled":
                growth *= _longest_replacement(step.get("precompiled_charsmap"))
            if not isinstance(added, str):
                continue
            if len(added) > _MOST_ADDED:
                return f"puts {len(added):,} characters into each text in its {part}"
            if step.get("type") == "Replace":
                plain = isinstance(pattern, Mapping) and "String" in pattern
                replaced = (len(text) if plain else _matches_something(text)) if isinstance(text, str) else 0
                # What matches the empty string adds to each character.
                growth *= max(1.0, len(added) / replaced) if replaced else len(added) + 1
        if growth > _MOST_GROWTH:
            return f"replaces a character by up to {growth:,.0f} in its {part}"
    return None


def _matches_something(pattern: str) -> bool:
    """Return whether a regular expression of Oniguruma is sure to match a character, never the empty string."""

    def as_python(escape: re.Match[str]) -> str:
        match escape[0][1]:
            case "b" | "B" | "G" | "K" | "z" | "Z":
                return ""
            case "p" | "P" | "h" | "H" | "R" | "X" | "N" | "O":
                return "."
        return escape[0]

    # What looks around matches nothing by itself: a group that may be left out.
    plain = _AROUND.sub("(?:|", _ESCAPE.sub(as_python, pattern))
    with warnings.catch_warnings(action="ignore"):
        try:
            return re.fullmatch(plain, "") is None
        except (re.error, RecursionError, OverflowError):
            return False


def _longest_replacement(charsmap: object) -> int:
    """Return the most characters that SentencePiece's table of replacements, in base64, puts in the place of one."""
    try:
        table = base64.b64decode(charsmap if isinstance(charsmap, str) else "")
    except ValueError:
        return 1
    # The bytes of a trie with their number before them, and the replacements, each ended by a zero.
    replacements = table[4 + int.from_bytes(table[:4], "little") :].split(b"\0")
    return max(1, *(len(each.decode("utf-8", "replace")) for each in replacements))


def _steps(part: object) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a part of a tokenizer, those of sequences one by one."""
    if isinstance(part, Mapping):
        yield part
        for inner in ("normalizers", "pretokenizers", "decoders"):
            for step in part.get(inner) or () if isinstance(part.get(inner), list) else ():
                yield from _steps(step)
