"""What the model would put in place of each mask of a text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from maskling.errors import SettingsError
from maskling.infer.answers import Filled, FilledMasks, FilledTogether, Together
from maskling.infer.candidates import scorer
from maskling.infer.joint import fill_jointly
from maskling.infer.reader import Reader
from maskling.infer.scoring import Scored, Scorer
from maskling.infer.slots import Pieces, Slots, read_slots, word_of, written
from maskling.tokenizer.tokenizer import Tokenizer


def fill_texts(
    reader: Reader,
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
