"""Measurement of the mask rate: the fraction of tokens that a masking really chooses, on a sample of examples."""

from __future__ import annotations

from dataclasses import dataclass

from maskling.data.examples import Examples, MaskRate
from maskling.data.masking.corruption import Corruption, MaskingVocabulary
from maskling.data.masking.span import SpanMasking
from maskling.data.masking.token import TokenMasking
from maskling.data.masking.word import WordMasking
from maskling.data.packing import NoPacking
from maskling.data.pairing.single import SinglePairing
from maskling.data.shards import Shards
from maskling.errors import DataError
from maskling.tokenizer.tokenizer import Tokenizer

SAMPLE = 512  # examples
SEQ_LENGTH = 128
MOST_OFF = 0.01
_MEASURED = (TokenMasking(), WordMasking(), SpanMasking())


@dataclass(frozen=True)
class MaskRates:
    """The rates that maskings meet on prepared text. of_kind: by the kind of masking, at its default rate."""

    of_kind: dict[str, MaskRate]

    @property
    def tokens_per_word(self) -> float:
        """Mean tokens per word."""
        return next(iter(self.of_kind.values())).tokens_per_word

    @property
    def line(self) -> str:
        """The measurement in one line."""
        rates = ", ".join(f"{kind} {100 * rate.met:.1f}%" for kind, rate in self.of_kind.items())
        asked = next(iter(self.of_kind.values())).asked
        return f"{rates} of the tokens at the default rate of {asked:.0%}; {self.tokens_per_word:.2f} tokens per word"

    @property
    def warnings(self) -> list[str]:
        """Lines for the kinds whose rate is not met."""
        return [line for kind, rate in self.of_kind.items() if (line := warning(kind, rate))]


def measure(shards: Shards, tokenizer: Tokenizer) -> MaskRates | None:
    """Measure the rates on examples from the first shard of the train split; None if it is too short for an example."""
    vocabulary = MaskingVocabulary.of(tokenizer)
    split = shards.first_shard("train")
    found = {}
    for masking in _MEASURED:
        try:
            examples = Examples(
                split, vocabulary, SinglePairing(), masking, Corruption(), NoPacking(), SEQ_LENGTH, seed=0
            )
        except DataError:
            return None
        found[masking.kind] = examples.mask_rate(SAMPLE, masking.rate)
    return MaskRates(found)


def warning(kind: str, rate: MaskRate) -> str | None:
    """Return a line if the rate is not met within a point, else None."""
    if abs(rate.met - rate.asked) <= MOST_OFF:
        return None
    why = (
        f"examples have {rate.tokens_per_example:.1f} tokens on average, and at least one is masked in each"
        if rate.met > rate.asked and rate.tokens_per_example * rate.asked < 2
        else f"words have {rate.tokens_per_word:.1f} tokens on average"
    )
    return f"{kind} masking chooses {rate.met:.1%} of the tokens, not {rate.asked:.1%}: {why}"
