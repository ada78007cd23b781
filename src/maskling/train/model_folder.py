"""`model/` of a run: its best weights so far, for every other tool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from maskling.config import flatten
from maskling.data.shards import Shards
from maskling.errors import CheckpointError
from maskling.export.card import CardFacts, HeldOut
from maskling.export.folder import export_model
from maskling.model.masked_lm import MaskedLM
from maskling.train.prepared import Prepared
from maskling.train.recipe import Recipe
from maskling.train.task import Best


def write_model(run_dir: Path, module: MaskedLM, prepared: Prepared, recipe: Recipe, best: Best | None) -> Path:
    """Write `run_dir/model`, checked before it replaces what was there.

    best: the evaluation of these weights; None if there is no text to evaluate on.
    Raises CheckpointError if the disk does not take it.
    """
    shards, numbers = prepared.shards, held_out(best, prepared.unigram_entropy)
    facts = run_facts(run_dir, recipe, shards, shards.manifest.fingerprint, steps=recipe.train.steps, numbers=numbers)
    try:
        export_model(module, prepared.tokenizer, run_dir / "model", facts)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{run_dir / 'model'} could not be written: {error}; what stood there before was kept; make room on the "
            f"disk, and the same command writes it"
        ) from None
    return run_dir / "model"


def run_facts(
    run_dir: Path, recipe: Recipe, shards: Shards | None, data: str, *, steps: int, numbers: HeldOut | None
) -> CardFacts:
    """What a card says of a run after `steps` steps.

    shards: what it was trained on, None where that is gone; data: the fingerprint of it. numbers: see `held_out`.
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
        held_out=numbers,
    )


def held_out(best: Best | None, unigram_entropy: float | None) -> HeldOut | None:
    """What was measured, as a card shows it. Raises CheckpointError if a checkpoint says that something is missing."""
    if best is None:
        return None
    names = ("mlm_loss", "top1", "top5", "predictions", "pair_accuracy", "pairs")
    try:
        numbers: dict[str, Any] = {name: best.numbers[name] for name in names}
    except KeyError as error:
        raise CheckpointError(f"the evaluation of step {best.step:,} in its checkpoint lacks {error}") from None
    return HeldOut(unigram_entropy=unigram_entropy, step=best.step, loss_before=best.before, **numbers)
