"""Convert between transformers' config.json and our configurations, in both directions. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from maskling.errors import ModelError
from maskling.model.config import Activation, BertConfig, ModelConfig, ModernConfig

JSONDict = Mapping[str, Any]
"""A JSON object that is only read, such as a config.json."""

NOT_QUANTIZED: Final = (
    "is not supported; give the model that they were quantized from, or save it with plain weights: "
    "model.dequantize().save_pretrained(FOLDER) in transformers"
)
"""The end of a message about quantized weights."""

_ACTIVATIONS: Final[dict[str, Activation]] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    # Three names of the same tanh formula.
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
_WRITTEN: Final[dict[Activation, str]] = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}
_MASKED_LM: Final = {
    "bert": "BertForMaskedLM",
    "roberta": "RobertaForMaskedLM",
    "xlm-roberta": "XLMRobertaForMaskedLM",
    "camembert": "CamembertForMaskedLM",
}


def from_hugging_face(hf_config: JSONDict, where: str, *, pair_head: bool = False) -> ModelConfig:
    """Return the configuration that a config.json describes.

    where: the folder, for messages. pair_head: whether the weights include one; config.json does not record it.
    Raises ModelError for anything with which this code would compute other results than transformers.
    """
    _refuse_quantized(hf_config, where)
    kind = hf_config.get("model_type")
    if kind is None and "type_vocab_size" in hf_config:
        # Files from before 2020 name no type; only the BERT family has token types.
        kind = "bert"
    try:
        if kind in _MASKED_LM:
            return _bert(hf_config, str(kind), where, pair_head)
        if kind == "modernbert":
            return _modern(hf_config, where, pair_head)
    except KeyError as error:
        raise ModelError(f"{where}/config.json lacks {error}; restore the complete model configuration") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        raise ModelError(f"{where}/config.json: {f'{field}: ' if field else ''}{text}") from None
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        # A string or a list instead of a number. Naming the key would need a check of its own for each.
        raise ModelError(f"{where}/config.json has a value of the wrong type ({error}); restore it") from None
    raise ModelError(
        f"{where}/config.json has model_type {kind!r}, but only {', '.join(_MASKED_LM)} and modernbert are supported; "
        f"export the model as one of them, or start from another folder"
    )


def _refuse_quantized(hf_config: JSONDict, where: str) -> None:
    """Raise ModelError if the weights are quantized: without their scales they would be read as other numbers."""
    for key in ("quantization_config", "compression_config"):
        found = hf_config.get(key)
        if found is not None:
            named = found.get("quant_method") if isinstance(found, Mapping) else None
            method = f" ({named})" if isinstance(named, str) else ""
            raise ModelError(
                f"{where}/config.json has a {key}{method}: its weights are quantized, which {NOT_QUANTIZED}"
            )


def to_hugging_face(config: ModelConfig) -> dict[str, Any]:
    """Return the contents of config.json, for transformers 4.48 and later."""
    special = {
        "pad_token_id": config.pad_id,
        # Without these, transformers would assume the ids of ModernBERT's own tokenizer.
        **dict.fromkeys(("cls_token_id", "bos_token_id"), config.cls_id),
        **dict.fromkeys(("sep_token_id", "eos_token_id"), config.sep_id),
    }
    sizes = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.intermediate_size,
        "initializer_range": config.initializer_range,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
    }
    if isinstance(config, BertConfig):
        # BERT's own files have no ids of [CLS] and [SEP]; RoBERTa's do.
        special = special if config.family != "bert" else {"pad_token_id": config.pad_id}
        return {
            "architectures": ["BertForPreTraining" if config.pair_head else _MASKED_LM[config.family]],
            "model_type": config.family,
            **sizes,
            "hidden_act": _WRITTEN[config.activation],
            "hidden_dropout_prob": config.dropout,
            "attention_probs_dropout_prob": config.attention_dropout,
            "max_position_embeddings": config.max_positions + config.position_offset,
            "type_vocab_size": config.type_vocab_size,
            "layer_norm_eps": config.norm_eps,
            "position_embedding_type": "absolute",
            "classifier_dropout": None,
            "is_decoder": False,
            "add_cross_attention": False,
            "use_cache": True,
            **special,
        }
    kinds = ["full_attention" if config.is_global(i) else "sliding_attention" for i in range(config.num_layers)]
    return {
        "architectures": ["ModernBertForMaskedLM"],
        "model_type": "modernbert",
        **sizes,
        "hidden_activation": _WRITTEN[config.activation],
        "classifier_activation": _WRITTEN[config.activation],
        "max_position_embeddings": config.max_positions,
        "norm_eps": config.norm_eps,
        **{f"{part}_bias": False for part in ("norm", "attention", "mlp", "classifier")},
        "decoder_bias": True,
        # What follows is what transformers writes, too; text-embeddings-inference requires the first.
        "initializer_cutoff_factor": 2.0,
        "classifier_pooling": "mean",
        "classifier_dropout": 0.0,
        "deterministic_flash_attn": False,
        "sparse_prediction": False,
        "sparse_pred_ignore_index": -100,
        "embedding_dropout": config.dropout,
        "mlp_dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "local_attention": config.local_window,
        # transformers 4 reads the first three, version 5 the two after them (the first three if those are missing).
        "global_attn_every_n_layers": config.global_every,
        "global_rope_theta": config.global_rope_theta,
        "local_rope_theta": config.local_rope_theta,
        "layer_types": kinds,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": config.global_rope_theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": config.local_rope_theta},
        },
        **special,
    }


def _bert(hf_config: JSONDict, family: str, where: str, pair_head: bool) -> BertConfig:
    _refuse(
        hf_config, where, {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}
    )
    _refuse(hf_config, where, {"tie_word_embeddings": True, "pruned_heads": {}})
    pad = hf_config.get("pad_token_id", 0 if family == "bert" else 1) or 0
    offset = 0 if family == "bert" else pad + 1
    return BertConfig.model_validate(
        {
            **_sizes(hf_config, pad),
            "activation": _activation(hf_config.get("hidden_act", "gelu"), where),
            "dropout": hf_config.get("hidden_dropout_prob", 0.1),
            "attention_dropout": hf_config.get("attention_probs_dropout_prob", 0.1),
            "max_positions": hf_config.get("max_position_embeddings", 512) - offset,
            "type_vocab_size": hf_config.get("type_vocab_size", 2),
            "norm_eps": hf_config.get("layer_norm_eps", 1e-12),
            "family": family,
            "position_offset": offset,
            "pair_head": pair_head,
        }
    )


def _modern(hf_config: JSONDict, where: str, pair_head: bool) -> ModernConfig:
    no_biases = {f"{part}_bias": False for part in ("norm", "attention", "mlp", "classifier")}
    _refuse(hf_config, where, {**no_biases, "decoder_bias": True, "tie_word_embeddings": True})
    activation = _activation(hf_config.get("hidden_activation", "gelu"), where)
    if _activation(hf_config.get("classifier_activation", "gelu"), where) != activation:
        raise ModelError(
            f"{where}/config.json: a classifier_activation that differs from hidden_activation is not "
            f"supported; use a model where both are the same"
        )
    num_layers = hf_config["num_hidden_layers"]
    return ModernConfig.model_validate(
        {
            **_sizes(hf_config, hf_config.get("pad_token_id") or 0),
            "activation": activation,
            "dropout": hf_config.get("mlp_dropout", 0.0),
            "attention_dropout": hf_config.get("attention_dropout", 0.0),
            "max_positions": hf_config.get("max_position_embeddings", 8192),
            "norm_eps": hf_config.get("norm_eps", 1e-5),
            "global_every": _global_every(hf_config, num_layers, where),
            "local_window": hf_config.get("local_attention", 128),
            "global_rope_theta": _theta(hf_config, "full_attention", "global_rope_theta", 160_000.0, where),
            "local_rope_theta": _theta(hf_config, "sliding_attention", "local_rope_theta", 10_000.0, where),
            "pair_head": pair_head,
        }
    )


def _sizes(hf_config: JSONDict, pad: int) -> dict[str, Any]:
    return {
        "vocab_size": hf_config["vocab_size"],
        "hidden_size": hf_config["hidden_size"],
        "num_layers": hf_config["num_hidden_layers"],
        "num_heads": hf_config["num_attention_heads"],
        "intermediate_size": hf_config["intermediate_size"],
        "initializer_range": hf_config.get("initializer_range", 0.02),
        "pad_id": pad,
        "cls_id": hf_config.get("cls_token_id", hf_config.get("bos_token_id")),
        "sep_id": hf_config.get("sep_token_id", hf_config.get("eos_token_id")),
    }


def _refuse(hf_config: JSONDict, where: str, supported: Mapping[str, Any]) -> None:
    for key, value in supported.items():
        found = hf_config.get(key)
        if found is not None and found != value:
            raise ModelError(f"{where}/config.json: {key} = {found!r} is not supported, only {value!r}")


def _activation(name: str, where: str) -> Activation:
    if name not in _ACTIVATIONS:
        raise ModelError(
            f"{where}/config.json: the activation {name!r} is not supported, only {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]


def _global_every(hf_config: JSONDict, num_layers: int, where: str) -> int:
    declared = int(hf_config.get("global_attn_every_n_layers") or 3)
    kinds = hf_config.get("layer_types")
    if kinds is None:
        return declared
    if len(kinds) != num_layers:
        raise ModelError(
            f"{where}/config.json: layer_types has {len(kinds)} layers, but num_hidden_layers is {num_layers}; "
            f"restore it"
        )
    for every in (declared, *range(1, num_layers + 1)):
        if kinds == ["sliding_attention" if layer % every else "full_attention" for layer in range(num_layers)]:
            return int(every)
    raise ModelError(
        f"{where}/config.json: layer_types is not supported; only a full_attention layer followed by the same number "
        f"of sliding_attention layers, repeated, is"
    )


def _theta(hf_config: JSONDict, kind: str, old: str, default: float, where: str) -> float:
    rope = (hf_config.get("rope_parameters") or {}).get(kind) or {}
    if hf_config.get("rope_scaling") or rope.get("rope_type", "default") != "default":
        raise ModelError(f"{where}/config.json: scaled rotary positions are not supported, only rope_type 'default'")
    found = rope.get("rope_theta", hf_config.get(old))
    return float(default if found is None else found)
