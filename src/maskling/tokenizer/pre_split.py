"""Splitting a text before it is tokenized, so that the tokens of the pieces are the tokens of the text.

A split is allowed only where no token can cross it and nothing on one side changes the other. If that cannot be
established for a tokenizer, `chunking` returns None and whole texts go to the library.
"""

from __future__ import annotations

import functools
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
from maskling.tokenizer.settings import KMER_SIZES, TokenizerSettings

_CHINESE_MARKS: Final = "、。〈〉《》「」『』【】！（），．：；？“”‘’…—"
_BERT_SPACES: Final = " \t\n\r"
_BERT_CHUNK: Final = re.compile(f"[^{_BERT_SPACES}]+")
_BERT_CHINESE: Final = re.compile(f"[{IDEOGRAPHS}{_CHINESE_MARKS}]|[^{_BERT_SPACES}{IDEOGRAPHS}{_CHINESE_MARKS}]+")
_SPACE_AND_WORD: Final = re.compile(f"[{SPACES}]*[^{SPACES}]+|[{SPACES}]+")
_SPACE_OR_WORD: Final = re.compile(f"[^{SPACES}]+|[{SPACES}]+")
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
_BERT_WORDS_AND_DIGITS: Final = re.compile(f"[{_BERT_MARKS}0-9]|[^{_BERT_MARKS}0-9]+")
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
    if kind == "WordPiece":
        return _wordpiece_chunking(tokenizer_json["normalizer"], normalizers, pre, markers)
    if pipeline.has_unit_tokens(model):
        split_units = next((_kmers(k) for k in KMER_SIZES if _own_variant(pre, "kmer", k=k) is False), _whole)
        own = _isolates_spaces(pre) and _is_ours(tokenizer_json, *normalization.SPACES_ALONE)
        return _keeping_space(_SPACE_OR_WORD.findall, markers, split_units) if own else None
    if kind == "BPE" and not model["dropout"]:
        chosen = normalization.recognize(tokenizer_json["normalizer"], "bpe")
        if chosen is None and not normalizers <= _BY_CHARACTER:
            return None
        split_words: Splitter = _whole
        if pre.get("type") == "ByteLevel" and pre.get("use_regex", True):
            added_space = bool(pre["add_prefix_space"])
        elif _own_variant(pre, "bpe") is not None:
            added_space = False
        else:
            return None
        if not added_space:
            lower = lower_case(chosen.dotless_i if chosen else False) if "Lowercase" in normalizers else None
            split_words = _byte_level_words(lower)
        return _keeping_space(_SPACE_AND_WORD.findall, markers, split_words, normal_first=chosen is not None)
    if kind == "Unigram" and _own_variant(pre, "unigram") is not None:
        before = older.mended_steps(tokenizer_json)
        by_character = before is not None and {step["type"] for step in before} <= _BY_CHARACTER
        if not by_character and not _is_ours(tokenizer_json, "unigram"):
            return None
        return Chunking(
            split_at_spaces,
            _whole,
            tuple(sorted({*markers, "▁"})),  # a text that begins with its own "▁" gets no other
            keeps_space=False,
            splits_chinese=False,
            needs_space=True,
            normal_first=True,
        )
    if kind == "Unigram" and _own_variant(pre, "unigram", spaces="keep") is not None:
        return _keeping_space(split_before_spaces, markers) if _is_ours(tokenizer_json, "unigram") else None
    if kind == "WordLevel" and _own_variant(pre, "characters") is not None:
        return _keeping_space(_SPACE_OR_WORD.findall, markers) if _is_ours(tokenizer_json, "characters") else None
    if kind == "WordLevel" and _own_variant(pre, "words", spaces="keep") is not None:
        return _keeping_space(_SPACE_OR_WORD.findall, markers) if _is_ours(tokenizer_json, "words") else None
    return None


def _is_ours(tokenizer_json: TokenizerJson, *kinds: str) -> bool:
    """Return whether the normalizer is one that maskling gives a tokenizer of these kinds."""
    return any(normalization.recognize(tokenizer_json["normalizer"], kind) is not None for kind in kinds)


def _keeping_space(
    split: Splitter, markers: tuple[str, ...], split_words: Splitter | None = None, normal_first: bool = True
) -> Chunking:
    """Return how texts may be split for a tokenizer that has tokens for white space."""
    return Chunking(
        split, split_words or _whole, markers, keeps_space=True, splits_chinese=False, normal_first=normal_first
    )


