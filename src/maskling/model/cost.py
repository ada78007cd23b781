"""What a model costs: floating-point operations of training, to compare with what the machine could do."""

from __future__ import annotations

from maskling.model.config import BertConfig, ModelConfig


def flops_per_token(config: ModelConfig, seq: int, mask_rate: float = 0.15) -> float:
    """Operations of one forward and backward pass, for each token of rows of `seq` tokens.

    Two for each multiply-add forward, four backward. Counts the matrix products of attention over a whole row (a
    window where the layer has one), of the feed-forward part, and of the head on `mask_rate` of the tokens.
    """
    width = config.hidden_size
    seen = [
        seq if isinstance(config, BertConfig) or config.is_global(layer) else min(seq, config.local_window + 1)
        for layer in range(config.num_layers)
    ]
    head = mask_rate * (width**2 + width * config.vocab_size)
    return 6.0 * (config.num_layers * config.layer_parameters + 2 * width * sum(seen) + head)
