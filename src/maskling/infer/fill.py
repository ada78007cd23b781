"""Fill the masks of texts, independently or jointly, with any token or with words of a given list.

`fill_texts` is the entry point; `TokenScorer` and `TargetScorer` score the candidates, `fill_jointly` searches over all
masks of a text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from maskling.errors import SettingsError, TokenizerError
from maskling.infer.forward import (
    MaskQuery,
    ModelRunner,
    TokenIds,
    between_batches,
    check_texts,
    log_probabilities,
)
from maskling.infer.masks import Pieces, Slots, read_slots, word_of, written
from maskling.infer.results import Filled, FilledMasks, FilledTogether, Together
from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM
from maskling.tokenizer.tokenizer import Tokenizer

# Partial fillings kept after each slot; a larger beam seldom finds a better filling.
BEAM = 16

# Candidates with their log-probabilities, best first.
Scored = list[tuple[Pieces, float]]


def fill_texts(
    runner: ModelRunner,
    texts: Iterable[str],
    *,
    top_k: int = 5,
    targets: Sequence[str] | None = None,
    joint: bool = False,
    whole_words: bool = False,
) -> list[FilledMasks] | list[FilledTogether]:
    """Return the best `top_k` candidates for each mask, or with `joint` the best fillings of all masks of a text.

    A mask is the tokenizer's own mask token, [MASK] or <mask>. Each mask is filled independently while the others stay
    masked; `joint` fills them so that they fit together (see `fill_jointly`). targets: choose among these words, each
    of one piece or more (see `TargetScorer`). whole_words: no subwords, no punctuation.
    A text longer than the model reads is truncated to the tokens nearest to its masks, and its result has `cut` set.
    Raises TokenizerError for a text without a mask, SettingsError for a top_k below 1, ModelError without a
    masked-token head.
    """
    if top_k < 1:
        raise SettingsError(f"top_k is {top_k}; it must be 1 or more")
    runner.need_head("fill")
    texts = check_texts(texts)
    score, room = scorer(runner, targets, whole_words)
    states = [read_slots(text, runner.tokenizer, runner.max_length, room) for text in texts]
    if joint:
        return [
            _together(text, state, score, top_k, runner.tokenizer) for text, state in zip(texts, states, strict=True)
        ]
    scored = score(states, top_k)
    return [
        _each(text, state, slots, runner.tokenizer) for text, state, slots in zip(texts, states, scored, strict=True)
    ]


def _each(text: str, state: Slots, slots: list[Scored], tokenizer: Tokenizer) -> FilledMasks:
    masks = []
    for (slot, _), candidates in zip(state.open, slots, strict=True):
        between_batches()  # a thousand candidates take as long as a batch
        mask = []
        for pieces, log_probability in candidates:
            chosen = [pieces if other == slot else None for other in range(len(state.chosen))]
            tokens = tuple(map(tokenizer.token, pieces))
            whole = written(text, tokenizer, chosen)
            mask.append(Filled(word_of(pieces, tokenizer), tokens, pieces, math.exp(log_probability), whole))
        masks.append(tuple(mask))
    return FilledMasks(text, tuple(masks), state.cut)


def _together(text: str, state: Slots, score: Scorer, top_k: int, tokenizer: Tokenizer) -> FilledTogether:
    fillings = []
    for filled, log_probability in fill_jointly(state, score, top_k):
        ids: tuple[Pieces, ...] = tuple(pieces for pieces in filled.chosen if pieces is not None)
        words = tuple(word_of(pieces, tokenizer) for pieces in ids)
        fillings.append(Together(words, ids, math.exp(log_probability), written(text, tokenizer, ids)))
    return FilledTogether(text, tuple(fillings), state.cut)


def scorer(runner: ModelRunner, targets: Sequence[str] | None, whole_words: bool) -> tuple[Scorer, int]:
    """Return the scorer of the candidates, and how many tokens a candidate may take in addition to its mask's one.

    Raises TokenizerError for a target that the vocabulary cannot encode.
    """
    module, compute, special = runner.module, runner.compute, runner.tokenizer.special
    if targets is None:
        spaced, tight = token_candidates(runner.tokenizer, whole_words)
        return TokenScorer(module, compute, special.pad, spaced, tight), 0
    if isinstance(targets, str) or not targets:
        raise TokenizerError("targets must be a list with at least one word")
    spaced_words = [pieces_of(word, runner.tokenizer, after_space=True) for word in targets]
    tight_words = [pieces_of(word, runner.tokenizer, after_space=False) for word in targets]
    longest = max(map(len, [*spaced_words, *tight_words]))
    return TargetScorer(module, compute, special.mask, special.pad, spaced_words, tight_words), longest - 1


def token_candidates(tokenizer: Tokenizer, whole_words: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ids that may follow a space, and the ids that may follow anything else; no special or unused tokens.

    With whole_words, only tokens that are a whole word: they start a word and hold a letter or a digit.
    """
    ids = np.asarray(tokenizer.ordinary_ids, dtype=np.int64)
    if not whole_words:
        return ids, ids
    wordlike = np.array([any(map(str.isalnum, tokenizer.decode([int(token)]))) for token in ids], dtype=bool)
    starts = np.asarray(tokenizer.starts_word)[ids]
    spaced = ids[starts & wordlike]
    # If a space is part of the token, a word that follows no space is written with the other tokens.
    return spaced, ids[~starts & wordlike] if space_matters(tokenizer) else spaced


