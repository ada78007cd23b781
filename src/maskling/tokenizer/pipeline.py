"""Normalizer, pre-tokenizer, decoder and post-processor for each kind of tokenizer that can be trained."""

from __future__ import annotations

from typing import Any

from tokenizers import Regex, decoders, normalizers, pre_tokenizers, processors

from maskling.tokenizer.library import BERT_SPECIAL_TOKENS
from maskling.tokenizer.normalization import Normalization, unicode_normalizer
from maskling.tokenizer.settings import TokenizerSettings

# A punctuation mark is a piece of its own, with the space before it if there is one.
UNIGRAM_PIECE = r"▁?[\p{P}$+<=>^`|~]"


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


def pre_tokenizer(kind: str) -> Any:
    """Return the pre-tokenizer, which cuts a text into pieces that no token crosses."""
    if kind == "wordpiece":
        return pre_tokenizers.BertPreTokenizer()
    if kind == "bpe":
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    # "first": the text after a special token, such as the full stop in "the [MASK].", gets no "▁" that it did not have
    # when the masked word was there. Needs a normalizer that makes all white space a single space.
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=True),
            pre_tokenizers.Split(Regex(UNIGRAM_PIECE), behavior="isolated"),
        ]
    )


def decoder(kind: str) -> Any:
    """Return the decoder, which joins tokens back into text."""
    if kind == "wordpiece":
        return decoders.WordPiece(prefix="##")
    if kind == "bpe":
        return decoders.ByteLevel()
    return decoders.Metaspace(replacement="▁", prepend_scheme="always", split=False)


def template(
    cls_id: int, sep_id: int, cls: str = BERT_SPECIAL_TOKENS["cls"], sep: str = BERT_SPECIAL_TOKENS["sep"]
) -> Any:
    """Return the post-processor for `[CLS] A [SEP] B [SEP]`, with token type 0 for A and 1 for B."""
    return processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, cls_id), (sep, sep_id)],
    )
