"""Merge a LoRA adapter of PEFT with the weights of its base model (Hu et al. 2021; DoRA: Liu et al. 2024).

An adapter file has for a linear layer the matrices lora_A, (rank, in), and lora_B, (out, rank); the merged weight is
W + scale * B A. Every other tensor of the file, such as the layers of a head, replaces the one of the base model.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from maskling.adapters import ADAPTER_CONFIG, read_adapter_config
from maskling.errors import ModelError

# Settings of an adapter_config.json that are used here, or that do not change what a trained adapter computes.
_UNDERSTOOD: Final = {
    *("peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "r", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out"),
    *("bias", "use_rslora", "modules_to_save", "init_lora_weights", "layers_to_transform", "layers_pattern"),
    *("rank_pattern", "alpha_pattern", "megatron_core", "eva_config", "use_dora", "qalora_group_size", "lora_bias"),
    *("runtime_config", "ensure_weight_tying", "inject_adapter_in_model"),
}
# Initializations that leave the weights of the base model as they are.
_INITIALIZATIONS: Final = (None, True, False, "gaussian", "orthogonal", "eva")
_CLASSES: Final = {
    "SEQ_CLS": "ForSequenceClassification",
    "TOKEN_CLS": "ForTokenClassification",
    "QUESTION_ANS": "ForQuestionAnswering",
    "FEATURE_EXTRACTION": "Model",
}
_FAMILIES: Final = {
    "bert": "Bert",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
    "camembert": "Camembert",
    "modernbert": "ModernBert",
}
_LORA: Final = re.compile(r"(.+)\.(lora_[A-Za-z_]+?)(\.weight|\.bias)?")
_HEADS: Final = ("classifier", "classifier.out_proj", "qa_outputs")
_EMBEDDINGS: Final = ("embeddings.word_embeddings", "embeddings.tok_embeddings")


def check_adapter(folder: Path) -> dict[str, Any]:
    """Return the configuration of an adapter. Raises ModelError if it is not LoRA, or uses what is not supported."""
    config = read_adapter_config(folder)
    where = folder / ADAPTER_CONFIG
    if config.get("peft_type") != "LORA":
        raise ModelError(f"{where}: peft_type = {config.get('peft_type')!r} is not supported, only LORA")
    odd = next((name for name, value in config.items() if name not in _UNDERSTOOD and value), None)
    if config.get("init_lora_weights") not in _INITIALIZATIONS:
        odd = "init_lora_weights"
    if odd is not None:
        raise ModelError(
            f"{where}: {odd} = {config[odd]!r:.60} is not supported; merge the adapter with peft (merge_and_unload), "
            f"and give the merged model"
        )
    alpha = config.get("lora_alpha")
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not math.isfinite(alpha):
        raise ModelError(f"{where}: lora_alpha = {alpha!r:.40} is not a number; restore it")
    pattern = config.get("alpha_pattern") or {}
    if not isinstance(pattern, dict) or not all(type(value) in (int, float) for value in pattern.values()):
        raise ModelError(f"{where}: alpha_pattern does not map names to numbers; restore it")
    return config


def merge_adapter(folder: Path, base: Mapping[str, Tensor], adapter: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the base model with an adapter merged, in fp32 where it changes them.

    folder: of the adapter. base, adapter: tensors by the names in their files. Raises ModelError if the two do not
    belong together, or the adapter is of a kind that is not supported.
    """
    config = check_adapter(folder)
    merged, names = dict(base), {_bare(name): name for name in base}
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in adapter.items():
        found = _LORA.fullmatch(name)
        module = _in_model(found[1] if found else name)
        if "trainable_tokens" in name:
            raise ModelError(f"{folder}: {name} is not supported; merge the adapter with peft (merge_and_unload)")
        if found:
            parts[module][found[2] + (".bias" if found[3] == ".bias" else "")] = tensor
        else:
            merged[names.setdefault(_bare(module), module)] = tensor
    for module, some in parts.items():
        if (name := names.get(_bare(f"{module}.weight"), "")) == "":
            raise ModelError(f"{folder} adapts {module}, which its base model does not have; give the right base")
        try:
            merged[name] = _merged(merged[name].float(), some, _scale(config, module, some))
            bias = some.pop("lora_B.bias", None)
            if bias is not None:
                other = names[_bare(f"{module}.bias")]
                merged[other] = merged[other].float() + _scale(config, module, some) * bias.float()
        except (RuntimeError, KeyError, ValueError, ZeroDivisionError, IndexError):
            raise ModelError(
                f"{folder}: the adapter of {module} does not fit its base model ({_shapes(some)} for {name}, "
                f"{tuple(merged[name].shape)}), or is incomplete; give the right base"
            ) from None
    return merged


