"""Configurations as transformers writes them into config.json, in both directions. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from maskling.errors import ModelError
from maskling.model.config import Activation, BertConfig, ModelConfig, ModernConfig

Tree = Mapping[str, Any]

_ACTIVATIONS: Final[dict[str, Activation]] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    # The same tanh formula, written out in three ways.
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


def from_hugging_face(tree: Tree, where: str, *, pair_head: bool = False) -> ModelConfig:
    """The configuration that a config.json describes.

    where: the folder, for messages; pair_head: config.json does not say it, the weights do.
    Raises ModelError for whatever would make this code calculate something else than transformers does.
    """
    kind = tree.get("model_type")
    if kind is None and "type_vocab_size" in tree:
        # Files from before 2020 name no type; only BERT and its kin have token types.
        kind = "bert"
    try:
        if kind in _MASKED_LM:
            return _bert(tree, str(kind), where, pair_head)
        if kind == "modernbert":
            return _modern(tree, where, pair_head)
    except KeyError as error:
        raise ModelError(f"{where}/config.json lacks {error}; it is not a whole model configuration") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        raise ModelError(f"{where}/config.json: {f'{field}: ' if field else ''}{text}") from None
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        # A word or a list where a number belongs. Each place would need a check of its own to say which.
        raise ModelError(f"{where}/config.json has a value of the wrong kind ({error}); restore it") from None
    raise ModelError(
        f"{where}/config.json has model_type {kind!r}; supported are {', '.join(_MASKED_LM)} and modernbert: "
        f"export the model as one of them, or start from another folder"
    )


def to_hugging_face(config: ModelConfig) -> dict[str, Any]:
    """What to write into config.json, for transformers 4.48 and later."""
    special = {
        "pad_token_id": config.pad_id,
        # Left out, these would become the ids of ModernBERT's own tokenizer.
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
        # BERT's own files name no start and end; RoBERTa's do.
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
        "embedding_dropout": config.dropout,
        "mlp_dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "local_attention": config.local_window,
        # transformers 4 reads the first three, 5 the two after them (and the first three when those are not there).
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


def _bert(tree: Tree, family: str, where: str, pair_head: bool) -> BertConfig:
    _refuse(tree, where, {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False})
    _refuse(tree, where, {"tie_word_embeddings": True, "pruned_heads": {}})
    pad = tree.get("pad_token_id", 0 if family == "bert" else 1) or 0
    offset = 0 if family == "bert" else pad + 1
    return BertConfig.model_validate(
        {
            **_sizes(tree, pad),
            "activation": _activation(tree.get("hidden_act", "gelu"), where),
            "dropout": tree.get("hidden_dropout_prob", 0.1),
            "attention_dropout": tree.get("attention_probs_dropout_prob", 0.1),
            "max_positions": tree.get("max_position_embeddings", 512) - offset,
            "type_vocab_size": tree.get("type_vocab_size", 2),
            "norm_eps": tree.get("layer_norm_eps", 1e-12),
            "family": family,
            "position_offset": offset,
            "pair_head": pair_head,
        }
    )


def _modern(tree: Tree, where: str, pair_head: bool) -> ModernConfig:
    no_biases = {f"{part}_bias": False for part in ("norm", "attention", "mlp", "classifier")}
    _refuse(tree, where, {**no_biases, "decoder_bias": True, "tie_word_embeddings": True})
    activation = _activation(tree.get("hidden_activation", "gelu"), where)
    if _activation(tree.get("classifier_activation", "gelu"), where) != activation:
        raise ModelError(f"{where}/config.json: classifier_activation differs from hidden_activation; not supported")
    num_layers = tree["num_hidden_layers"]
    return ModernConfig.model_validate(
        {
            **_sizes(tree, tree.get("pad_token_id") or 0),
            "activation": activation,
            "dropout": tree.get("mlp_dropout", 0.0),
            "attention_dropout": tree.get("attention_dropout", 0.0),
            "max_positions": tree.get("max_position_embeddings", 8192),
            "norm_eps": tree.get("norm_eps", 1e-5),
            "global_every": _global_every(tree, num_layers, where),
            "local_window": tree.get("local_attention", 128),
            "global_rope_theta": _theta(tree, "full_attention", "global_rope_theta", 160_000.0, where),
            "local_rope_theta": _theta(tree, "sliding_attention", "local_rope_theta", 10_000.0, where),
            "pair_head": pair_head,
        }
    )


def _sizes(tree: Tree, pad: int) -> dict[str, Any]:
    return {
        "vocab_size": tree["vocab_size"],
        "hidden_size": tree["hidden_size"],
        "num_layers": tree["num_hidden_layers"],
        "num_heads": tree["num_attention_heads"],
        "intermediate_size": tree["intermediate_size"],
        "initializer_range": tree.get("initializer_range", 0.02),
        "pad_id": pad,
        "cls_id": tree.get("cls_token_id", tree.get("bos_token_id")),
        "sep_id": tree.get("sep_token_id", tree.get("eos_token_id")),
    }


def _refuse(tree: Tree, where: str, supported: Mapping[str, Any]) -> None:
    for key, value in supported.items():
        found = tree.get(key)
        if found is not None and found != value:
            raise ModelError(f"{where}/config.json: {key} = {found!r} is not supported, only {value!r}")


def _activation(name: str, where: str) -> Activation:
    if name not in _ACTIVATIONS:
        raise ModelError(
            f"{where}/config.json: the activation {name!r} is not supported, only {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]


def _global_every(tree: Tree, num_layers: int, where: str) -> int:
    said = int(tree.get("global_attn_every_n_layers") or 3)
    kinds = tree.get("layer_types")
    if kinds is None:
        return said
    if len(kinds) != num_layers:
        raise ModelError(f"{where}/config.json: layer_types names {len(kinds)} layers, num_hidden_layers {num_layers}")
    for every in (said, *range(1, num_layers + 1)):
        if kinds == ["sliding_attention" if layer % every else "full_attention" for layer in range(num_layers)]:
            return int(every)
    raise ModelError(f"{where}/config.json: layer_types does not repeat with the first of every n layers global")


def _theta(tree: Tree, kind: str, old: str, default: float, where: str) -> float:
    rope = (tree.get("rope_parameters") or {}).get(kind) or {}
    if tree.get("rope_scaling") or rope.get("rope_type", "default") != "default":
        raise ModelError(f"{where}/config.json: scaled rotary positions are not supported, only rope_type 'default'")
    found = rope.get("rope_theta", tree.get(old))
    return float(default if found is None else found)
