"""Normalizer, pre-tokenizer, decoder and post-processor for each kind of tokenizer that can be trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import Regex, decoders, normalizers, pre_tokenizers, processors

from maskling.tokenizer.library import BERT_SPECIAL_TOKENS, MAX_WORD_CHARACTERS
from maskling.tokenizer.normalization import Normalization, unicode_normalizer
from maskling.tokenizer.settings import TokenizerSettings

_MARK = r"\p{P}$+<=>^`|~"
# A punctuation mark is a piece of its own, with the space before it if there is one; so is a digit, on request.
UNIGRAM_PIECE = rf"▁?[{_MARK}]"
_UNIGRAM_DIGIT = r"▁?\p{N}"
# Where white space is kept: one space belongs to the word after it, a longer run is a piece of its own (as in GPT-2).
_KEPT_SPACE = r"\s+(?!\S)|\s+"
_SPACED_DIGIT = r" ?\p{N}"
_DIGIT = r"\p{N}"
# A longer word would be [UNK]. No cut separates a combining mark from its letter.
_CUT_WORD = rf"[\s\S]{{1,{MAX_WORD_CHARACTERS}}}(?!\p{{M}})|[\s\S]{{1,{MAX_WORD_CHARACTERS}}}"
_SPECIAL_AS_TEXT = rf"(?!\[(?:{'|'.join(token[1:-1] for token in BERT_SPECIAL_TOKENS.values())})\])"
# Kinds whose tokens are units of their own: each is a word for whole-word masking.
UNIT_KINDS = ("regex", "kmer")


def normalizer(settings: TokenizerSettings) -> Any:
    """Return the normalizer that the settings choose: BERT's own, or the steps in `normalization`."""
    if settings.normalization == "bert":
        return bert_normalizer(settings.lowercase, settings.strip_accents, settings.split_chinese)
    return unicode_normalizer(Normalization.of(settings))


def bert_normalizer(lowercase: bool, strip_accents: bool | None, split_chinese: bool) -> Any:
    """Return the normalizer that transformers' `BertTokenizer` builds from its three flags."""
    return normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=split_chinese, strip_accents=strip_accents, lowercase=lowercase
    )


def pre_tokenizer(settings: TokenizerSettings, cut_words: bool = False) -> Any:
    """Return the pre-tokenizer, which cuts a text into pieces that no token crosses.

    cut_words: cut words that are longer than WordPiece can read, instead of making them [UNK].
    """
    kept, digits = settings.spaces == "keep", settings.split_digits
    steps: list[Any]
    match settings.kind:
        case "wordpiece":
            steps = [pre_tokenizers.BertPreTokenizer()]
            steps += [_isolated(_DIGIT)] if digits else []
            steps += [_isolated(_CUT_WORD)] if cut_words else []
        case "bpe":
            steps = [_isolated(_SPACED_DIGIT)] if digits else []
            steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))
        case "unigram" if kept:
            steps = [_isolated(rf" ?[{_MARK}]| ?[^\s{_MARK}]+|{_KEPT_SPACE}")]
            steps += [_isolated(_SPACED_DIGIT)] if digits else []
        case "unigram":
            # "first": the text after a special token, such as the full stop in "the [MASK].", gets no "▁" that it did
            # not have when the masked word was there. Needs a normalizer that makes all white space a single space.
            steps = [
                pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=True),
                _isolated(f"{UNIGRAM_PIECE}|{_UNIGRAM_DIGIT}" if digits else UNIGRAM_PIECE),
            ]
        case "characters":
            steps = [_isolated(r"[\s\S]")]
        case "words":
            # \s+ first: BertPreTokenizer would drop the white space.
            steps = [_isolated(rf"\s+|[{_MARK}]|[^\s{_MARK}]+") if kept else pre_tokenizers.BertPreTokenizer()]
            steps += [_isolated(_DIGIT)] if digits else []
        case _:
            unit = rf"\S{{{settings.k}}}" if settings.kind == "kmer" else f"(?:{settings.regex})"
            # No match crosses white space: sentences are encoded one by one.
            steps = [_isolated(r"\s"), _isolated(rf"{_SPECIAL_AS_TEXT}{unit}|[\s\S]")]
            steps += [_isolated(_DIGIT)] if digits else []
    return steps[0] if len(steps) == 1 else pre_tokenizers.Sequence(steps)


def _isolated(pattern: str) -> Any:
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated")


def decoder(kind: str, keep_spaces: bool = False) -> Any:
    """Return the decoder, which joins tokens back into text."""
    if kind == "bpe":
        return decoders.ByteLevel()
    if kind in ("characters", *UNIT_KINDS) or keep_spaces:
        return decoders.Fuse()
    if kind in ("wordpiece", "words"):
        return decoders.WordPiece(prefix="##")
    return decoders.Metaspace(replacement="▁", prepend_scheme="always", split=False)


def has_unit_tokens(model: Mapping[str, Any]) -> bool:
    """Return whether each token is a unit by itself: the kinds regex and kmer, a BPE model without merges.

    model: the "model" object of tokenizer.json.
    """
    return model["type"] == "BPE" and bool(model.get("ignore_merges")) and not model["merges"]


def template(
    cls_id: int, sep_id: int, cls: str = BERT_SPECIAL_TOKENS["cls"], sep: str = BERT_SPECIAL_TOKENS["sep"]
) -> Any:
    """Return the post-processor for `[CLS] A [SEP] B [SEP]`, with token type 0 for A and 1 for B."""
    return processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, cls_id), (sep, sep_id)],
    )
