"""How segments are made of spans."""

from maskling.config import table
from maskling.data.pairing.bert2018 import Bert2018Pairing
from maskling.data.pairing.nsp import NspPairing
from maskling.data.pairing.single import SinglePairing
from maskling.data.pairing.sop import SopPairing
from maskling.data.pairing.strategy import Pairing

PAIRINGS: dict[str, type[Pairing]] = table(SinglePairing, NspPairing, SopPairing, Bert2018Pairing)
