"""A configuration made into a module."""

from __future__ import annotations

import torch

from maskling.errors import ModelError
from maskling.model.architectures.bert import Bert
from maskling.model.architectures.modern import Modern
from maskling.model.config import BertConfig, ModelConfig
from maskling.model.masked_lm import MaskedLM
from maskling.randomness import integer


def build(config: ModelConfig, seed: int) -> MaskedLM:
    """A module on the CPU in fp32, its weights drawn from (seed, 'weights') as the architecture starts them.

    Raises ModelError if the vocabulary size is not filled in.
    """
    if not config.vocab_size:
        raise ModelError("model.vocab_size is 0 and no tokenizer has filled it in; set it, or give a tokenizer")
    # Nothing is drawn twice, and torch's own generator is left alone: no memory until the weights are known.
    with torch.device("meta"):
        module: MaskedLM = Bert(config) if isinstance(config, BertConfig) else Modern(config)
    module.to_empty(device="cpu")
    module.initialize(torch.Generator().manual_seed(integer(seed, "weights")))
    return module
