"""Training a vocabulary from word counts: the same counts give the same bytes, on any machine, in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import tokenizers
from tokenizers import models

from maskling.errors import TokenizerError
from maskling.tokenizer import pieces, reading
from maskling.tokenizer.counting import count_words
from maskling.tokenizer.merging import alphabet, byte_level, word_pieces
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.special import BERT_NAMES, ROLES
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.tokenizer.unigram import unigram_pieces

__all__ = ["count_words", "train"]

SPECIALS: Final = [BERT_NAMES[role] for role in ROLES]  # ids 0 to 4: [PAD] [UNK] [CLS] [SEP] [MASK]


def train(counts: Mapping[str, int], settings: TokenizerSettings) -> Tokenizer:
    """Train the vocabulary that `settings` describe on the words of `count_words`.

    A corpus with fewer pieces than `vocab_size` gives a smaller vocabulary (see `Tokenizer.vocab_size`).
    Raises TokenizerError if there are no words, or no room for the characters.
    """
    if not counts:
        raise TokenizerError("there are no words to train a vocabulary on; give a corpus with text in it")
    room = settings.vocab_size - len(SPECIALS)
    # Whatever order the counts came in, training sees the words in one order.
    words = Counter(dict(sorted((word, count) for word, count in counts.items() if count > 0)))
    library = _TRAINERS[settings.kind](words, room, settings)
    if settings.kind != "wordpiece":
        library.normalizer = pieces.normalizer(settings)
        library.pre_tokenizer = pieces.pre_tokenizer(settings.kind)
        library.decoder = pieces.decoder(settings.kind)
    library = reading.with_specials(library, BERT_NAMES)
    return Tokenizer(library, BERT_NAMES, chinese_words=settings.chinese_words)


def _wordpiece(words: Counter[str], room: int, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    learned = word_pieces(words, room, settings.min_count, settings.max_alphabet)
    vocabulary = {piece: id_ for id_, piece in enumerate([*SPECIALS, *(p for p in learned if p not in SPECIALS)])}
    return reading.wordpiece(vocabulary, BERT_NAMES, pieces.normalizer(settings))


def _bpe(words: Counter[str], room: int, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    learned, merges = byte_level(words, room, settings.min_count)
    vocabulary = {piece: id_ for id_, piece in enumerate([*SPECIALS, *learned])}
    return tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))


def _unigram(words: Counter[str], room: int, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    kept = alphabet(words, int(room * settings.max_alphabet), settings.min_count)
    scored = unigram_pieces(words, kept, room)
    # A special token is matched before the model runs, so its score is never used.
    vocabulary = [*((special, 0.0) for special in SPECIALS), *scored]
    return tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=ROLES.index("unk"), byte_fallback=False))


_TRAINERS: Final[dict[str, Any]] = {"wordpiece": _wordpiece, "bpe": _bpe, "unigram": _unigram}
