"""All masks of a text filled together, so that the words suit each other."""

from __future__ import annotations

from maskling.infer.scoring import Scorer
from maskling.infer.slots import Slots

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