def pieces_of(word: str, tokenizer: Tokenizer, after_space: bool) -> Pieces:
    """Return the pieces of a word after a space or elsewhere; an entry of the vocabulary ("##ing") stays as it is.

    Raises TokenizerError for a word that the vocabulary cannot encode.
    """
    spelled = f" {word.strip()}" if after_space and space_matters(tokenizer) else word.strip()
    pieces = tuple(int(piece) for piece in tokenizer.encode(spelled).ids)
    known = tokenizer.id(word)
    if known is not None and len(pieces) != 1:
        pieces = (known,)
    if not pieces or tokenizer.special.unk in pieces:
        raise TokenizerError(f"the target {word!r} cannot be encoded with this model's vocabulary; leave it out")
    return pieces


def space_matters(tokenizer: Tokenizer) -> bool:
    """Return whether a word has different tokens after a space than at the start, as in byte-level vocabularies."""
    return list(tokenizer.encode("a").ids) != list(tokenizer.encode(" a").ids)


def fill_jointly(state: Slots, score: Scorer, top_k: int, beam: int = BEAM) -> list[tuple[Slots, float]]:
    """Return the most probable fillings of all open slots, with their joint log-probabilities, best first.

    A masked model has no single joint distribution, but each rule for the order of filling defines one: the product of
    the probabilities of each slot given the slots filled before it. The rule here is easy-first: the next slot is the
    open slot whose best candidate is most probable, the leftmost among equals (as in the mask-predict decoding of
    Ghazvininejad et al. 2019, one slot at a time). It depends only on what is filled so far, so every filling has one
    probability and the probabilities of all fillings sum to one. A beam keeps the best partial fillings.
    """
    width = max(beam, top_k)
    kept = [(state, 0.0)]
    for _ in state.open:
        grown: list[tuple[Slots, float]] = []
        for (text, so_far), slots in zip(kept, score([text for text, _ in kept], width), strict=True):
            easiest = max(range(len(slots)), key=lambda index: slots[index][0][1])
            slot, _ = text.open[easiest]
            grown += [(text.put(slot, pieces), so_far + log) for pieces, log in slots[easiest]]
        kept = sorted(grown, key=lambda filling: -filling[1])[:width]
    return kept[:top_k]


class Scorer(Protocol):
    """A scorer of candidates for the open slots of texts."""

    def __call__(self, states: Sequence[Slots], width: int) -> list[list[Scored]]:
        """Return, for each open slot of each text, the `width` best candidates with log-probabilities, best first."""
        ...


