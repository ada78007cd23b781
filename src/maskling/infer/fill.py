"""What the model would put in place of each mask of a text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from maskling.errors import SettingsError, TokenizerError
from maskling.infer.forward import MaskQuery, ModelRunner, Row, log_probabilities
from maskling.infer.masks import Pieces, Slots, read_slots, word_of, written
from maskling.infer.results import Filled, FilledMasks, FilledTogether, Together
from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM
from maskling.tokenizer.tokenizer import Tokenizer

# FOLDED DOCS
# [candidates] Which words `fill` chooses among.
# [joint] All masks of a text filled together, so that the words suit each other.
# [scoring] How likely each candidate is in each open slot: any token, or words of a given list.


def fill_texts(
    reader: ModelRunner,
    texts: Sequence[str],
    *,
    top_k: int = 5,
    targets: Sequence[str] | None = None,
    joint: bool = False,
    whole_words: bool = False,
) -> list[FilledMasks] | list[FilledTogether]:
    """The best `top_k` candidates for each mask, or with `joint` the best ways to fill all masks of a text.

    A mask is the tokenizer's own mask token, [MASK] or <mask>. Several masks are filled each by itself while the
    others stay masked; `joint` fills them so that they suit each other (see `fill_jointly`). targets: choose among
    these words, of one piece or more (see `TargetScorer`). whole_words: no pieces of words, no punctuation.
    A text longer than the model sees loses what is farthest from its masks, and its answer says `cut`.
    Raises TokenizerError for a text without a mask, SettingsError for a top_k below 1, ModelError without a head.
    """
    if top_k < 1:
        raise SettingsError(f"top_k is {top_k}; ask for 1 answer or more")
    reader.need_head("fill")
    score, room = scorer(reader, targets, whole_words)
    states = [read_slots(text, reader.tokenizer, reader.max_length, room) for text in texts]
    if joint:
        return [
            _together(text, state, score, top_k, reader.tokenizer) for text, state in zip(texts, states, strict=True)
        ]
    scored = score(states, top_k)
    return [
        _each(text, state, slots, reader.tokenizer) for text, state, slots in zip(texts, states, scored, strict=True)
    ]


def _each(text: str, state: Slots, slots: list[Scored], tokenizer: Tokenizer) -> FilledMasks:
    masks = []
    for (slot, _), candidates in zip(state.open, slots, strict=True):
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


def scorer(reader: ModelRunner, targets: Sequence[str] | None, whole_words: bool) -> tuple[Scorer, int]:
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


# Fillings kept after each slot; the best whole is seldom found outside so many.
BEAM = 16


def fill_jointly(state: Slots, score: Scorer, top_k: int, beam: int = BEAM) -> list[tuple[Slots, float]]:
    """The most probable fillings of all open slots, with their joint log-probabilities, best first.

    A masked model has no one joint distribution, but each rule for what to fill next makes one: the chain of the
    probabilities of each slot given the slots filled before it. The rule here is easy-first: of the open slots the
    one whose best candidate is likeliest, the leftmost among equals (as in the mask-predict decoding of Ghazvininejad
    et al. 2019, one slot at a time). It looks only at what is filled so far, so every filling has one probability
    and, over all fillings, they sum to one. A beam keeps the best partial fillings.
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


Scored = list[tuple[Pieces, float]]


class Scorer(Protocol):
    """Scores candidates for the open slots of texts."""

    def __call__(self, states: Sequence[Slots], width: int) -> list[list[Scored]]:
        """For each text, for each of its open slots: the `width` best candidates with log-probabilities, best first."""
        ...


