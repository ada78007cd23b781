"""Pairing strategies: make the segments A and B of an example, with or without a sentence objective (NSP, SOP).

To add one, write a file with a subclass of `Pairing` that has a `kind`, a `plan` and `segments`, and add the class to
`PAIRINGS`.
"""

from maskling.config import strategies_by_kind
from maskling.data.pairing.bert2018 import Bert2018Pairing
from maskling.data.pairing.nsp import NspPairing
from maskling.data.pairing.single import SinglePairing
from maskling.data.pairing.sop import SopPairing
from maskling.data.pairing.strategy import Pairing

PAIRINGS: dict[str, type[Pairing]] = strategies_by_kind(SinglePairing, NspPairing, SopPairing, Bert2018Pairing)
