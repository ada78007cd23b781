"""An encoder alone, as it is trained to give vectors."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from maskling.errors import ModelError
from maskling.model.attention import Visible
from maskling.model.building import build, undrawn
from maskling.model.claimed import check_claim
from maskling.model.config import ModelConfig
from maskling.model.folder import read_config, read_weights
from maskling.model.hugging_face import from_hugging_face
from maskling.model.masked_lm import MaskedLM
from maskling.model.tasks.config import Pooling
from maskling.model.tasks.model import means


def encoder_config(folder: Path) -> ModelConfig:
    """The shape of the encoder in any model folder. Raises ModelError if it is none that is supported."""
    return from_hugging_face(read_config(folder), str(folder))


def is_encoder(folder: Path) -> bool:
    """Whether a model folder is meant to be an encoder alone: it has no masked-token head and names no class with one.

    Raises ModelError as `build_encoder` does.
    """
    tree = read_config(folder)
    named = tree.get("architectures")
    if isinstance(named, list) and named and not str(named[0]).endswith("Model"):
        return False
    config, weights = from_hugging_face(tree, str(folder)), read_weights(folder)
    check_claim(config, weights, folder)
    module = undrawn(config)
    names = [module.canonical(name) or "" for name in weights]
    return not any(name.startswith(module.token_head_prefixes) for name in names)


def build_encoder(folder: Path, seed: int, *, fresh: bool = False, dropout: float | None = None) -> MaskedLM:
    """The encoder of any model folder, on the CPU in fp32, without heads: nothing of them would be learnt.

    fresh: take only the shape, and draw the weights from (seed, 'weights'). dropout: attention's included; None is
    what the folder says. Raises ModelError if the folder is no supported model, is damaged, or lacks a weight.
    """
    config, weights = encoder_config(folder), read_weights(folder)
    check_claim(config, weights, folder)
    if dropout is not None:
        config = config.model_copy(update={"dropout": dropout, "attention_dropout": dropout})
    if fresh:
        module = build(config, seed)
        module.shed_heads()
        return module
    module = undrawn(config)
    module.shed_heads()
    try:
        missing = module.load_hugging_face(weights).missing
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from None
    if missing:
        raise ModelError(f"{folder} lacks the weight {missing[0]}; its files are incomplete or of another architecture")
    return module


def pooled(hidden: Tensor, first_positions: Tensor, visible: Visible, pooling: Pooling) -> Tensor:
    """A vector for each sequence of packed rows: the mean over its tokens, or its [CLS].

    hidden: (rows, seq, hidden); first_positions: (k,) int64, flat places of the [CLS] of each, ascending; visible: of
    the same rows. Returns (k, hidden).
    """
    if pooling == "mean":
        return means(hidden, first_positions, visible)
    return hidden.flatten(0, 1).index_select(0, first_positions)
