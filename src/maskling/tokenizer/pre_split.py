"""Splitting a text before it is tokenized, so that the tokens of the pieces are the tokens of the text.

A split is allowed only where no token can cross it and nothing on one side changes the other. If that cannot be
established for a tokenizer, `chunking` returns None and whole texts go to the library.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from maskling.tokenizer import normalization, older, pipeline
from maskling.tokenizer.characters import SPACES, looks_chinese
from maskling.tokenizer.library import TokenizerJson
from maskling.tokenizer.lookup import ByteSplit, byte_kinds
from maskling.tokenizer.normalization import Normalization
from maskling.tokenizer.segmentation import IDEOGRAPHS

_CHINESE_MARKS: Final = "、。〈〉《》「」『』【】！（），．：；？“”‘’…—"
_BERT_SPACES: Final = " \t\n\r"
_BERT_CHUNK: Final = re.compile(f"[^{_BERT_SPACES}]+")
_BERT_CHINESE: Final = re.compile(f"[{IDEOGRAPHS}{_CHINESE_MARKS}]|[^{_BERT_SPACES}{IDEOGRAPHS}{_CHINESE_MARKS}]+")
_SPACE_AND_WORD: Final = re.compile(f"[{SPACES}]*[^{SPACES}]+|[{SPACES}]+")
_WORD: Final = re.compile(f"[^{SPACES}]+")
# A punctuation mark is a word for BertPreTokenizer.
_ASCII_MARKS: Final = string.punctuation
_BERT_MARKS: Final = re.escape(_ASCII_MARKS) + _CHINESE_MARKS
_BERT_WORDS: Final = re.compile(f"[{_BERT_MARKS}]|[^{_BERT_MARKS}]+")
_UNICODE_SPACES: Final = " \t\n\x0b\x0c\r\x1c\x1d\x1e\x1f"
_UNICODE_CHINESE: Final = re.compile(
    f"[{IDEOGRAPHS}{_CHINESE_MARKS}]|[^{_UNICODE_SPACES}{IDEOGRAPHS}{_CHINESE_MARKS}]+"
)
# Marks that NFC joins to a character of another word ("=" to "≠"), or to an I that is lowercased too early (İ).
COMPOSING_MARKS: Final = ("\u0307", "\u0338")
_ALL_BUT_I: Final = {ord(letter): letter.lower() for letter in string.ascii_uppercase if letter != "I"}
# Normalizers that change characters one by one, or letters with their marks.
_BY_CHARACTER: Final = {"NFC", "NFD", "Lowercase", "StripAccents"}
# The byte-level pattern (GPT-2's) on ASCII and some marks, which no normalizer changes. The pattern also splits letters
# from digits, and after 's and the like, but no new word starts there: such chunks stay whole.
_BYTE_LEVEL: Final = re.compile("'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^ A-Za-z0-9]+")
_PLAIN: Final = re.compile("[ -~‘’“”—…]+")
_SPLIT_INSIDE_WORD: Final = re.compile("[A-Za-z][0-9]|[0-9][A-Za-z]|'(?:s|t|re|ve|m|ll|d)[A-Za-z0-9]", re.IGNORECASE)
# Characters that NFC turns into ASCII characters (Kelvin sign, Greek question mark, varia).
_COMPOSED_TO_ASCII: Final = ("\u212a", "\u037e", "\u1fef")

Splitter = Callable[[str], list[str]]


@dataclass(frozen=True)
class Chunking:
    """How texts of a tokenizer may be split, and which must stay whole.

    split: splits a text into chunks that are encoded independently.
    split_words: splits a chunk into words that are encoded independently, so that "word" is encoded once for "Word,"
    and "(word)".
    markers: a text that contains one of these may contain an added token, and goes to the library whole.
    keeps_space: chunks include their leading white space (byte-level models tokenize it).
    splits_chinese: every Chinese character is one token (or one [UNK]).
    byte_split: rules that give the same words as bytes, for WordPiece; None for others.
    normal_first: a normalized text has the same tokens, and word starts are read off its offsets: a character that is
    removed is neither white space nor part of a word.
    needs_space: a chunk must be given to the library with a space before it (Unigram's "▁" otherwise depends on the
    position in the text).
    """

    split: Splitter
    split_words: Splitter
    markers: tuple[str, ...]
    keeps_space: bool
    splits_chinese: bool
    byte_split: ByteSplit | None = None
    needs_space: bool = False
    normal_first: bool = False


def chunking(tokenizer_json: TokenizerJson, special_tokens: Collection[str]) -> Chunking | None:
    """Return how texts of a tokenizer may be split, or None if no split is known to be safe.

    tokenizer_json: the parsed tokenizer.json; special_tokens: those that are plain text in a text.
    """
    added = [
        token
        for token in tokenizer_json["added_tokens"]
        if not (token["special"] and token["content"] in special_tokens)
    ]
    normalizers = _normalizer_types(tokenizer_json["normalizer"])
    if any(token["normalized"] for token in added) and not normalizers <= {"NFC"}:
        return None
    markers = tuple(sorted({token["content"][:3] for token in added} | (set(_COMPOSED_TO_ASCII) if added else set())))
    model, pre = tokenizer_json["model"], tokenizer_json["pre_tokenizer"] or {}
    kind = model["type"]
    if kind == "WordPiece" and pre.get("type") == "BertPreTokenizer":
        if normalizers == {"BertNormalizer"}:
            return _bert(tokenizer_json["normalizer"], markers)
        chosen = normalization.recognize(tokenizer_json["normalizer"], "wordpiece")
        return _wordpiece(chosen, markers) if chosen is not None else None
    if kind == "BPE" and pre.get("type") == "ByteLevel" and pre.get("use_regex", True) and not model["dropout"]:
        chosen = normalization.recognize(tokenizer_json["normalizer"], "bpe")
        if chosen is None and not normalizers <= _BY_CHARACTER:
            return None
        split_words: Splitter = _whole
        if not pre["add_prefix_space"]:
            lower = lower_case(chosen.dotless_i if chosen else False) if "Lowercase" in normalizers else None
            split_words = _byte_level_words(lower)
        return Chunking(
            _SPACE_AND_WORD.findall,
            split_words,
            markers,
            keeps_space=True,
            splits_chinese=False,
            normal_first=chosen is not None,
        )
    if kind == "Unigram" and pre == _unigram_pre_tokenizer():
        before = older.mended_steps(tokenizer_json)
        by_character = before is not None and {step["type"] for step in before} <= _BY_CHARACTER
        if by_character or normalization.recognize(tokenizer_json["normalizer"], "unigram") is not None:
            markers = tuple(sorted({*markers, "▁"}))  # a text that begins with its own "▁" gets no other
            return Chunking(
                split_at_spaces,
                _whole,
                markers,
                keeps_space=False,
                splits_chinese=False,
                needs_space=True,
                normal_first=True,
            )
    return None


def _bert(normalizer: TokenizerJson, markers: tuple[str, ...]) -> Chunking | None:
    """Return how texts may be split for BertNormalizer alone."""
    if not normalizer["clean_text"]:
        return None
    lower = lower_case(dotless_i=False) if normalizer["lowercase"] else None
    splits_chinese = bool(normalizer["handle_chinese_chars"])
    return Chunking(
        split=split_bert_chinese if splits_chinese else split_bert,
        split_words=_bert_words(lower),
        markers=markers,
        keeps_space=False,
        splits_chinese=splits_chinese,
        byte_split=bert_byte_split(bool(normalizer["lowercase"])),
    )


def _wordpiece(chosen: Normalization, markers: tuple[str, ...]) -> Chunking:
    """Return how texts may be split for the normalizer of a new WordPiece tokenizer.

    No step joins or reads characters on both sides of white space, an ASCII mark or a Chinese character, except that
    NFC composes "=" and U+0338 to "≠", a letter for BertPreTokenizer. And ASCII may be lowercased before NFC, except
    that I and U+0307 are İ, whose lower case is i.
    """
    lower = lower_case(chosen.dotless_i) if chosen.lowercase else None
    return Chunking(
        split=split_unicode_chinese if chosen.split_chinese else str.split,
        split_words=_bert_words(lower),
        markers=tuple(sorted({*markers, *COMPOSING_MARKS})),
        keeps_space=False,
        splits_chinese=chosen.split_chinese,
        byte_split=unicode_byte_split(chosen.lowercase, chosen.dotless_i),
    )


def unicode_byte_split(lowercase: bool, dotless_i: bool | None) -> ByteSplit:
    """Return rules that split bytes where a new WordPiece tokenizer splits text without COMPOSING_MARKS.

    dotless_i: see `lower_case`.
    """
    return ByteSplit(byte_kinds(_UNICODE_SPACES, _ASCII_MARKS), lower_case(dotless_i) if lowercase else None)


def bert_byte_split(lowercase: bool) -> ByteSplit:
    """Return rules that split bytes where BertNormalizer and BertPreTokenizer split text."""
    return ByteSplit(byte_kinds(_BERT_SPACES, _ASCII_MARKS), lower_case(dotless_i=False) if lowercase else None)


def lower_case(dotless_i: bool | None) -> bytes:
    """Return the table that lowercases ASCII. dotless_i: I is left as it is, because its lower case is not ASCII.

    None, if that is not decided yet, leaves it too.
    """
    table = bytes(range(256)).lower()
    return table if dotless_i is False else table.replace(b"i", b"I", 1)


def split_bert(text: str) -> list[str]:
    """Split at white space, which BertPreTokenizer drops.

    BertNormalizer removes some control characters, which joins the text around them, but str.split splits there.
    """
    # Not a loop, because it runs for every sentence: seven searches for one character cost 0.2 us, a loop 1.3 us.
    if (
        "\x0b" in text
        or "\x0c" in text
        or "\x1c" in text
        or "\x1d" in text
        or "\x1e" in text
        or "\x1f" in text
        or "\x85" in text
    ):
        return _BERT_CHUNK.findall(text)
    return text.split()


def split_unicode_chinese(text: str) -> list[str]:
    """Split at white space, as a new WordPiece tokenizer does, and around each Chinese character and mark."""
    return _UNICODE_CHINESE.findall(text) if looks_chinese(text) else text.split()


def split_bert_chinese(text: str) -> list[str]:
    """Split as `split_bert`, and around each Chinese character and mark; otherwise every sentence is one chunk."""
    return _BERT_CHINESE.findall(text) if looks_chinese(text) else split_bert(text)


def split_at_spaces(text: str) -> list[str]:
    """Split at every character that is white space for the library."""
    return _WORD.findall(text)


def _bert_words(lower: bytes | None) -> Splitter:
    """Return a function that splits a chunk at marks; equal words in ASCII get equal case, so that each is a word once.

    lower: table of lower case, None for a tokenizer that keeps case.
    """
    if lower is None:
        return _BERT_WORDS.findall
    if lower == lower_case(dotless_i=False):
        return lambda chunk: _BERT_WORDS.findall(chunk.lower() if chunk.isascii() else chunk)
    return lambda chunk: _BERT_WORDS.findall(chunk.translate(_ALL_BUT_I) if chunk.isascii() else chunk)


def _byte_level_words(lower: bytes | None) -> Splitter:
    """Return a function that splits a chunk as the byte-level pattern does. lower: see `_bert_words`."""
    dotless = lower is not None and lower != lower_case(dotless_i=False)

    def split(chunk: str) -> list[str]:
        # The pattern has separate rules for white space alone, and for two leading spaces.
        if chunk[1:2] in (" ", "") or not _PLAIN.fullmatch(chunk) or _SPLIT_INSIDE_WORD.search(chunk):
            return [chunk]
        if lower is not None:
            chunk = chunk.translate(_ALL_BUT_I) if dotless else chunk.lower()
        return _BYTE_LEVEL.findall(chunk)

    return split


def _whole(chunk: str) -> list[str]:
    return [chunk]


def _normalizer_types(normalizer: TokenizerJson | None) -> set[str]:
    if normalizer is None:
        return set()
    if normalizer["type"] == "Sequence":
        return set().union(*map(_normalizer_types, normalizer["normalizers"]))
    return {normalizer["type"]}


def _unigram_pre_tokenizer() -> Any:
    return json.loads(pipeline.pre_tokenizer("unigram").__getstate__())
