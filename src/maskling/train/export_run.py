"""Write model folders: `model/` of a run, a checkpoint of a run, or an existing model folder in today's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from maskling.config import flatten
from maskling.data.shards import Shards, open_shards
from maskling.errors import CheckpointError, DataError, MasklingError, ModelError, SettingsError
from maskling.exporting.cards import CardFacts, HeldOut, TaskFacts, read_card
from maskling.exporting.folder import check_export_folder, export_model, export_sentence_encoder, export_task_model
from maskling.model.build import build_masked_lm
from maskling.model.config import ModelConfig
from maskling.model.folder import build_encoder, check_vocabulary, is_encoder, read_folder, read_weights
from maskling.model.folder import read_config as read_model_config
from maskling.model.masked_lm import MaskedLM
from maskling.model.sentence_transformers import max_sequence_length, normalizes, read_pooling, trained_max_length
from maskling.model.tasks.folder import read_task_folder
from maskling.model.tasks.model import TaskModel
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train import checkpoint
from maskling.train.prepared_data import PreparedData
from maskling.train.recipe import Recipe, is_finetuning, read_run_recipe
from maskling.train.task import Best


def write_model(run_dir: Path, module: MaskedLM, prepared: PreparedData, recipe: Recipe, best: Best | None) -> Path:
    """Write and verify `run_dir/model` (model.safetensors, config.json, tokenizer, card), then replace the one before.

    best: the evaluation of these weights; None if there is no text to evaluate on.
    Raises CheckpointError if the disk is full.
    """
    shards, metrics = prepared.shards, held_out_metrics(best, prepared.unigram_entropy)
    facts = run_facts(run_dir, recipe, shards, shards.manifest.fingerprint, steps=recipe.train.steps, metrics=metrics)
    try:
        export_model(module, prepared.tokenizer, run_dir / "model", facts)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{run_dir / 'model'} could not be written: {error}; the model folder before it was kept; make room on "
            f"the disk, and run the same command again"
        ) from None
    return run_dir / "model"


def run_facts(
    run_dir: Path, recipe: Recipe, shards: Shards | None, data: str, *, steps: int, metrics: HeldOut | None
) -> CardFacts:
    """Return the facts on the model card of a run after `steps` steps.

    shards: the training data, None if it is gone; data: its fingerprint. metrics: see `held_out_metrics`.
    """
    train, made_from = (shards.split("train"), shards.manifest.made_from) if shards else (None, None)
    return CardFacts(
        name=run_dir.resolve().name,
        preset=recipe.preset,
        steps=steps,
        batch_size=recipe.train.batch_size,
        seq_length=recipe.data.seq_length,
        documents=train.num_documents if train else None,
        tokens=train.num_tokens if train else None,
        sources=tuple(source.name for source in made_from.sources.listed) if made_from else (),
        data_fingerprint=data,
        started_from=recipe.init,
        recipe={path: value for path, value in flatten(recipe.model_dump()).items() if not path.startswith("system.")},
        held_out=metrics,
    )


def held_out_metrics(best: Best | None, unigram_entropy: float | None) -> HeldOut | None:
    """Return the held-out metrics for a card. Raises CheckpointError if the evaluation in a checkpoint lacks one."""
    if best is None:
        return None
    names = ("mlm_loss", "top1", "top5", "predictions", "pair_accuracy", "pairs")
    try:
        metrics: dict[str, Any] = {name: best.numbers[name] for name in names}
    except KeyError as error:
        raise CheckpointError(f"the evaluation of step {best.step:,} in its checkpoint lacks {error}") from None
    return HeldOut(unigram_entropy=unigram_entropy, step=best.step, loss_before=best.before, **metrics)


def export_folder(source: Path, out: Path) -> tuple[str, ...]:
    """Write the model in `source`, of any BERT family and age, to `out` in today's layout.

    model.safetensors, config.json, tokenizer files, what SentenceTransformer needs, and a card: the existing one,
    which belongs to its author, or a new one. The kind of model stays: a masked language model, an encoder alone, or a
    fine-tuned model with its labels. Returns the names of weights that the architecture does not have, left out.
    Raises ModelError if `source` is not a complete model, if `out` holds anything but a model, or if the written
    folder does not read back the same.
    """
    check_export_folder(source, out)
    task = read_task_folder(source)
    if task is not None:
        return _export_task(task, source, out)
    if is_encoder(source):
        return _export_encoder(source, out)
    module, tokenizer, unexpected = whole_model(source)
    facts = CardFacts(name=source.resolve().name, seq_length=trained_max_length(source), converted_from=str(source))
    export_model(module, tokenizer, out, facts, read_card(source), read_pooling(source), normalizes(source))
    return unexpected


def whole_model(source: Path) -> tuple[MaskedLM, Tokenizer, tuple[str, ...]]:
    """Return model and tokenizer of a folder, and the names of weights that a masked language model does not have.

    Raises ModelError if `source` is not a complete masked language model, or its tokenizer is another model's.
    """
    module, unexpected = read_masked_lm(source)
    return module, _fitting_tokenizer(source, module.config), unexpected


def read_masked_lm(source: Path) -> tuple[MaskedLM, tuple[str, ...]]:
    """Return the model of a folder, and the names of weights that a masked language model does not have.

    Raises ModelError if `source` is not a complete masked language model.
    """
    _, module, missing, unexpected = read_folder(source)
    if missing:
        if read_task_folder(source) is not None or is_encoder(source):
            named = read_model_config(source).get("architectures")
            what = str(named[0]) if isinstance(named, list) and named else "a fine-tuned model, or an encoder"
            raise ModelError(
                f"{source} holds {what}, which has no masked-token head; give the masked language model that it was "
                f"made from, and fine-tune the result"
            )
        raise ModelError(
            f"{source} lacks {missing[0]}: it is an encoder without its masked-token head, or incomplete; use the "
            f"folder of the masked language model that it was made from"
        )
    return module, unexpected


def export_checkpoint(run_dir: Path, step: int, out: Path) -> None:
    """Write the weights of the checkpoint of `step` to `out`.

    Raises CheckpointError if there is no such checkpoint or it is not whole, SettingsError for a fine-tuning run;
    otherwise as `export_folder`.
    """
    if is_finetuning(run_dir):
        raise SettingsError(
            f"{run_dir} is a run of 'maskling finetune', of which only the best weights are exported; leave out --step"
        )
    path = checkpoint.checkpoint_path(run_dir, step)
    check_export_folder(path, out)
    if not path.is_dir():
        kept = sorted(found.name for found in (run_dir / "checkpoints").glob("step-*") if found.name[5:].isdigit())
        there = f"there are {', '.join(kept)}" if kept else "it has none"
        raise CheckpointError(f"{run_dir} has no checkpoint of step {step:,}; {there}")
    found, recipe = checkpoint.read_checkpoint(path), read_run_recipe(run_dir)
    module = build_masked_lm(recipe.model, recipe.seed)
    found.load(module, optimizer_state=False)
    shards = _shards(recipe, found.state.data)
    facts = run_facts(
        run_dir, recipe, shards, found.state.data, steps=found.state.step, metrics=_metrics_at(found.state, shards)
    )
    export_model(module, _tokenizer(run_dir, recipe, found.state.tokenizer), out, facts)


def _export_task(model: TaskModel, source: Path, out: Path) -> tuple[str, ...]:
    tokenizer = _fitting_tokenizer(source, model.config)
    longest = max_sequence_length(source, model.config, tokenizer)
    facts = TaskFacts(name=source.resolve().name, converted_from=str(source), seq_length=longest)
    export_task_model(model, tokenizer, out, facts, card=read_card(source))
    return model.unexpected(read_weights(source))


def _export_encoder(source: Path, out: Path) -> tuple[str, ...]:
    module = build_encoder(source, seed=0)
    tokenizer = _fitting_tokenizer(source, module.config)
    longest = max_sequence_length(source, module.config, tokenizer)
    facts = TaskFacts(name=source.resolve().name, converted_from=str(source), seq_length=longest)
    export_sentence_encoder(
        module,
        module.config,
        tokenizer,
        out,
        facts,
        read_pooling(source),
        form=None,
        normalized=normalizes(source),
        card=read_card(source),
    )
    return module.unexpected(read_weights(source))


def _fitting_tokenizer(source: Path, config: ModelConfig) -> Tokenizer:
    tokenizer = Tokenizer.load(source)
    check_vocabulary(config, tokenizer.vocab_size, source)
    return tokenizer


def _shards(recipe: Recipe, fingerprint: str) -> Shards | None:
    """Return the training data of the run, None if it is gone."""
    try:
        shards = open_shards(Path(recipe.data.path))
    except DataError:
        return None
    return shards if shards.manifest.fingerprint == fingerprint else None


def _tokenizer(run_dir: Path, recipe: Recipe, fingerprint: str) -> Tokenizer:
    """Return the run's tokenizer, from its model folder or from its training data."""
    folders = [run_dir / "model", Path(recipe.data.path) / "tokenizer"]
    for folder in folders:
        try:
            tokenizer = Tokenizer.load(folder)
        except MasklingError:
            continue
        if tokenizer.fingerprint == fingerprint:
            return tokenizer
    raise CheckpointError(
        f"the tokenizer of {run_dir}, {fingerprint}, is neither in {folders[0]} nor in {folders[1]}; "
        f"restore one of them"
    )


def _metrics_at(state: checkpoint.State, shards: Shards | None) -> HeldOut | None:
    """Return the metrics of a checkpoint's weights, if they are the best so far."""
    if state.best is None or state.best.step != state.step:
        return None
    return held_out_metrics(state.best, shards.manifest.unigram_entropy if shards else None)
