"""Weights of an encoder that are not trained, that LoRA adapts, or that are trained more slowly than those above."""

from __future__ import annotations

import re
from typing import Final

from torch import nn

from maskling.errors import SettingsError
from maskling.finetuning.recipe import EncoderSettings, FinetuneRecipe
from maskling.model.lora import Lora, add_lora
from maskling.model.masked_lm import MaskedLM
from maskling.model.tasks.model import TaskModel

_EMBEDDINGS: Final = re.compile(r"(^|\.)(word|position|token_type|embedding_norm)\.")
_LAYER: Final = re.compile(r"(^|\.)layers\.(\d+)\.")


def depths(module: nn.Module) -> dict[str, int]:
    """Return the depth of each parameter by name: 0 for embeddings, 1 for the first layer, the number of layers + 1."""
    names = [name for name, _ in module.named_parameters()]
    layers = {name: int(found[2]) + 1 for name in names if (found := _LAYER.search(name))}
    above = max(layers.values(), default=0) + 1
    return {name: 0 if _EMBEDDINGS.search(name) else layers.get(name, above) for name in names}


def choose_trained(module: MaskedLM | TaskModel, recipe: FinetuneRecipe) -> None:
    """Freeze the weights of `module` that are not trained, and add the matrices of LoRA, in place.

    Raises SettingsError as `freeze` and `add_lora` do.
    """
    freeze(module, recipe.encoder)
    lora = lora_of(recipe)
    if lora is not None:
        add_lora(module, lora, recipe.seed)


def lora_of(recipe: FinetuneRecipe) -> Lora | None:
    """Return the adaptation that the settings ask for, None if all weights are trained."""
    lora = recipe.lora
    if lora.rank is None:
        return None
    targets = tuple(part for part in map(str.strip, (lora.targets or "").split(",")) if part)
    alpha = 2.0 * lora.rank if lora.alpha is None else lora.alpha
    return Lora(lora.rank, alpha, lora.dropout, targets or None, recipe.encoder.frozen_layers or 0)


def freeze(module: nn.Module, settings: EncoderSettings) -> None:
    """Turn off the gradients of the embeddings and of the lowest `settings.frozen_layers` layers.

    Raises SettingsError if the encoder has fewer layers.
    """
    frozen = settings.frozen_layers
    if frozen is None:
        return
    found = depths(module)
    layers = max(found.values()) - 1
    if frozen > layers:
        raise SettingsError(f"encoder.frozen_layers = {frozen}, but the encoder has {layers} layers; lower it")
    for name, parameter in module.named_parameters():
        if found[name] <= frozen:
            parameter.requires_grad_(False)


def layer_scales(module: nn.Module, settings: EncoderSettings) -> dict[str, float]:
    """Return the factor of the learning rate of each parameter, 1 above the last layer (Howard and Ruder 2018)."""
    if settings.layer_decay == 1:
        return {}
    found = depths(module)
    above = max(found.values())
    return {name: settings.layer_decay ** (above - depth) for name, depth in found.items()}
