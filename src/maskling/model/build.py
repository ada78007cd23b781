"""Build modules from a configuration, with or without initial weights."""

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
    """Build a module on the CPU in fp32 with initial weights drawn from (seed, 'weights').

    Raises ModelError if config.vocab_size is 0.
    """
    module = build_without_init(config)
    module.initialize(torch.Generator().manual_seed(integer(seed, "weights")))
    return module


def build_without_init(config: ModelConfig) -> MaskedLM:
    """Build a module on the CPU in fp32 with uninitialized weights, to load weights into.

    Raises ModelError if config.vocab_size is 0.
    """
    if not config.vocab_size:
        raise ModelError("model.vocab_size is 0 and no tokenizer has filled it in; set it, or give a tokenizer")
    with SkipInit():
        return Bert(config) if isinstance(config, BertConfig) else Modern(config)


_INIT_FUNCTIONS = (Tensor.uniform_, Tensor.normal_, nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_)


class SkipInit(TorchFunctionMode):
    """Context in which new layers skip their default initialization and leave torch's generator untouched.

    The meta device would do, but its first use imports torch._dynamo, which takes 0.7 seconds.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func in _INIT_FUNCTIONS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))
