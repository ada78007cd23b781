"""The `[tokenizer]` settings: train a vocabulary of some kind, or use an existing one."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from maskling.config import Settings

# Patterns by name. Only escapes that JavaScript's regular expressions know too, so that transformers.js reads them.
PATTERNS: Final = {
    # Schwaller et al. 2019, "Molecular Transformer".
    "smiles": r"\[[^\]]+\]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|/|:|~|@|\?|>|\*|\$|%[0-9]{2}|[0-9]",
    "selfies": r"\[[^\]]*\]|\.",
    "protein": r"[A-Za-z*.-]",
    "dna": r"[A-Za-z*.-]",
}
# Kinds for texts in which a capital and a small letter are two symbols.
_CASED_KINDS: Final = ("characters", "regex", "kmer", "words")
KMER_SIZES: Final = range(2, 17)
_DEFAULT_K: Final = 6

_ONE_CHARACTER: Final = (*map(chr, range(1, 127)), "é", "λ", "ж", "ا", "क", "中", "€")
_ROLES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

ChineseWords = Literal["auto", "jieba", "icu", "characters"]
OtherWords = Literal["auto", "icu", "spaces"]


class TokenizerSettings(Settings):
    """[tokenizer]: `path` uses an existing tokenizer unchanged; without it, one is trained on the corpus."""

    kind: Literal["wordpiece", "bpe", "unigram", "characters", "words", "regex", "kmer"] = Field(
        "wordpiece",
        description="vocabulary to train: wordpiece (BERT), bpe (byte-level, RoBERTa), unigram (SentencePiece); "
        "characters (one token per code point), words (whole words, the rest [UNK]), regex (the matches of "
        "tokenizer.pattern), kmer (runs of tokenizer.k characters, side by side)",
    )
    pattern: str | None = Field(
        None,
        description="regex: a regular expression (Oniguruma) whose matches are the tokens, or smiles, selfies, "
        "protein or dna; characters outside a match, and those of matches that are not in the vocabulary, are tokens "
        "by themselves",
    )
    k: int | None = Field(
        None,
        ge=KMER_SIZES[0],
        le=KMER_SIZES[-1],
        description="kmer: characters per token; default: 6 for the kind kmer",
    )
    vocab_size: int = Field(
        16_000, ge=16, le=2**24, description="maximum number of tokens, including the five special tokens"
    )
    normalization: Literal["unicode", "bert"] = Field(
        "unicode",
        description="unicode: NFC, uniform white space, every mark and joiner kept; bert (wordpiece only): exactly as "
        "BERT, which removes marks of all scripts when it lowercases",
    )
    lowercase: bool = Field(
        True,
        description="convert text to lowercase; default for the kinds characters, words, regex and kmer, and with "
        "spaces = keep: false",
    )
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
    spaces: Literal["collapse", "keep"] = Field(
        "collapse",
        description="keep: tabs, line breaks and runs of spaces are tokens, so that decoding gives the text back (for "
        "code, tables and verse; not with wordpiece); see also corpus.clean.spaces",
    )
    split_digits: bool = Field(False, description="make every digit a separate token")
    min_count: int = Field(
        2,
        ge=1,
        description="minimum occurrences of a character, a word or a merged pair to enter the vocabulary; rarer "
        "characters enter while more than 0.02 % of the text would be unknown, and letters where room is left",
    )
    max_alphabet: float = Field(
        0.75,
        gt=0,
        le=1,
        description="maximum fraction of the vocabulary for single characters; the rarest are dropped, unless longer "
        "tokens leave room",
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
        if self.normalization == "bert" and self.split_digits:
            raise ValueError("split_digits is not possible with normalization 'bert', which is exactly BERT's")
        if self.dotless_i and not self.may_fold_dotless:
            raise ValueError("dotless_i says how text is lowercased: it needs lowercase and normalization 'unicode'")
        return self

    @property
    def may_fold_dotless(self) -> bool:
        """Whether `dotless_i` can have an effect."""
        return self.lowercase and self.normalization == "unicode"

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_kind(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        kind = values.get("kind", "wordpiece")
        defaults: dict[str, Any] = {}
        if kind in _CASED_KINDS or values.get("spaces") == "keep":
            defaults["lowercase"] = False
        if kind == "kmer":
            defaults["k"] = _DEFAULT_K
        return defaults | {key: value for key, value in values.items() if key != "k" or value is not None}

    @model_validator(mode="after")
    def _fitting(self) -> TokenizerSettings:
        if self.kind == "regex":
            if not self.pattern:
                raise ValueError(
                    f"the kind regex needs a pattern: a regular expression, or one of {', '.join(PATTERNS)}"
                )
            _check_pattern(self.pattern)
        elif self.pattern is not None:
            raise ValueError(f"pattern has no effect with the kind {self.kind}; set kind = regex")
        if self.kind != "kmer" and self.k is not None:
            raise ValueError(f"k has no effect with the kind {self.kind}; set kind = kmer")
        if self.kind == "wordpiece" and self.spaces == "keep":
            raise ValueError(
                "spaces = keep does not work with the kind wordpiece, which drops white space; "
                "use the kind bpe or unigram"
            )
        if self.kind == "characters" and self.split_digits:
            raise ValueError("split_digits has no effect with the kind characters; leave it out")
        return self

    @property
    def regex(self) -> str | None:
        """`pattern` with a name replaced by its regular expression."""
        return None if self.pattern is None else PATTERNS.get(self.pattern, self.pattern)

    @property
    def strips_accents(self) -> bool:
        """`strip_accents` with the default filled in: false, or with BERT's normalization the value of `lowercase`."""
        if self.strip_accents is None:
            return self.lowercase and self.normalization == "bert"
        return self.strip_accents


def _check_pattern(pattern: str) -> None:
    """Raise ValueError if a pattern cannot be used. Imports the library only for a pattern that has no name."""
    if pattern in PATTERNS:
        return
    from tokenizers import Regex, normalizers

    try:
        # A match before the only character of a text, which therefore has none: of '(?=a)' only before an a.
        before = normalizers.Replace(Regex(rf"\A(?:{pattern})(?=[\s\S]\z)"), "xx")
        empty = any(before.normalize_str(text) != text for text in _ONE_CHARACTER)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"pattern is not a regular expression of the tokenizers library (Oniguruma): {reason}; "
            f"give a valid one, or one of {', '.join(PATTERNS)}"
        ) from None
    if empty:
        raise ValueError(
            "pattern matches the empty text, which cannot be a token; use + in place of *, and let it take a character"
        )
