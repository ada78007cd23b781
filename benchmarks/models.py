"""Model sizes of the benchmarks, and their configurations for maskling and for transformers."""

from __future__ import annotations

from typing import Any

from maskling.model.config import BertConfig, ModelConfig, ModernConfig
from maskling.model.hf_config import to_hugging_face

# num_layers, hidden_size, num_heads: Turc's (2019), and for large Devlin's (2019).
SIZES = {"tiny": (2, 128, 2), "mini": (4, 256, 4), "small": (4, 512, 8), "base": (12, 768, 12), "large": (24, 1024, 16)}


def maskling_config(size: str, vocab_size: int = 0, kind: str = "bert", **more: Any) -> ModelConfig:
    """Return a configuration of that size, without dropout; `more` are further fields."""
    num_layers, width, heads = SIZES[size]
    same = {"hidden_size": width, "num_layers": num_layers, "num_heads": heads, "vocab_size": vocab_size, **more}
    if kind == "bert":
        return BertConfig(**same, intermediate_size=4 * width)
    # As ModernBERT-base has it (Warner et al. 2024, table 4); with its gate, fewer weights than BERT's 4 x.
    return ModernConfig(**same, intermediate_size=3 * width // 2)


def recipe_model(config: ModelConfig) -> dict[str, Any]:
    """Return the configuration as the model of a recipe, whose vocabulary comes from the tokenizer."""
    return config.model_dump(exclude={"vocab_size", "pad_id", "cls_id", "sep_id"})


def transformers_config(config: ModelConfig, **more: Any) -> Any:
    """Return the configuration for transformers; `more` uses its names."""
    from transformers import AutoConfig

    return AutoConfig.for_model(**{**to_hugging_face(config), **more})
