"""Whether a configuration can be that of the weights beside it, asked before memory is taken, and of the tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from maskling.errors import ModelError
from maskling.model.config import BertConfig, ModelConfig

# Beyond this, what is missing is a lie rather than a weight that was forgotten, which has an error of its own.
_MOST_MISSING = 1 << 20


def check_claim(config: ModelConfig, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Raise ModelError if `config` asks for more than twice the numbers that the weights of `folder` hold.

    A folder from a stranger may claim a thousand million layers beside a file of a kilobyte.
    """
    width, held = config.hidden_size, sum(tensor.numel() for tensor in weights.values())
    claimed = config.vocab_size * width + config.num_layers * config.layer_parameters
    if isinstance(config, BertConfig):
        claimed += (config.max_positions + config.position_offset + config.type_vocab_size) * width
    if claimed > 2 * held + _MOST_MISSING:
        raise ModelError(
            f"{folder}/config.json describes a model of {claimed:,} numbers, but its weights hold {held:,}; "
            f"the two files do not belong together"
        )


def check_vocabulary(config: ModelConfig, vocab_size: int, folder: Path) -> None:
    """Raise ModelError if the tokenizer of `folder`, of `vocab_size` tokens, has tokens that its model does not."""
    if vocab_size > config.vocab_size:
        raise ModelError(
            f"{folder}: its tokenizer has {vocab_size:,} tokens and its model only {config.vocab_size:,}; "
            f"the two do not belong together"
        )
