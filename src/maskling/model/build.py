"""A configuration made into a module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from maskling.errors import ModelError
from maskling.model.bert import Bert
from maskling.model.config import BertConfig, ModelConfig
from maskling.model.masked_lm import MaskedLM
from maskling.model.modernbert import Modern
from maskling.randomness import integer


def build_masked_lm(config: ModelConfig, seed: int) -> MaskedLM:
    """A module on the CPU in fp32, its weights drawn from (seed, 'weights') as the architecture starts them.

    Raises ModelError if the vocabulary size is not filled in.
    """
    module = build_without_init(config)
    module.initialize(torch.Generator().manual_seed(integer(seed, "weights")))
    return module


def build_without_init(config: ModelConfig) -> MaskedLM:
    """A module on the CPU in fp32 for weights that come from elsewhere: its own are whatever the memory holds.

    Raises ModelError if the vocabulary size is not filled in.
    """
    if not config.vocab_size:
        raise ModelError("model.vocab_size is 0 and no tokenizer has filled it in; set it, or give a tokenizer")
    with SkipInit():
        return Bert(config) if isinstance(config, BertConfig) else Modern(config)


_DRAWS = (Tensor.uniform_, Tensor.normal_, nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_)


class SkipInit(TorchFunctionMode):
    """Within it new layers keep what their memory holds: nothing is drawn twice, torch's own generator left alone.

    The meta device would do, but its first use imports torch._dynamo: 0.7 seconds before the first answer.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))
