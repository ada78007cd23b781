"""Which words `fill` chooses among."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskling.errors import TokenizerError
from maskling.infer.reader import Reader
from maskling.infer.scoring import Scorer, TargetScorer, TokenScorer
from maskling.infer.slots import Pieces
from maskling.tokenizer.tokenizer import Tokenizer


def scorer(reader: Reader, targets: Sequence[str] | None, whole_words: bool) -> tuple[Scorer, int]:
    """What scores the candidates, and how many tokens a candidate may take beyond its mask's one.

    Raises TokenizerError for a target that the vocabulary cannot write.
    """
    module, compute, special = reader.module, reader.compute, reader.tokenizer.special
    if targets is None:
        spaced, tight = token_candidates(reader.tokenizer, whole_words)
        return TokenScorer(module, compute, special.pad, spaced, tight), 0
    if isinstance(targets, str) or not targets:
        raise TokenizerError("targets is a list of words, with at least one in it")
    spaced_words = [pieces_of(word, reader.tokenizer, after_space=True) for word in targets]
    tight_words = [pieces_of(word, reader.tokenizer, after_space=False) for word in targets]
    longest = max(map(len, [*spaced_words, *tight_words]))
    return TargetScorer(module, compute, special.mask, special.pad, spaced_words, tight_words), longest - 1


def token_candidates(tokenizer: Tokenizer, whole_words: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids that may follow a space, and ids that may follow anything else: never special or unused ones.

    With whole_words, those that are a word by themselves: they start one and hold a letter or a digit.
    """
    ids = np.asarray(tokenizer.ordinary_ids, dtype=np.int64)
    if not whole_words:
        return ids, ids
    wordlike = np.array([any(map(str.isalnum, tokenizer.decode([int(token)]))) for token in ids], dtype=bool)
    starts = np.asarray(tokenizer.starts_word)[ids]
    spaced = ids[starts & wordlike]
    # Where a space is part of the token, a word that follows none is written with the other tokens.
    return spaced, ids[~starts & wordlike] if space_matters(tokenizer) else spaced


def pieces_of(word: str, tokenizer: Tokenizer, after_space: bool) -> Pieces:
    """A word as the tokenizer writes it there; what only the vocabulary spells ("##ing") as it is."""
    written = f" {word.strip()}" if after_space and space_matters(tokenizer) else word.strip()
    pieces = tuple(int(piece) for piece in tokenizer.encode(written).ids)
    known = tokenizer.id(word)
    if known is not None and len(pieces) != 1:
        pieces = (known,)
    if not pieces or tokenizer.special.unk in pieces:
        raise TokenizerError(f"the target {word!r} cannot be written with this model's vocabulary; leave it out")
    return pieces


def space_matters(tokenizer: Tokenizer) -> bool:
    """Whether a word has other tokens after a space than at the beginning, as in byte-level vocabularies."""
    return list(tokenizer.encode("a").ids) != list(tokenizer.encode(" a").ids)
