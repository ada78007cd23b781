"""The models that the benchmarks compare: a table of sizes, and one size as maskling and as transformers calls it."""

from __future__ import annotations

from typing import Any

from maskling.model.config import BertConfig, ModelConfig, ModernConfig
from maskling.model.hf_config import to_hugging_face

# num_layers, hidden_size, num_heads: Turc's (2019), and for large Devlin's (2019).
SIZES = {"tiny": (2, 128, 2), "mini": (4, 256, 4), "small": (4, 512, 8), "base": (12, 768, 12), "large": (24, 1024, 16)}


def maskling_config(size: str, vocab_size: int = 0, kind: str = "bert", **more: Any) -> ModelConfig:
    """A model of that size, without dropout; `more` are further fields."""
    num_layers, width, heads = SIZES[size]
    same = {"hidden_size": width, "num_layers": num_layers, "num_heads": heads, "vocab_size": vocab_size, **more}
    if kind == "bert":
        return BertConfig(**same, intermediate_size=4 * width)
    # As ModernBERT-base has it (Warner et al. 2024, table 4); with its gate, fewer weights than BERT's 4 x.
    return ModernConfig(**same, intermediate_size=3 * width // 2)


def recipe_model(config: ModelConfig) -> dict[str, Any]:
    """The same as the model of a recipe, which takes its vocabulary from the tokenizer."""
    return config.model_dump(exclude={"vocab_size", "pad_id", "cls_id", "sep_id"})


def transformers_config(config: ModelConfig, **more: Any) -> Any:
    """The same for transformers; `more` is said in its words."""
    from transformers import AutoConfig

    return AutoConfig.for_model(**{**to_hugging_face(config), **more})
