"""The `[tokenizer]` settings: train a WordPiece, BPE or Unigram vocabulary, or use an existing one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from maskling.config import Settings

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
    lowercase: bool = Field(True, description="convert text to lowercase")
    strip_accents: bool | None = Field(None, description="remove accents; default: same as lowercase")
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
    path: str | None = Field(
        None,
        description="existing tokenizer to use instead of training: vocab.txt, tokenizer.json, or a Hugging Face or "
        "maskling folder",
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

    @property
    def strips_accents(self) -> bool:
        """`strip_accents` with BERT's default filled in: the value of `lowercase`."""
        return self.lowercase if self.strip_accents is None else self.strip_accents
