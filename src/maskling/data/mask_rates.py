"""Measurement of the mask rate: the fraction of tokens that a masking really chooses, on a sample of examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from maskling.data.examples import Examples, MaskRate
from maskling.data.masking.corruption import Corruption, MaskingVocabulary
from maskling.data.masking.ngram import NgramMasking
from maskling.data.masking.span import SpanMasking
from maskling.data.masking.strategy import Masking
from maskling.data.masking.token import TokenMasking
from maskling.data.masking.word import WordMasking
from maskling.data.packing import NoPacking
from maskling.data.pairing.single import SinglePairing
from maskling.data.shards import Shards
from maskling.errors import DataError
from maskling.tokenizer.tokenizer import Tokenizer

SAMPLE_TOKENS = 1 << 16
SEQ_LENGTH = 128
MOST_OFF = 0.01
_MEASURED: tuple[Masking, ...] = (TokenMasking(), WordMasking(), SpanMasking(), NgramMasking())


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
        """The line of `warning`, if the rate of a kind is not met."""
        line = warning(self.of_kind)
        return [line] if line else []


def measure(shards: Shards, tokenizer: Tokenizer) -> MaskRates | None:
    """Measure the rates on examples from the first shard of the train split; None if it is too short for an example."""
    vocabulary = MaskingVocabulary.of(tokenizer)
    try:
        examples = Examples(
            shards.first_shard("train"),
            vocabulary,
            SinglePairing(),
            TokenMasking(),
            Corruption(),
            NoPacking(),
            SEQ_LENGTH,
            seed=0,
        )
    except DataError:
        return None
    return MaskRates(
        {str(each.kind): examples.with_masking(each).mask_rate(SAMPLE_TOKENS, each.rate) for each in _MEASURED}
    )


def warning(rates: Mapping[str, MaskRate]) -> str | None:
    """Return a line if a rate is not met within a point, else None. rates: by the kind of masking."""
    off = {kind: rate for kind, rate in rates.items() if abs(rate.met - rate.asked) > MOST_OFF}
    if not off:
        return None
    first = next(iter(off.values()))
    why = (
        f"examples have {first.tokens_per_example:.1f} tokens on average, and at least one is masked in each; "
        f"longer documents would meet it"
        if first.met > first.asked and first.tokens_per_example * first.asked < 2
        else f"words have {first.tokens_per_word:.1f} tokens on average, examples {first.tokens_per_example:.1f}"
    )
    met = ", ".join(f"{kind} {rate.met:.1%}" for kind, rate in off.items())
    return f"the mask rate is not the {first.asked:.1%} asked for, but {met}: {why}"
