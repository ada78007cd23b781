"""The outputs of a fine-tuning run: its best model with a model card, and results.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from maskling.config import flatten
from maskling.errors import CheckpointError
from maskling.exporting.adapter import export_adapter
from maskling.exporting.cards import TaskFacts
from maskling.files import checksum, fingerprint, read_json, write_json
from maskling.finetuning.kinds.kind import Records
from maskling.finetuning.layers import lora_of
from maskling.finetuning.recipe import FinetuneRecipe
from maskling.finetuning.records_data import RecordsData
from maskling.model.masked_lm import MaskedLM
from maskling.model.tasks.config import Pooling
from maskling.model.tasks.model import TaskModel
from maskling.train.events import Details, Evaluating, Event, FinalMetrics, Metrics, finite_metrics
from maskling.train.task import Best, Criterion

# The key of results.json for scores per label.
_DETAILS = "details"
_AFTER_FULL_DISK = "an earlier model there was kept; make room on the disk, and run the same command again"
# Settings that hold paths, or properties of one machine.
_LOCAL_SETTINGS = ("system.", "encoder.path", "data.train", "data.dev", "data.test")


def write_best_model(
    run_dir: Path,
    recipe: FinetuneRecipe,
    data: RecordsData,
    dev: Metrics,
    test: Metrics,
    export: Callable[[Path, TaskFacts], None],
) -> Path:
    """Write `run_dir/model`, verified before it replaces an earlier one. Raises CheckpointError on a full disk.

    dev, test: metrics for the model card. export: writes a folder with a card of the given facts.
    """
    out, files, train = run_dir / "model", recipe.data, recipe.train
    measured_on = data.dev_name
    metrics = {name: value for name, value in dev.items() if value is not None}
    if test and data.test is not None:
        metrics = {f"{name}, dev": value for name, value in metrics.items()}
        metrics |= {f"{name}, test": value for name, value in test.items() if value is not None}
        measured_on = f"{measured_on} (which selected the weights) and {data.test_name}"
    settings = flatten(recipe.model_dump())
    facts = TaskFacts(
        name=run_dir.resolve().name,
        pairs=getattr(data.train[0], "text_pair", None) is not None,
        base=recipe.encoder.path,
        fresh=recipe.encoder.fresh,
        train=(Path(files.train).name,),
        records=len(data.train),
        epochs=train.steps * train.batch_size / len(data.train),
        steps=train.steps,
        seq_length=files.max_length,
        seed=recipe.seed,
        measured_on=measured_on,
        measured_records=None if test else len(data.dev),
        metrics=metrics,
        recipe={path: value for path, value in settings.items() if not path.startswith(_LOCAL_SETTINGS)},
    )
    try:
        export(out, facts)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{out} could not be written: {error}; {_AFTER_FULL_DISK}") from None
    return out


def write_adapter(
    run_dir: Path, recipe: FinetuneRecipe, data: RecordsData, module: MaskedLM | TaskModel, pooling: Pooling = "mean"
) -> None:
    """Write `run_dir/adapter` if the run trains with LoRA. Raises CheckpointError on a full disk."""
    lora, out, longest = lora_of(recipe), run_dir / "adapter", recipe.data.max_length
    if lora is None:
        return
    assert longest is not None
    try:
        export_adapter(module, lora, data.folder, data.tokens, out, longest, pooling)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{out} could not be written: {error}; {_AFTER_FULL_DISK}") from None


def report_results(
    recipe: FinetuneRecipe,
    criterion: Criterion,
    data: RecordsData,
    run_dir: Path,
    best: Best | None,
    measure_test: Callable[[], tuple[Metrics, Details]],
    measure_dev: Callable[[], Details] = dict,
) -> Iterator[Event]:
    """Yield the metrics of the model in `run_dir/model`, and write them to results.json.

    The test records are measured once per model: if results.json has their metrics, these are yielded.
    measure_test: measures the test records, and writes the model again with those metrics in its card. measure_dev:
    measures what the evaluations of the run did not keep of the dev records.
    """
    step, dev = (best.step, best.numbers) if best else (recipe.train.steps, {})
    path, test = recipe.data.test, data.test
    results: dict[str, Any] = {
        "step": step,
        "criterion": criterion.name,
        "dev": {"from": data.dev_name, "records": len(data.dev), **dev},
    }
    details = _details_before(run_dir / "results.json", results)
    if details is None:
        details = measure_dev()
    results["dev"] |= {_DETAILS: details} if details else {}
    yield FinalMetrics(step, "dev", data.dev_name, len(data.dev), dev, details)
    if test is not None:
        weights = run_dir / "model" / "model.safetensors"
        key = [_records_checksum(path, test), checksum(weights)]
        before = _measured_before(run_dir / "results.json", key)
        if before is None:
            yield Evaluating(step, data.test_name)
            metrics, details = measure_test()
            before = finite_metrics(metrics), details
            key[1] = checksum(weights)
        metrics, details = before
        results["test"] = {"from": data.test_name, "records": len(test), "of": key, **metrics}
        results["test"] |= {_DETAILS: details} if details else {}
        yield FinalMetrics(step, "test", data.test_name, len(test), metrics, details)
    write_json(run_dir / "results.json", results)


def _records_checksum(path: str | None, records: Records) -> str:
    """Return the checksum of a file, or a fingerprint of the records of a fold or of several files."""
    if path is not None and Path(path).is_file():
        return checksum(Path(path))
    return fingerprint([str(record) for record in records])


def _details_before(path: Path, results: dict[str, Any]) -> Details | None:
    """Return the details of the dev records in results.json, if they are of the same evaluation."""
    try:
        found = read_json(path)
        details = found["dev"].pop(_DETAILS)
        same = all(json.loads(json.dumps(value)) == found[name] for name, value in results.items())
        return details if same and isinstance(details, dict) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _measured_before(path: Path, key: list[str]) -> tuple[Metrics, Details] | None:
    """Return the metrics of results.json, if they are of the same test records and the same weights."""
    try:
        found = read_json(path)["test"]
        if found.pop("of") != key:
            return None
        details = found.pop(_DETAILS, {})
        return {name: value for name, value in found.items() if name not in ("from", "records")}, details
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
