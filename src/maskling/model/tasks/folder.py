"""Load and write model folders of task models as transformers does, and build task models from encoder folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from maskling.errors import ModelError
from maskling.files import write_json
from maskling.model.build import build_without_init
from maskling.model.config import ModelConfig
from maskling.model.folder import SAFETENSORS, check_parameter_count, read_config, read_weights, write_safetensors
from maskling.model.hf_config import from_hugging_face, to_hugging_face
from maskling.model.tasks.config import (
    AnswerSettings,
    HeadConfig,
    HeadKind,
    Pooling,
    has_no_task_head,
    head_from_hugging_face,
    head_to_hugging_face,
)
from maskling.model.tasks.model import TaskModel, head_generator, new_task_model


class BuiltTaskModel(NamedTuple):
    """A task model to fine-tune, and the transformers names of weights that the folder lacked and that were drawn."""

    model: TaskModel
    drawn: tuple[str, ...]


class _HeadDefaults(NamedTuple):
    """Head settings in a folder's config.json; see HeadConfig."""

    dropout: float | None
    pooling: Pooling


def read_task_folder(folder: Path, *, mmap: bool = True) -> TaskModel | None:
    """Load a BERT, RoBERTa or ModernBERT with a task head, upcast to fp32; return None if the folder has no such head.

    mmap: memory-map weights that are fp32 in the file (see `HFWeights.load_hugging_face`).
    Raises ModelError if the folder is not a supported model, is damaged, or lacks a weight.
    """
    hf_config = read_config(folder)
    if has_no_task_head(hf_config):
        return None
    weights = read_weights(folder)
    head_config = head_from_hugging_face(
        hf_config, {name: tensor.shape for name, tensor in weights.items()}, str(folder)
    )
    if head_config is None:
        return None
    config = from_hugging_face(hf_config, str(folder))
    check_parameter_count(config, weights, folder)
    model = TaskModel(build_without_init(config), head_config)
    _need(_load(model, weights, folder, reuse_tensors=mmap), folder)
    return model


def build_task_model(
    folder: Path,
    kind: HeadKind,
    labels: tuple[str, ...],
    seed: int,
    *,
    fresh: bool = False,
    dropout: float | None = None,
    head_dropout: float | None = None,
    pooling: Pooling | None = None,
    answer_settings: AnswerSettings | None = None,
) -> BuiltTaskModel:
    """Build a task model with the encoder of any model folder: an export, a Hugging Face folder, a task model.

    Weights of the head are loaded where they fit: BERT's pooler, ModernBERT's prediction head, and the last layer if it
    is for the same task and the same labels. The rest is drawn from (seed, 'head').
    fresh: take only the configuration, and draw every weight, to measure what pretraining is worth. dropout: of the
    encoder in training, attention weights included. head_dropout, pooling, answer_settings: see HeadConfig; default:
    the folder's for the first two. If the folder has no pooling, the default is the mean: a masked language model
    has not learned to represent a text by its [CLS].
    Raises ModelError as `read_task_folder` does.
    """
    hf_config, weights = read_config(folder), read_weights(folder)
    config = from_hugging_face(hf_config, str(folder))
    check_parameter_count(config, weights, folder)
    if dropout is not None:
        config = config.model_copy(update={"dropout": dropout, "attention_dropout": dropout})
    old_head = head_from_hugging_face(hf_config, {name: tensor.shape for name, tensor in weights.items()}, str(folder))
    defaults = _head_defaults(hf_config, old_head)
    head_dropout = defaults.dropout if head_dropout is None else head_dropout
    head_config = HeadConfig(
        kind, labels, head_dropout, pooling or defaults.pooling, answer_settings or AnswerSettings()
    )
    if fresh:
        model = new_task_model(config, head_config, seed)
        return BuiltTaskModel(model, tuple(model.to_hugging_face()))
    model = TaskModel(build_without_init(config), head_config)
    model.initialize(head_generator(seed))
    if old_head is None or not _same_outputs(old_head, head_config):
        last = {theirs for ours, theirs in model.head.hf_names().items() if ours.startswith("classifier.")}
        weights = {name: tensor for name, tensor in weights.items() if model.canonical_name(name) not in last}
    drawn = _load(model, weights, folder)
    own = set(model.head.hf_names().values())
    _need([name for name in drawn if name not in own], folder)
    return BuiltTaskModel(model, tuple(drawn))


def write_task_weights(model: TaskModel, folder: Path) -> None:
    """Write config.json and model.safetensors as transformers reads them, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.to_hugging_face().items()}
    write_safetensors(weights, folder / SAFETENSORS)
    write_json(folder / "config.json", task_config_json(model.config, model.head_config))


def task_config_json(config: ModelConfig, head_config: HeadConfig) -> dict[str, Any]:
    """Return the config.json of a task model."""
    return to_hugging_face(config) | head_to_hugging_face(head_config, config)


def _head_defaults(hf_config: Mapping[str, Any], had: HeadConfig | None) -> _HeadDefaults:
    """Return the head settings of a config.json, with or without a task head."""
    if had is not None:
        return _HeadDefaults(had.dropout, had.pooling)
    dropout = hf_config.get("classifier_dropout")
    return _HeadDefaults(
        None if dropout is None else float(dropout), "cls" if hf_config.get("classifier_pooling") == "cls" else "mean"
    )


def _same_outputs(one: HeadConfig, other: HeadConfig) -> bool:
    if one.kind in ("regress", "answer"):  # whatever their outputs are called
        return one.kind == other.kind
    return (one.kind, one.labels) == (other.kind, other.labels)


def _load(model: TaskModel, weights: Mapping[str, Tensor], folder: Path, reuse_tensors: bool = False) -> list[str]:
    """Load weights into the model. Returns the names of parameters that `weights` lacks."""
    try:
        return list(model.load_hugging_face(weights, reuse_tensors=reuse_tensors).missing)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from None


def _need(missing: list[str], folder: Path) -> None:
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(
            f"{folder} lacks the weight {missing[0]}{more}; its files are incomplete or of another architecture"
        )
