"""How a vocabulary is made, or where it is taken from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from maskling.config import Settings

ChineseWords = Literal["auto", "jieba", "characters"]


class TokenizerSettings(Settings):
    """[tokenizer]: `path` takes an existing tokenizer as it is; without it one is trained on the corpus."""

    kind: Literal["wordpiece", "bpe", "unigram"] = Field(
        "wordpiece", description="model to train: wordpiece (BERT), bpe (byte-level, RoBERTa), unigram (SentencePiece)"
    )
    vocab_size: int = Field(16_000, ge=16, le=2**24, description="most tokens to learn, the special five included")
    lowercase: bool = Field(True, description="fold capitals to small letters")
    strip_accents: bool | None = Field(None, description="remove accents; left out, it follows lowercase")
    split_chinese: bool = Field(True, description="wordpiece: every Chinese character is a token of its own")
    min_count: int = Field(2, ge=1, description="how often a character or a pair must occur to enter the vocabulary")
    max_alphabet: float = Field(
        0.75,
        gt=0,
        le=1,
        description="largest part of the vocabulary given to single characters; the rarest are left out",
    )
    path: str | None = Field(
        None, description="use this vocab.txt, tokenizer.json, Hugging Face folder or maskling folder; train nothing"
    )
    chinese_words: ChineseWords = Field(
        "auto", description="words of Chinese text for whole-word masking: jieba, characters, or jieba if installed"
    )

    @property
    def strips_accents(self) -> bool:
        """Whether accents go, with the default filled in as BERT fills it in."""
        return self.lowercase if self.strip_accents is None else self.strip_accents