def adapted_config(
    folder: Path, base: Mapping[str, Any], own: Mapping[str, Any] | None, adapter: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Return the config.json of the merged model.

    base: of the base model. own: the one in the folder of the adapter, if any; PEFT writes none. adapter: its tensors.
    The class follows from task_type; labels without names are LABEL_0, LABEL_1 and so on, as in transformers.
    """
    config = check_adapter(folder)
    hf_config = dict(base if own is None else own)
    shapes = {_bare(_in_model(name)): tensor.shape for name, tensor in adapter.items()}
    rows: int | None = next((shapes[f"{name}.weight"][0] for name in _EMBEDDINGS if f"{name}.weight" in shapes), None)
    if rows is not None:
        hf_config["vocab_size"] = rows
    if own is not None:
        return hf_config
    family = _FAMILIES.get(str(base.get("model_type")))
    ending = _CLASSES.get(str(config.get("task_type")))
    mapping = config.get("auto_mapping")
    named = mapping.get("base_model_class") if isinstance(mapping, dict) else None
    if family and ending:
        hf_config["architectures"] = [family + ending]
    elif isinstance(named, str):
        hf_config["architectures"] = [named]
    outputs = next((shapes[f"{name}.weight"][0] for name in _HEADS if f"{name}.weight" in shapes), None)
    if outputs is not None and len(hf_config.get("id2label") or ()) != outputs:
        for key in ("id2label", "label2id", "problem_type", "num_labels"):
            hf_config.pop(key, None)
    named = (hf_config.get("architectures") or [""])[0]
    if str(named).endswith(("ForMaskedLM", "ForPreTraining")) and any("lora_embedding" in name for name in adapter):
        raise ModelError(
            f"{folder} adapts the embeddings, which the masked-token head shares; merge it with peft (merge_and_unload)"
        )
    return hf_config


def _in_model(name: str) -> str:
    """Return the name of a tensor or module in the model, for its name in an adapter file."""
    name = name.removeprefix("base_model.").removeprefix("model.") if name.startswith("base_model.model.") else name
    return name.replace(".base_layer.", ".").replace(".modules_to_save.", ".")


def _bare(name: str) -> str:
    """Return a name without the part for the encoder, which a model without a head does not have."""
    for prefix in ("module.", "bert.", "roberta.", "model."):
        name = name.removeprefix(prefix)
    return name.replace(".gamma", ".weight").replace(".beta", ".bias")


def _scale(config: Mapping[str, Any], module: str, parts: Mapping[str, Tensor]) -> float:
    """Return the factor of B A: alpha / rank, or alpha / sqrt(rank) (Kalajdzievski 2023)."""
    rank = (parts["lora_embedding_A"] if "lora_embedding_A" in parts else parts["lora_A"]).shape[0]
    alpha = config["lora_alpha"]
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if module == pattern or module.endswith(f".{pattern}") or _matches(pattern, module):
            alpha = value
            break
    return float(alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)


def _matches(pattern: str, module: str) -> bool:
    try:
        return len(pattern) < 200 and re.match(rf"(.*\.)?({pattern})$", module) is not None
    except re.error:
        return False


def _merged(weight: Tensor, parts: Mapping[str, Tensor], scale: float) -> Tensor:
    if "lora_embedding_A" in parts:
        return _same_shape(weight, scale * (parts["lora_embedding_B"].float() @ parts["lora_embedding_A"].float()).T)
    merged = _same_shape(weight, scale * (parts["lora_B"].float() @ parts["lora_A"].float()))
    magnitude = parts.get("lora_magnitude_vector")
    if magnitude is None:
        return merged
    scaled: Tensor = merged * (magnitude.float().flatten() / torch.linalg.vector_norm(merged, dim=1))[:, None]
    return scaled


def _same_shape(weight: Tensor, change: Tensor) -> Tensor:
    if change.shape != weight.shape:
        raise ValueError("of another shape")
    return weight + change


def _shapes(parts: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in sorted(parts.items()))
