"""Masking strategies: choose the tokens to predict.

To add one, write a file with a subclass of `Masking` that has a `kind` and a `select`, and add the class to `MASKINGS`.
Its fields become settings, command-line options and reference, and the contract tests cover it.
"""

from maskling.config import strategies_by_kind
from maskling.data.masking.bert2018 import Bert2018Masking
from maskling.data.masking.ngram import NgramMasking
from maskling.data.masking.span import SpanMasking
from maskling.data.masking.strategy import Masking
from maskling.data.masking.token import TokenMasking
from maskling.data.masking.word import WordMasking

MASKINGS: dict[str, type[Masking]] = strategies_by_kind(
    TokenMasking, WordMasking, SpanMasking, NgramMasking, Bert2018Masking
)
