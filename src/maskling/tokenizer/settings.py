"""The `[tokenizer]` settings: train a WordPiece, BPE or Unigram vocabulary, or use an existing one."""

from __future__ import annotations

import unicodedata
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from maskling.config import Settings

_ROLES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

ChineseWords = Literal["auto", "jieba", "icu", "characters"]
OtherWords = Literal["auto", "icu", "spaces"]


class TokenizerSettings(Settings):
    """[tokenizer]: `path` uses an existing tokenizer unchanged; without it, one is trained on the corpus."""

    kind: Literal["wordpiece", "bpe", "unigram"] = Field(
        "wordpiece",
        description="subword model to train: wordpiece (BERT), bpe (byte-level, RoBERTa), unigram (SentencePiece)",
    )
    vocab_size: int = Field(
        16_000, ge=16, le=2**24, description="maximum number of tokens, including the five special tokens"
    )
    normalization: Literal["unicode", "bert"] = Field(
        "unicode",
        description="unicode: NFC, uniform white space, every mark and joiner kept; bert (wordpiece only): exactly as "
        "BERT, which removes marks of all scripts when it lowercases",
    )
    lowercase: bool = Field(True, description="convert text to lowercase")
    dotless_i: bool | None = Field(
        None,
        description="lowercase I to ı, as in Turkish and Azeri; default: from corpus.language, else from the text",
    )
    strip_accents: bool | None = Field(
        None,
        description="remove accents, which are vowels in many scripts; default: false, with normalization bert the "
        "same as lowercase",
    )
    split_chinese: bool = Field(True, description="wordpiece: make every Chinese character a separate token")
    min_count: int = Field(
        2, ge=1, description="minimum occurrences of a character or a merged pair to enter the vocabulary"
    )
    max_alphabet: float = Field(
        0.75,
        gt=0,
        le=1,
        description="maximum fraction of the vocabulary for single characters; the rarest are dropped",
    )
    special_tokens: tuple[str, ...] = Field(
        (), description="more special tokens for the vocabulary ('[URL]'): never split, never masked"
    )
    path: str | None = Field(
        None,
        description="existing tokenizer to use instead of training: vocab.txt, tokenizer.json, a SentencePiece model, "
        "or a Hugging Face or maskling folder",
    )
    add_missing: bool = Field(
        False,
        description="with path: add the special tokens ([MASK], [PAD], ...) that the tokenizer lacks, as GPT-2's does",
    )
    chinese_words: ChineseWords = Field(
        "auto",
        description="Chinese word segmentation for whole-word masking: jieba, icu, characters, or auto (the first of "
        "the three that is installed)",
    )
    words: OtherWords = Field(
        "auto",
        description="word segmentation of Thai, Lao, Khmer, Burmese and Japanese for whole-word masking: icu, spaces "
        "(words end at white space and punctuation), or auto (icu if installed)",
    )

    @field_validator("special_tokens")
    @classmethod
    def _usable(cls, tokens: tuple[str, ...]) -> tuple[str, ...]:
        for token in tokens:
            if not token or token != unicodedata.normalize("NFC", token) or not token.replace(" ", "x").isprintable():
                raise ValueError(f"{token!r} cannot be a special token: it is empty, or has characters to normalize")
            if " " in token:
                raise ValueError(f"{token!r} cannot be a special token: it contains a space")
            if token in _ROLES:
                raise ValueError(f"{token} is a special token of every vocabulary; leave it out")
        if len(set(tokens)) < len(tokens):
            raise ValueError("the same token is given twice")
        return tokens

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.normalization == "bert" and self.kind != "wordpiece":
            raise ValueError(f"normalization 'bert' is for the kind wordpiece, not {self.kind}; leave it out")
        if self.dotless_i and not self.may_fold_dotless:
            raise ValueError("dotless_i says how text is lowercased: it needs lowercase and normalization 'unicode'")
        return self

    @property
    def may_fold_dotless(self) -> bool:
        """Whether `dotless_i` can have an effect."""
        return self.lowercase and self.normalization == "unicode"

    @property
    def strips_accents(self) -> bool:
        """`strip_accents` with the default filled in: false, or with BERT's normalization the value of `lowercase`."""
        if self.strip_accents is None:
            return self.lowercase and self.normalization == "bert"
        return self.strip_accents
