"""What a fine-tuning run leaves: its best model with a card, and results.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError

from maskling.config import flatten
from maskling.errors import CheckpointError
from maskling.export.cards import TaskFacts
from maskling.files import checksum, fingerprint, write_json
from maskling.finetune.kinds.kind import Records
from maskling.finetune.recipe import FinetuneRecipe
from maskling.train.events import Evaluating, Event, FinalMetrics
from maskling.train.task import Best, Criterion, Numbers, finite_metrics

# Settings that say where things lay on one machine.
_PLACES = ("system.", "encoder.path", "data.train", "data.dev", "data.test")


class Judging(Protocol):
    """What a run is made of, as far as its results tell of it. test: None where there is none."""

    train: Records
    dev_name: str

    @property
    def dev(self) -> Records: ...
    @property
    def test(self) -> Records | None: ...


def write_model(
    run_dir: Path,
    recipe: FinetuneRecipe,
    material: Judging,
    dev: Numbers,
    test: Numbers,
    export: Callable[[Path, TaskFacts], None],
) -> Path:
    """Write `run_dir/model`, checked before it replaces what was there. Raises CheckpointError on a full disk.

    export: writes a folder whose card tells what it is given.
    """
    out, data, train = run_dir / "model", recipe.data, recipe.train
    measured = material.dev_name
    numbers = {name: value for name, value in dev.items() if value is not None}
    if test and data.test is not None:
        numbers = {f"{name}, dev": value for name, value in numbers.items()}
        numbers |= {f"{name}, test": value for name, value in test.items() if value is not None}
        measured = f"{measured} (which chose the weights) and {Path(data.test).name}"
    facts = TaskFacts(
        name=run_dir.resolve().name,
        pairs=getattr(material.train[0], "text_pair", None) is not None,
        base=recipe.encoder.path,
        fresh=recipe.encoder.fresh,
        train=(Path(data.train).name,),
        records=len(material.train),
        epochs=train.steps * train.batch_size / len(material.train),
        steps=train.steps,
        seq_length=data.max_length,
        seed=recipe.seed,
        measured_on=measured,
        measured_records=None if test else len(material.dev),
        metrics=numbers,
        recipe={path: value for path, value in flatten(recipe.model_dump()).items() if not path.startswith(_PLACES)},
    )
    try:
        export(out, facts)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{out} could not be written: {error}; what stood there before was kept; make room on the disk, and the "
            f"same command writes it"
        ) from None
    return out


def finish(
    recipe: FinetuneRecipe,
    criterion: Criterion,
    material: Judging,
    run_dir: Path,
    best: Best | None,
    tested: Callable[[], Numbers],
) -> Iterator[Event]:
    """Measure the model in `run_dir/model` on the test records, unless that was done, and tell of everything measured.

    tested: measures them, and writes the model again with what it measured in its card.

    results.json says it again: what was measured of the best weights, on which records, after which step.
    """
    step, dev = (best.step, best.numbers) if best else (recipe.train.steps, {})
    yield FinalMetrics(step, "dev", material.dev_name, len(material.dev), dev)
    path, test = recipe.data.test, material.test
    results: dict[str, Any] = {
        "step": step,
        "criterion": criterion.name,
        "dev": {"from": material.dev_name, "records": len(material.dev), **dev},
    }
    if path is not None and test is not None:
        key = [_sum(Path(path), test), checksum(run_dir / "model" / "model.safetensors")]
        numbers = _known(run_dir / "results.json", key)
        if numbers is None:
            yield Evaluating(step, Path(path).name)
            numbers = finite_metrics(tested())
            key[1] = checksum(run_dir / "model" / "model.safetensors")
        results["test"] = {"from": Path(path).name, "records": len(test), "of": key, **numbers}
        yield FinalMetrics(step, "test", Path(path).name, len(test), numbers)
    write_json(run_dir / "results.json", results)


def _sum(path: Path, records: Records) -> str:
    """What tells test records from others; what is no single file is told by what was read."""
    return checksum(path) if path.is_file() else fingerprint([str(record) for record in records])


def _known(path: Path, key: list[str]) -> Numbers | None:
    """What an earlier end of the run measured on the same test records with the same weights."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["test"]
        if found.pop("of") != key:
            return None
        return {name: value for name, value in found.items() if name not in ("from", "records")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
