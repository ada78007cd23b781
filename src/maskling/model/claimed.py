"""Whether a configuration can be that of some weights: asked before memory is taken for what it claims."""

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
    is_bert = isinstance(config, BertConfig)
    layer = 4 * width * width + (2 if is_bert else 3) * width * config.intermediate_size
    claimed = config.vocab_size * width + config.num_layers * layer
    if isinstance(config, BertConfig):
        claimed += (config.max_positions + config.position_offset + config.type_vocab_size) * width
    if claimed > 2 * held + _MOST_MISSING:
        raise ModelError(
            f"{folder}/config.json describes a model of {claimed:,} numbers, but its weights hold {held:,}; "
            f"the two files do not belong together"
        )
