"""How a text may be cut before it is tokenized, so that the pieces' tokens are the text's tokens.

A cut is allowed only where no token can cross it and nothing on one side changes the other. Where that cannot
be known for a tokenizer, `chunking` says None and whole texts go to the library.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from maskling.tokenizer import pipeline
from maskling.tokenizer.characters import IDEOGRAPHS, SPACES, looks_chinese
from maskling.tokenizer.library import Tree
from maskling.tokenizer.lookup import ByteCut, byte_kinds

_CHINESE_MARKS: Final = "、。〈〉《》「」『』【】！（），．：；？“”‘’…—"
_BERT_SPACES: Final = " \t\n\r"
_BERT_WORD: Final = re.compile(f"[^{_BERT_SPACES}]+")
_BERT_CHINESE: Final = re.compile(f"[{IDEOGRAPHS}{_CHINESE_MARKS}]|[^{_BERT_SPACES}{IDEOGRAPHS}{_CHINESE_MARKS}]+")
_SPACE_AND_WORD: Final = re.compile(f"[{SPACES}]*[^{SPACES}]+|[{SPACES}]+")
_WORD: Final = re.compile(f"[^{SPACES}]+")
# A mark of punctuation is a word for BertPreTokenizer.
_ASCII_MARKS: Final = string.punctuation
_BERT_MARKS: Final = re.escape(_ASCII_MARKS) + _CHINESE_MARKS
_BERT_WORDS: Final = re.compile(f"[{_BERT_MARKS}]|[^{_BERT_MARKS}]+")
# The byte-level pattern (GPT-2's) on ASCII and some marks, which no normalizer changes. A letter beside a digit, or
# after 's and its like, is cut there too, but is no new word: such chunks are left whole.
_BYTE_LEVEL: Final = re.compile("'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^ A-Za-z0-9]+")
_PLAIN: Final = re.compile("[ -~‘’“”—…]+")
_CUT_INSIDE_WORD: Final = re.compile("[A-Za-z][0-9]|[0-9][A-Za-z]|'(?:s|t|re|ve|m|ll|d)[A-Za-z0-9]", re.IGNORECASE)
# Plain characters that composing makes out of others (Kelvin sign, Greek question mark, varia).
_COMPOSED_TO_ASCII: Final = ("\u212a", "\u037e", "\u1fef")

Cut = Callable[[str], list[str]]


@dataclass(frozen=True)
class Chunking:
    """How to cut, and which texts not to.

    markers: texts that hold one of these may hold an added token, and go to the library whole.
    keeps_space: chunks bring their leading white space with them (byte-level models tokenize it).
    finer: cuts a chunk into words that are encoded by themselves; so "word" is learnt once for "Word," and "(word)".
    splits_chinese: every Chinese character is one token (or one [UNK]).
    packed: how to cut into the same words in bytes, for BERT's tokenizers; None where words are not made so.
    """

    cut: Cut
    finer: Cut
    markers: tuple[str, ...]
    keeps_space: bool
    splits_chinese: bool
    packed: ByteCut | None = None


def chunking(tree: Tree) -> Chunking | None:
    """The cuts that are right for a tokenizer, given as its parsed tokenizer.json; None if none is known to be."""
    added = [token for token in tree["added_tokens"] if not token["special"]]
    normalizers = _steps(tree["normalizer"])
    if any(token["normalized"] for token in added) and not normalizers <= {"NFC"}:
        return None
    markers = tuple(sorted({token["content"][:3] for token in added} | (set(_COMPOSED_TO_ASCII) if added else set())))
    kind, pre = tree["model"]["type"], tree["pre_tokenizer"] or {}
    if kind == "WordPiece" and normalizers == {"BertNormalizer"} and pre.get("type") == "BertPreTokenizer":
        if not tree["normalizer"]["clean_text"]:
            return None
        splits = bool(tree["normalizer"]["handle_chinese_chars"])
        lowers = bool(tree["normalizer"]["lowercase"])
        cut = cut_bert_chinese if splits else cut_bert
        finer = _bert_words_lowered if lowers else _BERT_WORDS.findall
        packed = packed_bert(lowers)
        return Chunking(cut, finer, markers, keeps_space=False, splits_chinese=splits, packed=packed)
    if not normalizers <= {"NFC", "NFD", "Lowercase", "StripAccents"}:
        return None
    if kind == "BPE" and pre.get("type") == "ByteLevel" and pre.get("use_regex", True) and not tree["model"]["dropout"]:
        finer = _itself
        if not pre["add_prefix_space"]:
            finer = _byte_level_words_lowered if "Lowercase" in normalizers else _byte_level_words
        return Chunking(_SPACE_AND_WORD.findall, finer, markers, keeps_space=True, splits_chinese=False)
    if kind == "Unigram" and pre == _unigram_pre_tokenizer():
        return Chunking(cut_words, _itself, markers, keeps_space=False, splits_chinese=False)
    return None


def packed_bert(lowers: bool) -> ByteCut:
    """How to cut in bytes where BertNormalizer and BertPreTokenizer cut. lowers: whether they fold capitals."""
    return ByteCut(byte_kinds(_BERT_SPACES, _ASCII_MARKS), lowers)


def cut_bert(text: str) -> list[str]:
    """Cut at white space, which BertPreTokenizer drops.

    BertNormalizer drops some control characters and joins what they part, but str.split cuts there.
    """
    # Written out, because it runs for every sentence: seven searches for one character cost 0.2 us, a loop 1.3 us.
    if (
        "\x0b" in text
        or "\x0c" in text
        or "\x1c" in text
        or "\x1d" in text
        or "\x1e" in text
        or "\x1f" in text
        or "\x85" in text
    ):
        return _BERT_WORD.findall(text)
    return text.split()


def cut_bert_chinese(text: str) -> list[str]:
    """As `cut_bert`, and around each Chinese character and mark: they make a chunk of every sentence otherwise."""
    return _BERT_CHINESE.findall(text) if looks_chinese(text) else cut_bert(text)


def cut_words(text: str) -> list[str]:
    """Cut at what the library calls white space."""
    return _WORD.findall(text)


def _bert_words_lowered(chunk: str) -> list[str]:
    return _BERT_WORDS.findall(chunk.lower() if chunk.isascii() else chunk)


def _byte_level_words(chunk: str) -> list[str]:
    # White space alone, and two spaces in front, are cut by rules of their own.
    if chunk[1:2] in (" ", "") or not _PLAIN.fullmatch(chunk) or _CUT_INSIDE_WORD.search(chunk):
        return [chunk]
    return _BYTE_LEVEL.findall(chunk)


def _byte_level_words_lowered(chunk: str) -> list[str]:
    return _byte_level_words(chunk.lower() if chunk.isascii() else chunk)


def _itself(chunk: str) -> list[str]:
    return [chunk]


def _steps(normalizer: Tree | None) -> set[str]:
    if normalizer is None:
        return set()
    if normalizer["type"] == "Sequence":
        return set().union(*map(_steps, normalizer["normalizers"]))
    return {normalizer["type"]}


def _unigram_pre_tokenizer() -> Any:
    return json.loads(pipeline.pre_tokenizer("unigram").__getstate__())
