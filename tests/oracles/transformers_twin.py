"""The model that transformers makes of a module's configuration and weights."""

from __future__ import annotations

from typing import Any

import transformers

from maskling.model.hf_config import to_hugging_face
from maskling.model.masked_lm import MaskedLM


def twin(module: MaskedLM) -> Any:
    """A transformers model of the class that config.json names, with the module's weights, in eval mode."""
    tree = to_hugging_face(module.config)
    config = transformers.AutoConfig.for_model(**tree)
    peer = getattr(transformers, tree["architectures"][0])(config).eval()
    weights = {name: tensor.clone() for name, tensor in module.to_hugging_face().items()}
    missing, unexpected = peer.load_state_dict(weights, strict=False)
    peer.tie_weights()
    assert all("decoder" in name for name in missing), missing
    assert all(name.startswith("pair_head.") for name in unexpected), unexpected
    return peer
