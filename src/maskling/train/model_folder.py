"""`model/` of a run: its best weights so far, for every other tool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from maskling.config import flatten
from maskling.errors import CheckpointError
from maskling.export.card import CardFacts, HeldOut
from maskling.export.folder import export_model
from maskling.model.masked_lm import MaskedLM
from maskling.train.material import Material
from maskling.train.recipe import Recipe


def write_model(
    run_dir: Path, module: MaskedLM, material: Material, recipe: Recipe, best: dict[str, Any] | None
) -> Path:
    """Write `run_dir/model`, checked before it replaces what was there.

    best: the evaluation of these weights, as a checkpoint keeps it; None if there is no text to evaluate on.
    Raises CheckpointError if the disk does not take it.
    """
    manifest, train = material.shards.manifest, material.shards.split("train")
    facts = CardFacts(
        name=run_dir.resolve().name,
        preset=recipe.preset,
        steps=recipe.train.steps,
        batch_size=recipe.train.batch_size,
        seq_length=recipe.data.seq_length,
        documents=train.num_documents,
        tokens=train.num_tokens,
        sources=tuple(source.name for source in manifest.made_from.sources.listed) if manifest.made_from else (),
        data_fingerprint=manifest.fingerprint,
        started_from=recipe.init,
        recipe={path: value for path, value in flatten(recipe.model_dump()).items() if not path.startswith("system.")},
        held_out=_held_out(best, material.unigram_entropy),
    )
    try:
        export_model(module, material.tokenizer, run_dir / "model", facts)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{run_dir / 'model'} could not be written: {error}; what stood there before was kept; make room on the "
            f"disk, and the same command writes it"
        ) from None
    return run_dir / "model"


def _held_out(best: dict[str, Any] | None, unigram_entropy: float) -> HeldOut | None:
    if best is None:
        return None
    names = ("mlm_loss", "top1", "top5", "predictions", "pair_accuracy", "pairs", "step")
    return HeldOut(unigram_entropy=unigram_entropy, **{name: best[name] for name in names})
