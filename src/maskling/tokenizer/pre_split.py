"""Splitting a text before it is tokenized, so that the tokens of the pieces are the tokens of the text.

A split is allowed only where no token can cross it and nothing on one side changes the other. If that cannot be
established for a tokenizer, `chunking` returns None and whole texts go to the library.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from maskling.tokenizer import pipeline
from maskling.tokenizer.characters import IDEOGRAPHS, SPACES, looks_chinese
from maskling.tokenizer.library import TokenizerJson
from maskling.tokenizer.lookup import ByteSplit, byte_kinds
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
    byte_split: rules that give the same words as bytes, for BERT's tokenizers; None for others.
    """

    split: Splitter
    split_words: Splitter
    markers: tuple[str, ...]
    keeps_space: bool
    splits_chinese: bool
    byte_split: ByteSplit | None = None


def chunking(tokenizer_json: TokenizerJson) -> Chunking | None:
    """Return how texts of a tokenizer may be split, or None if no split is known to be safe.

    tokenizer_json: the parsed tokenizer.json.
    """
    added = [token for token in tokenizer_json["added_tokens"] if not token["special"]]
    normalizers = _normalizer_types(tokenizer_json["normalizer"])
    if any(token["normalized"] for token in added) and not normalizers <= {"NFC"}:
        return None
    markers = tuple(sorted({token["content"][:3] for token in added} | (set(_COMPOSED_TO_ASCII) if added else set())))
    model, pre = tokenizer_json["model"], tokenizer_json["pre_tokenizer"] or {}
    kind = model["type"]
    if kind == "WordPiece" and normalizers == {"BertNormalizer"}:
        normalizer = tokenizer_json["normalizer"]
        digits = _own_variant(pre, "wordpiece", cut_words=False)
        if digits is None:
            digits = _own_variant(pre, "wordpiece", cut_words=True)
        if digits is None or not normalizer["clean_text"]:
            return None
        splits_chinese, lowercase = bool(normalizer["handle_chinese_chars"]), bool(normalizer["lowercase"])
        return Chunking(
            split=split_bert_chinese if splits_chinese else split_bert,
            split_words=_bert_words(lowercase, digits),
            markers=markers,
            keeps_space=False,
            splits_chinese=splits_chinese,
            byte_split=bert_byte_split(lowercase, digits),
        )
    if not normalizers <= {"NFC", "NFD", "Lowercase", "StripAccents"} and not _only_collapses(tokenizer_json):
        return None
    if pipeline.has_unit_tokens(model):
        if not _isolates_spaces(pre):
            return None
        split_units = next((_kmers(k) for k in KMER_SIZES if _own_variant(pre, "kmer", k=k) is False), _whole)
        return Chunking(_SPACE_OR_WORD.findall, split_units, markers, keeps_space=True, splits_chinese=False)
    if kind == "BPE" and not model["dropout"]:
        split_words: Splitter = _whole
        if pre.get("type") == "ByteLevel" and pre.get("use_regex", True):
            added_space = bool(pre["add_prefix_space"])
        elif _own_variant(pre, "bpe") is not None:
            added_space = False
        else:
            return None
        if not added_space:
            split_words = _byte_level_words_lowercase if "Lowercase" in normalizers else _byte_level_words
        return Chunking(_SPACE_AND_WORD.findall, split_words, markers, keeps_space=True, splits_chinese=False)
    if kind == "Unigram" and _own_variant(pre, "unigram") is not None:
        return Chunking(split_at_spaces, _whole, markers, keeps_space=False, splits_chinese=False)
    if kind == "Unigram" and _own_variant(pre, "unigram", spaces="keep") is not None:
        return Chunking(split_before_spaces, _whole, markers, keeps_space=True, splits_chinese=False)
    if kind == "WordLevel" and _own_variant(pre, "characters") is not None:
        return Chunking(_SPACE_OR_WORD.findall, _whole, markers, keeps_space=True, splits_chinese=False)
    if kind == "WordLevel" and _own_variant(pre, "words", spaces="keep") is not None:
        return Chunking(_SPACE_OR_WORD.findall, _whole, markers, keeps_space=True, splits_chinese=False)
    return None


def bert_byte_split(lowercase: bool, split_digits: bool = False) -> ByteSplit:
    """Return rules that split bytes where BertNormalizer and BertPreTokenizer split text."""
    return ByteSplit(byte_kinds(_BERT_SPACES, _ASCII_MARKS + (string.digits if split_digits else "")), lowercase)


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


def split_bert_chinese(text: str) -> list[str]:
    """Split as `split_bert`, and around each Chinese character and mark; otherwise every sentence is one chunk."""
    return _BERT_CHINESE.findall(text) if looks_chinese(text) else split_bert(text)


def split_at_spaces(text: str) -> list[str]:
    """Split at every character that is white space for the library."""
    return _WORD.findall(text)


def split_before_spaces(text: str) -> list[str]:
    """Split before each run of white space, which stays with the word after it."""
    return _SPACE_AND_WORD.findall(text)


def _bert_words(lowercase: bool, split_digits: bool) -> Splitter:
    find = (_BERT_WORDS_AND_DIGITS if split_digits else _BERT_WORDS).findall
    return (lambda chunk: find(chunk.lower() if chunk.isascii() else chunk)) if lowercase else find


def _kmers(k: int) -> Splitter:
    def split(chunk: str) -> list[str]:
        # A special token written in the text is not a k-mer.
        if not chunk.isascii() or chunk[0] in SPACES or "[" in chunk:
            return [chunk]
        whole = len(chunk) - len(chunk) % k
        return [*(chunk[first : first + k] for first in range(0, whole, k)), *chunk[whole:]]

    return split


def _byte_level_words(chunk: str) -> list[str]:
    # The pattern has separate rules for white space alone, and for two leading spaces.
    if chunk[1:2] in (" ", "") or not _PLAIN.fullmatch(chunk) or _SPLIT_INSIDE_WORD.search(chunk):
        return [chunk]
    return _BYTE_LEVEL.findall(chunk)


def _byte_level_words_lowercase(chunk: str) -> list[str]:
    return _byte_level_words(chunk.lower() if chunk.isascii() else chunk)


def _whole(chunk: str) -> list[str]:
    return [chunk]


def _normalizer_types(normalizer: TokenizerJson | None) -> set[str]:
    if normalizer is None:
        return set()
    if normalizer["type"] == "Sequence":
        return set().union(*map(_normalizer_types, normalizer["normalizers"]))
    return {normalizer["type"]}


def _only_collapses(tokenizer_json: TokenizerJson) -> bool:
    """Return whether the normalizer is one of ours that makes each run of white space one space."""
    normalizer = tokenizer_json["normalizer"] or {}
    steps = normalizer.get("normalizers", [])
    others = [step for step in steps if step["type"] != "Replace"]
    collapse = {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
    return all(step in (collapse, *others) for step in steps) and {step["type"] for step in others} <= {
        "NFC",
        "NFD",
        "Lowercase",
        "StripAccents",
    }


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
    return pipeline.as_json(pipeline.pre_tokenizer(settings, cut_words))
