"""Write the trained part of a model with LoRA as an adapter that PEFT loads: adapter_config.json and its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from torch import Tensor

from maskling.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from maskling.errors import ModelError
from maskling.exporting.cards import environment
from maskling.exporting.folder import (
    check_tokenizer,
    clear_partial,
    encoder_config_json,
    encoder_probe_states,
    save_tokenizer,
    write_pooling,
)
from maskling.exporting.verify import check_same_logits, finite_logits, probe_task_logits
from maskling.files import atomic_folder, write_json
from maskling.model.folder import build_encoder, write_safetensors
from maskling.model.lora import Lora, adapted_targets, lora_layers, merged_lora
from maskling.model.masked_lm import MaskedLM
from maskling.model.tasks.config import HeadKind, Pooling
from maskling.model.tasks.folder import read_task_folder, task_config_json
from maskling.model.tasks.model import TaskModel
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.version import __version__

# The prefix of every name in an adapter file.
_PREFIX: Final = "base_model.model."
_TASK_TYPES: Final[dict[HeadKind, str]] = {
    "classify": "SEQ_CLS",
    "multi-label": "SEQ_CLS",
    "regress": "SEQ_CLS",
    "tag": "TOKEN_CLS",
    "answer": "QUESTION_ANS",
}
_AUTO_CLASSES: Final = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "FEATURE_EXTRACTION": "AutoModel",
}


def export_adapter(
    module: MaskedLM | TaskModel,
    lora: Lora,
    base: Path,
    tokenizer: Tokenizer,
    out: Path,
    max_length: int,
    pooling: Pooling = "mean",
) -> None:
    """Write adapter_config.json, adapter_model.safetensors, config.json, the tokenizer's files and README.md.

    module: with adapted layers. base: folder of the weights that it began with. pooling: of an encoder without a head.
    The folder replaces `out` as a whole, and only after it was read back: merged with `base`, its logits on a fixed
    batch must equal those of `module`. Raises ModelError otherwise; `out` is then unchanged.
    """
    clear_partial(out)
    task = module.head_config if isinstance(module, TaskModel) else None
    task_type = "FEATURE_EXTRACTION" if task is None else _TASK_TYPES[task.kind]
    head = {} if not isinstance(module, TaskModel) else _head_weights(module)
    weights = {f"{_PREFIX}{_name(name, module)}": tensor for name, tensor in _matrices(module).items()}
    weights |= {f"{_PREFIX}{name}": tensor for name, tensor in head.items()}
    rank, alpha = lora.rank, int(lora.alpha) if float(lora.alpha).is_integer() else lora.alpha
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": task_type,
        "base_model_name_or_path": str(base.resolve()),
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": lora.dropout,
        "target_modules": [_name(name, module) for name in adapted_targets(module, lora)],
        "modules_to_save": sorted({_saved_module(name) for name in head}) or None,
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "init_lora_weights": True,
        "inference_mode": True,
    }
    with atomic_folder(out) as aside:
        write_safetensors({name: tensor.cpu().contiguous() for name, tensor in weights.items()}, aside / _WEIGHTS)
        write_json(aside / ADAPTER_CONFIG, config)
        if isinstance(module, TaskModel):
            write_json(aside / "config.json", task_config_json(module.config, module.head_config))
        else:
            write_json(aside / "config.json", encoder_config_json(module.config))
            write_pooling(aside, module.config.hidden_size, max_length, pooling)
        save_tokenizer(tokenizer, module.config, aside, max_length)
        card = (
            environment()
            .get_template("adapter_card.md.jinja")
            .render(
                name=out.resolve().parent.name,
                base=str(base),
                lora=lora,
                trained=sum(tensor.numel() for tensor in weights.values()),
                auto_class=_AUTO_CLASSES[task_type],
                labels=len(task.labels) if task and task_type != "QUESTION_ANS" else None,
                version=__version__,
            )
        )
        (aside / "README.md").write_text(card, encoding="utf-8")
        _check(module, tokenizer, aside, out)


_WEIGHTS: Final = ADAPTER_WEIGHTS[0]


def _matrices(module: MaskedLM | TaskModel) -> dict[str, Tensor]:
    return {name: tensor for layer in lora_layers(module).values() for name, tensor in layer.matrices().items()}


def _head_weights(module: TaskModel) -> dict[str, Tensor]:
    state = module.head.state_dict()
    return {theirs: state[ours].detach() for ours, theirs in module.head.hf_names().items()}


def _name(name: str, module: MaskedLM | TaskModel) -> str:
    """Return the name of a layer in the class of transformers: an encoder alone has no prefix."""
    if isinstance(module, TaskModel):
        return name
    for prefix in ("bert.", "roberta.", "model."):
        name = name.removeprefix(prefix)
    return name


def _saved_module(name: str) -> str:
    """Return the entry of modules_to_save for a weight of the head: 'bert.pooler.dense.weight' is in 'pooler'."""
    return name.removeprefix("bert.").partition(".")[0]


def _check(module: MaskedLM | TaskModel, tokenizer: Tokenizer, aside: Path, out: Path) -> None:
    device = next(module.parameters()).device
    with merged_lora(module):
        if isinstance(module, TaskModel):
            expected, found = finite_logits(probe_task_logits(module), str(out)), read_task_folder(aside)
            if found is None:
                raise ModelError(f"{out} was not written: read back, it had no head; this is a bug in maskling")
            check_same_logits(expected, probe_task_logits(found.to(device)), str(out))
        else:
            expected = finite_logits(encoder_probe_states(module), str(out))
            check_same_logits(expected, encoder_probe_states(build_encoder(aside, seed=0).to(device)), str(out))
    check_tokenizer(tokenizer, aside, out)