def _wordpiece_chunking(
    normalizer: TokenizerJson, types: set[str], pre_tokenizer: TokenizerJson, markers: tuple[str, ...]
) -> Chunking | None:
    if types == {"BertNormalizer"} and normalizer["type"] == "BertNormalizer":
        return _bert(normalizer, markers) if pre_tokenizer.get("type") == "BertPreTokenizer" else None
    digits = _own_variant(pre_tokenizer, "wordpiece", cut_words=False)
    if digits is None:
        digits = _own_variant(pre_tokenizer, "wordpiece", cut_words=True)
    chosen = normalization.recognize(normalizer, "wordpiece")
    return _wordpiece(chosen, markers, digits) if chosen is not None and digits is not None else None


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


def _wordpiece(chosen: Normalization, markers: tuple[str, ...], split_digits: bool) -> Chunking:
    """Return how texts may be split for the normalizer of a new WordPiece tokenizer.

    No step joins or reads characters on both sides of white space, an ASCII mark or a Chinese character, except that
    NFC composes "=" and U+0338 to "≠", a letter for BertPreTokenizer. And ASCII may be lowercased before NFC, except
    that I and U+0307 are İ, whose lower case is i.
    """
    lower = lower_case(chosen.dotless_i) if chosen.lowercase else None
    return Chunking(
        split=split_unicode_chinese if chosen.split_chinese else str.split,
        split_words=_bert_words(lower, split_digits),
        markers=tuple(sorted({*markers, *COMPOSING_MARKS})),
        keeps_space=False,
        splits_chinese=chosen.split_chinese,
        byte_split=unicode_byte_split(chosen.lowercase, chosen.dotless_i, split_digits),
    )


def unicode_byte_split(lowercase: bool, dotless_i: bool | None, split_digits: bool = False) -> ByteSplit:
    """Return rules that split bytes where a new WordPiece tokenizer splits text without COMPOSING_MARKS.

    dotless_i: see `lower_case`.
    """
    marks = _ASCII_MARKS + (string.digits if split_digits else "")
    return ByteSplit(byte_kinds(_UNICODE_SPACES, marks), lower_case(dotless_i) if lowercase else None)


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


def split_before_spaces(text: str) -> list[str]:
    """Split before each run of white space, which stays with the word after it."""
    return _SPACE_AND_WORD.findall(text)


def _bert_words(lower: bytes | None, split_digits: bool = False) -> Splitter:
    """Return a function that splits a chunk at marks; equal words in ASCII get equal case, so that each is a word once.

    lower: table of lower case, None for a tokenizer that keeps case.
    """
    find = (_BERT_WORDS_AND_DIGITS if split_digits else _BERT_WORDS).findall
    if lower is None:
        return find
    if lower == lower_case(dotless_i=False):
        return lambda chunk: find(chunk.lower() if chunk.isascii() else chunk)
    return lambda chunk: find(chunk.translate(_ALL_BUT_I) if chunk.isascii() else chunk)


def _kmers(k: int) -> Splitter:
    def split(chunk: str) -> list[str]:
        # A special token written in the text is not a k-mer, and a control character is removed.
        if not chunk.isascii() or not chunk.isprintable() or chunk[0] in SPACES or "[" in chunk:
            return [chunk]
        whole = len(chunk) - len(chunk) % k
        return [*(chunk[first : first + k] for first in range(0, whole, k)), *chunk[whole:]]

    return split


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


def _isolates_spaces(pre_tokenizer: TokenizerJson) -> bool:
    steps = pre_tokenizer.get("pretokenizers", [])
    own = _own_pre_tokenizer("kmer", "collapse", False, False, 2)["pretokenizers"]
    return bool(steps) and steps[0] == own[0] and all(step["type"] == "Split" for step in steps)


def _own_variant(
    pre_tokenizer: TokenizerJson, kind: str, spaces: str = "collapse", cut_words: bool = False, k: int | None = None
) -> bool | None:
    """Return whether digits are split, if this is our own pre-tokenizer of a kind; else None."""
    for split_digits in (False, True):
        if kind == "characters" and split_digits:
            break
        if pre_tokenizer == _own_pre_tokenizer(kind, spaces, split_digits, cut_words, k):
            return split_digits
    return None


@functools.cache
def _own_pre_tokenizer(kind: Any, spaces: Any, split_digits: bool, cut_words: bool, k: int | None) -> TokenizerJson:
    settings = TokenizerSettings(kind=kind, spaces=spaces, split_digits=split_digits, k=k)
    own: TokenizerJson = normalization.as_json(pipeline.pre_tokenizer(settings, cut_words))
    return own