class TokenScorer:
    """Every token of a set is a candidate; its probability is the model's, over the whole vocabulary.

    spaced, tight: (candidates,) ids that may follow a space, and those that may follow anything else.
    """

    def __init__(
        self, module: MaskedLM, compute: Compute, pad: int, spaced: NDArray[np.int64], tight: NDArray[np.int64]
    ) -> None:
        self._module, self._compute, self._pad = module, compute, pad
        self._spaced, self._tight = torch.from_numpy(spaced), torch.from_numpy(tight)

    def __call__(self, states: Sequence[Slots], width: int) -> list[list[Scored]]:
        """See Scorer."""
        queries = [MaskQuery(row, position) for row, state in enumerate(states) for _, position in state.open]
        spaced = [state.spaced[slot] for state in states for slot, _ in state.open]
        found: list[Scored] = [[] for _ in queries]
        rows = [state.ids for state in states]
        for numbers, scores in log_probabilities(self._module, self._compute, rows, queries, self._pad):
            for number, row in zip(numbers, scores, strict=True):
                ids = (self._spaced if spaced[number] else self._tight).to(row.device)
                best = row[ids].topk(min(width, len(ids)))
                found[number] = [
                    ((token,), score)
                    for token, score in zip(ids[best.indices].tolist(), best.values.tolist(), strict=True)
                ]
        answers = iter(found)
        return [[next(answers) for _ in state.open] for state in states]


class TargetScorer:
    """The candidates are given words, of one piece or more.

    A word of k pieces is scored in the text with k masks in its slot: the product over its pieces, from left to
    right, of the probability of a piece given those before it and masks for those after it (the order of Kauf and
    Ivanova 2023, PLL-word-l2r). Each such product is a probability given the number of pieces, and all numbers are
    taken as equally likely; so words of different lengths are compared by the product itself, not by a mean over
    pieces, which would favour long words, whose last pieces are nearly certain.

    spaced, tight: the pieces of each word after a space, and after anything else.
    """

    def __init__(
        self, module: MaskedLM, compute: Compute, mask: int, pad: int, spaced: Sequence[Pieces], tight: Sequence[Pieces]
    ) -> None:
        self._module, self._compute, self._mask, self._pad = module, compute, mask, pad
        self._spaced, self._tight = list(dict.fromkeys(spaced)), list(dict.fromkeys(tight))

    def __call__(self, states: Sequence[Slots], width: int) -> list[list[Scored]]:
        """See Scorer."""
        rows = _Rows()
        wanted: dict[MaskQuery, list[_Wanted]] = {}
        totals: list[NDArray[np.float64]] = []
        for state in states:
            for slot, position in state.open:
                words = self._words(state, slot)
                # Words of one length that begin alike are asked about in the same row.
                asked: dict[tuple[int, Pieces], MaskQuery] = {}
                for word, pieces in enumerate(words):
                    for done in range(len(pieces)):
                        begun = (len(pieces), pieces[:done])
                        if begun not in asked:
                            hidden = (self._mask,) * (len(pieces) - done)
                            asked[begun] = MaskQuery(
                                rows.add(state.put(slot, (*pieces[:done], *hidden)).ids), position + done
                            )
                        wanted.setdefault(asked[begun], []).append(_Wanted(len(totals), word, pieces[done]))
                totals.append(np.zeros(len(words)))
        self._add_up(rows.rows, wanted, totals)
        answers = iter(totals)
        return [[_best(self._words(state, slot), next(answers), width) for slot, _ in state.open] for state in states]

    def _words(self, state: Slots, slot: int) -> list[Pieces]:
        return self._spaced if state.spaced[slot] else self._tight

    def _add_up(
        self, rows: list[Row], wanted: dict[MaskQuery, list[_Wanted]], totals: list[NDArray[np.float64]]
    ) -> None:
        queries = list(wanted)
        for numbers, scores in log_probabilities(self._module, self._compute, rows, queries, self._pad):
            for number, row in zip(numbers, scores, strict=True):
                here = wanted[queries[number]]
                pieces = torch.tensor([one.piece for one in here], device=row.device)
                for one, value in zip(here, row[pieces].tolist(), strict=True):
                    totals[one.total][one.word] += value


@dataclass(frozen=True)
class _Wanted:
    """The probability of `piece` belongs to word `word` of list `total`."""

    total: int
    word: int
    piece: int


class _Rows:
    """Sequences to run, each once."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._numbers: dict[bytes, int] = {}

    def add(self, row: Row) -> int:
        """The number of a sequence, which is kept if it is new."""
        number = self._numbers.setdefault(row.tobytes(), len(self.rows))
        if number == len(self.rows):
            self.rows.append(row)
        return number


def _best(words: list[Pieces], totals: NDArray[np.float64], width: int) -> Scored:
    order = np.argsort(-totals, kind="stable")[:width]
    return [(words[index], float(totals[index])) for index in order]