class TokenScorer:
    """A scorer whose candidates are single tokens, with the model's probabilities over the whole vocabulary.

    spaced, tight: (candidates,) int64, ids that may follow a space, and ids that may follow anything else.
    """

    def __init__(
        self, module: MaskedLM, compute: Compute, pad: int, spaced: NDArray[np.int64], tight: NDArray[np.int64]
    ) -> None:
        self._module, self._compute, self._pad = module, compute, pad
        self._spaced, self._tight = torch.from_numpy(spaced), torch.from_numpy(tight)

    def __call__(self, states: Sequence[Slots], width: int) -> list[list[Scored]]:
        queries = [MaskQuery(row, position) for row, state in enumerate(states) for _, position in state.open]
        spaced = [state.spaced[slot] for state in states for slot, _ in state.open]
        found: list[Scored] = [[] for _ in queries]
        rows = [state.ids for state in states]
        for indices, scores in log_probabilities(self._module, self._compute, rows, queries, self._pad):
            for index, row in zip(indices, scores, strict=True):
                ids = (self._spaced if spaced[index] else self._tight).to(row.device)
                best = row[ids].topk(min(width, len(ids)))
                found[index] = [
                    ((token,), score)
                    for token, score in zip(ids[best.indices].tolist(), best.values.tolist(), strict=True)
                ]
        answers = iter(found)
        return [[next(answers) for _ in state.open] for state in states]


class TargetScorer:
    """A scorer whose candidates are given words, of one piece or more.

    A word of k pieces is scored in the text with k masks in its slot: the product over its pieces, from left to
    right, of the probability of a piece given those before it and masks for those after it (the order of Kauf and
    Ivanova 2023, PLL-word-l2r). Each product is a probability given the number of pieces, and all numbers of pieces
    are taken as equally likely; so words of different lengths are compared by the product itself, not by a mean over
    pieces, which would favour long words, whose last pieces are nearly certain.

    spaced, tight: the pieces of each word after a space, and after anything else.
    """

    def __init__(
        self, module: MaskedLM, compute: Compute, mask: int, pad: int, spaced: Sequence[Pieces], tight: Sequence[Pieces]
    ) -> None:
        self._module, self._compute, self._mask, self._pad = module, compute, mask, pad
        self._spaced, self._tight = list(dict.fromkeys(spaced)), list(dict.fromkeys(tight))

    def __call__(self, states: Sequence[Slots], width: int) -> list[list[Scored]]:
        rows = _UniqueRows()
        wanted: dict[MaskQuery, list[_Wanted]] = {}
        totals: list[NDArray[np.float64]] = []
        for state in states:
            for slot, position in state.open:
                words = self._words(state, slot)
                # Words of the same length with the same prefix share a row.
                queries: dict[tuple[int, Pieces], MaskQuery] = {}
                for word, pieces in enumerate(words):
                    for done in range(len(pieces)):
                        begun = (len(pieces), pieces[:done])
                        if begun not in queries:
                            hidden = (self._mask,) * (len(pieces) - done)
                            queries[begun] = MaskQuery(
                                rows.add(state.put(slot, (*pieces[:done], *hidden)).ids), position + done
                            )
                        wanted.setdefault(queries[begun], []).append(_Wanted(len(totals), word, pieces[done]))
                totals.append(np.zeros(len(words)))
        self._add_up(rows.rows, wanted, totals)
        answers = iter(totals)
        return [[_best(self._words(state, slot), next(answers), width) for slot, _ in state.open] for state in states]

    def _words(self, state: Slots, slot: int) -> list[Pieces]:
        return self._spaced if state.spaced[slot] else self._tight

    def _add_up(
        self, rows: list[TokenIds], wanted: dict[MaskQuery, list[_Wanted]], totals: list[NDArray[np.float64]]
    ) -> None:
        queries = list(wanted)
        for indices, scores in log_probabilities(self._module, self._compute, rows, queries, self._pad):
            for index, row in zip(indices, scores, strict=True):
                here = wanted[queries[index]]
                pieces = torch.tensor([one.piece for one in here], device=row.device)
                for one, value in zip(here, row[pieces].tolist(), strict=True):
                    totals[one.total][one.word] += value


@dataclass(frozen=True)
class _Wanted:
    """A log-probability to add to word `word` of list `total`: that of `piece`."""

    total: int
    word: int
    piece: int


class _UniqueRows:
    """Sequences to run, each stored once."""

    def __init__(self) -> None:
        self.rows: list[TokenIds] = []
        self._indices: dict[bytes, int] = {}

    def add(self, row: TokenIds) -> int:
        """Add a sequence if it is new, and return its index."""
        index = self._indices.setdefault(row.tobytes(), len(self.rows))
        if index == len(self.rows):
            self.rows.append(row)
        return index


def _best(words: list[Pieces], totals: NDArray[np.float64], width: int) -> Scored:
    order = np.argsort(-totals, kind="stable")[:width]
    return [(words[index], float(totals[index])) for index in order]
