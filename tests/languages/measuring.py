"""What default settings make of a text: characters that survive, unknown tokens, tokens per word, and the mask rate."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass

import numpy as np

from languages.texts import Sample
from maskling.corpus.clean import clean
from maskling.corpus.settings import CleanSettings
from maskling.data.masking import MASKINGS
from maskling.data.masking.words import WordIds
from maskling.randomness import keys
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.tokenizer import Tokenizer, Tokens
from maskling.tokenizer.training import count_words, train_vocabulary

ROW = 126  # tokens of a row of 128, without [CLS] and [SEP]
RATE = 0.15
DRAWS = 40  # epochs over which a rate is averaged
RATES = ("token", "word", "span", "ngram")


@dataclass(frozen=True)
class Measured:
    """The measures of one language or domain under one kind of vocabulary, as fractions.

    kept: letters and marks that survive decode(encode(text)), case aside; new: held-out characters that the training
    text does not have; unknown: tokens of the rest of the held-out text that are [UNK]; tokens_per_word; rates: of all
    ordinary tokens, those chosen at a rate of `RATE`, by masking.
    """

    kept: float
    new: float
    unknown: float
    tokens_per_word: float
    rates: dict[str, float]


def measure(sample: Sample, settings: TokenizerSettings) -> Measured:
    """Train a vocabulary on the sample and measure it, on the held-out texts for what is unknown."""
    train, held_out = ([clean(text, CleanSettings()) for text in texts] for texts in (sample.train, sample.held_out))
    tokenizer = train_vocabulary(count_words(train, settings), settings)
    alphabet = set("".join(train)) | {" "}
    like = ["".join(character for character in text if character in alphabet) for text in held_out]
    seen, unseen = tokenizer.encode_batch(train), tokenizer.encode_batch(like)
    return Measured(
        kept=_kept(tokenizer, train, seen),
        new=1 - sum(map(len, like)) / sum(map(len, held_out)),
        unknown=_share_of(tokenizer.special.unk, unseen),
        tokens_per_word=sum(map(len, seen)) / sum(int(tokens.word_starts.sum()) for tokens in seen),
        rates={kind: _rate(kind, seen) for kind in RATES},
    )


def letters_and_marks(text: str) -> Counter[str]:
    """Count the letters, marks and joiners of a text, case folded, in normal form D."""
    # One letter for i, I, ı and İ, whose case depends on the language.
    text = text.replace("İ", "i").replace("ı", "i")
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
    return Counter(c for c in folded if unicodedata.category(c)[0] in "LM" or c in "\u200c\u200d")


def _kept(tokenizer: Tokenizer, texts: list[str], encoded: list[Tokens]) -> float:
    before: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for text, tokens in zip(texts, encoded, strict=True):
        wanted = letters_and_marks(text)
        before += wanted
        lost += wanted - letters_and_marks(tokenizer.decode(tokens.ids))
    return 1 - lost.total() / before.total()


def _share_of(id_: int, encoded: list[Tokens]) -> float:
    ids = np.concatenate([tokens.ids for tokens in encoded])
    return float((ids == id_).mean())


def _rate(kind: str, encoded: list[Tokens]) -> float:
    """Return the share of tokens that a masking chooses in rows of `ROW` tokens, over `DRAWS` epochs."""
    starts = np.concatenate([np.r_[True, tokens.word_starts[1:]] for tokens in encoded if len(tokens)])
    example = np.arange(len(starts)) // ROW
    position = np.arange(len(starts)) % ROW
    word = np.cumsum(starts | (position == 0)) - 1
    words = WordIds(example, position, word, int(example[-1]) + 1)
    masking = MASKINGS[kind](rate=RATE)
    index = np.arange(words.num_examples)
    chosen = [masking.select(words, RATE, keys(0, "mask", epoch, index)).mean() for epoch in range(DRAWS)]
    return float(np.mean(chosen))
