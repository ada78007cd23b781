"""The public functions of `maskling`, one call per verb; each imports what it needs when it is called.

Settings without an argument of their own go into `settings`, under their names on the command line:

    maskling.pretrain("data/", "runs/mine", preset="small", settings={"train.steps": 10_000, "masking.rate": 0.2})
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from maskling.errors import SettingsError
from maskling.job import Job

if TYPE_CHECKING:
    from fastapi import FastAPI

    from maskling.data.prepare.events import Prepared, PrepareEvent
    from maskling.evaluation.compare import Compared
    from maskling.evaluation.minimal_pairs import PairResults
    from maskling.exporting.cards import HeldOut
    from maskling.infer.model import Model
    from maskling.infer.score import Method
    from maskling.train.events import Event as RunEvent
    from maskling.train.events import FinalMetrics, Finished
    from maskling.train.recipe import Recipe

AnyPath: TypeAlias = "str | PathLike[str]"
SettingsByName: TypeAlias = "Mapping[str, object]"  # as {'train.steps': 10_000}


def prepare(
    sources: AnyPath | Sequence[AnyPath],
    out: AnyPath,
    *,
    config: AnyPath | None = None,
    settings: SettingsByName | None = None,
) -> Job[PrepareEvent, Prepared]:
    """Turn text into a prepared folder to train on: clean, deduplicate, tokenize.

    sources: files, folders, glob patterns or URLs (one or several); out: the folder to write, resumed if unfinished.
    config: a settings file (TOML); settings: single settings by name, over those of the file; `maskling prepare --show`
    lists them.

    Raises SettingsError, CorpusError for a source that cannot be read, DataError if `out` holds something else.

    Example:
        prepared = maskling.prepare("books/", "data/", settings={"tokenizer.vocab_size": 16_000}).result()
        print(prepared.train_tokens)
    """
    from maskling.config import layers_of
    from maskling.data.prepare.prepare import prepare as run
    from maskling.data.prepare.settings import read_prepare_settings

    recipe = read_prepare_settings(layers_of(settings, config)).settings
    return Job("maskling.prepare(...)", run(_names(sources), Path(out), recipe))


def pretrain(
    data: AnyPath | Recipe,
    out: AnyPath,
    *,
    preset: str | None = None,
    config: AnyPath | None = None,
    init: AnyPath | None = None,
    seed: int | None = None,
    budget: str | None = None,
    force_new: bool = False,
    stop: Callable[[], bool] = lambda: False,
    settings: SettingsByName | None = None,
) -> Job[RunEvent, Finished]:
    """Pretrain a masked language model on a prepared folder, or resume the run in `out`.

    data: the folder that `prepare` wrote; or a whole Recipe, and then no other setting. out: the run folder.
    preset: named settings to start from, such as 'small' (default: 'modern-mini'); config: a settings file (TOML);
    init: a model to continue; budget: time for the run ('30m', '2h'), which sets the steps; force_new: move a run that
    is in `out` away and start anew; stop: asked after each step, True ends the run with a checkpoint.
    settings: single settings by name, over those of preset and config; `maskling train --show` lists them.

    Raises SettingsError, DataError for the prepared folder, CheckpointError if the run in `out` is another one.
    Example:
        for event in maskling.pretrain("data/", "runs/mine", preset="small", budget="30m"):
            if isinstance(event, maskling.Evaluated):
                print(event.step, event.measured["mlm_loss"])
    """
    from maskling.config import layers_of
    from maskling.train.pretrain import pretrain as run
    from maskling.train.recipe import Recipe, read_recipe
    from maskling.train.settings import check_run_folder

    check_run_folder(Path(out))
    if isinstance(data, Recipe):
        if any(value is not None for value in (preset, config, init, seed, budget)) or settings:
            raise SettingsError("give either a Recipe or single settings; a Recipe holds all of them")
        recipe = data
    else:
        own = {"preset": preset, "init": init, "seed": seed, "data.path": data, "train.budget": budget}
        recipe = read_recipe(layers_of(settings, config, own)).settings
    asked = Event()
    events = run(recipe, Path(out), stop=lambda: asked.is_set() or stop(), force_new=force_new)
    return Job("maskling.pretrain(...)", events, asked.set)


def finetune(
    model: AnyPath,
    out: AnyPath,
    *,
    task: Literal["classify", "pair", "regress", "tag", "answer", "similarity"],
    train: AnyPath,
    dev: AnyPath | None = None,
    test: AnyPath | None = None,
    config: AnyPath | None = None,
    epochs: float | None = None,
    lr: float | None = None,
    seed: int | None = None,
    force_new: bool = False,
    stop: Callable[[], bool] = lambda: False,
    settings: SettingsByName | None = None,
) -> Job[RunEvent, Finished]:
    """Fine-tune a model for classification, sentence pairs, regression, NER/POS, question answering or similarity.

    model: a run, an export or a Hugging Face folder; out: the run folder, resumed if unfinished; the best weights by
    `dev` go to out/model. train, dev, test: JSON Lines, CSV, TSV, CoNLL columns or SQuAD JSON; without `dev` a part of
    `train` is held out. settings: single settings by name; `maskling finetune --show` lists them.
    Raises SettingsError, DataError for a labelled file, ModelError for the model, CheckpointError for the run folder.

    Example: maskling.finetune("runs/mine", "runs/sst2", task="classify", train="train.jsonl", epochs=4).result()
    """
    from maskling.config import layers_of
    from maskling.finetuning.finetune import finetune as run
    from maskling.finetuning.recipe import read_finetune_recipe
    from maskling.train.settings import check_run_folder

    own: dict[str, object] = {"task.kind": task, "encoder.path": model, "seed": seed}
    own |= {"data.train": train, "data.dev": dev, "data.test": test, "train.epochs": epochs, "optimizer.lr": lr}
    recipe = read_finetune_recipe(layers_of(settings, config, own)).settings
    check_run_folder(Path(out))
    asked = Event()
    events = run(recipe, Path(out), stop=lambda: asked.is_set() or stop(), force_new=force_new)
    return Job("maskling.finetune(...)", events, asked.set)


def evaluate(
    model: AnyPath | Model,
    text: AnyPath | Sequence[AnyPath] | None = None,
    *,
    data: AnyPath | None = None,
    pairing: str | None = None,
    seq_length: int | None = None,
    rate: float | None = None,
    examples: int | None = None,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> HeldOut:
    """Evaluate a masked language model on text it was not trained on, with fixed masks.

    text: files, folders or URLs, as for `prepare`; data: a prepared folder, whose validation split is used; without
    both, that of the run's own data. pairing, seq_length, rate: default: those of the run; examples: at most so many.
    on_progress: called with the examples done and their total.

    Returns losses in nats and accuracies as fractions; loss per word and per byte compare between vocabularies. Raises
    ModelError for a model without a masked-token head, SettingsError, CorpusError.

    Example: maskling.evaluate("runs/mine", "unseen.txt").perplexity
    """
    from maskling.evaluation.held_out import check_evaluation, evaluate_held_out, file_text, recipe_of, split_text

    loaded = _loaded(model, device)
    loaded.need_head("evaluation")
    check_evaluation(loaded, pairing=pairing, seq_length=seq_length, rate=rate, examples=examples)
    if text is not None and data is not None:
        raise SettingsError("give either text or data, not both")
    recipe = recipe_of(loaded)
    if text is None and data is None and recipe is None:
        raise SettingsError(f"{loaded.folder} is not the model of a run; give text or data to evaluate on")
    if text is not None:
        held_out = file_text(_names(text), loaded)
    else:
        held_out = split_text(Path(data or cast("Recipe", recipe).data.path), loaded)
    return evaluate_held_out(
        loaded,
        held_out,
        pairing=pairing,
        seq_length=seq_length,
        rate=rate,
        examples=examples,
        on_progress=on_progress,
    )


def evaluate_pairs(
    model: AnyPath | Model,
    files: AnyPath | Sequence[AnyPath],
    *,
    method: Method = "original",
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> PairResults:
    """Evaluate a masked language model on minimal pairs, such as the files of BLiMP.

    The sentence with the higher pseudo-log-likelihood wins (Salazar et al. 2020). method: see `Model.score`.

    Example: maskling.evaluate_pairs("runs/mine", "blimp/").macro_average
    """
    from maskling.evaluation.minimal_pairs import evaluate_pairs as run
    from maskling.evaluation.minimal_pairs import read_pairs

    return run(_loaded(model, device), read_pairs(_names(files)), method=method, on_progress=on_progress)


def evaluate_labelled(
    model: AnyPath | Model, file: AnyPath, *, columns: Mapping[str, str] | None = None, device: str = "auto"
) -> FinalMetrics:
    """Evaluate a fine-tuned model on a labelled file, with the metrics that `finetune` reports.

    file: JSON Lines, CSV, TSV, CoNLL columns or SQuAD JSON; columns: names of its columns, as {'text': 'review'}.
    Returns the metrics by name in `measured`; warns of what the file lacks. Raises ModelError for a model without a
    fine-tuned head, DataError for the file.

    Example: maskling.evaluate_labelled("runs/classifier", "test.jsonl").measured["accuracy"]
    """
    from maskling.config import Layer, resolve
    from maskling.data.labelled.columns import Columns
    from maskling.finetuning.finetune import evaluate_labelled as run

    named = resolve(Columns, [Layer("columns", dict(columns or {}))]).settings
    metrics, problems = run(_loaded(model, device), str(file), named)
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    return metrics


def compare(
    models: Sequence[AnyPath],
    *,
    text: AnyPath | Sequence[AnyPath] | None = None,
    data: AnyPath | None = None,
    pairs: AnyPath | Sequence[AnyPath] | None = None,
    passages: int = 1000,
    words: int = 64,
    rate: float = 0.15,
    rounds: int = 5,
    device: str = "auto",
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Compared:
    """Compare masked language models on the same hidden words of the same text, whatever their vocabularies.

    text: files, folders or URLs; or data: a prepared folder, for models that have its tokenizer. pairs: files of
    minimal pairs; passages, words: how many passages, and the most words of one; rate: the fraction of words to hide;
    rounds: of timing, 0 for none. on_progress: called with what is measured, how much of it is done, and its total.
    Example: [side.loss_per_word for side in maskling.compare(["runs/a", "runs/b"], text="unseen.txt").sides]
    """
    from maskling.evaluation.compare import check_comparison, compare_models, short_names
    from maskling.evaluation.hidden_words import passages_of_files, passages_of_split
    from maskling.evaluation.minimal_pairs import read_pairs

    check_comparison(len(models), passages, words, rounds)
    if (text is None) == (data is None):
        raise SettingsError("give text to compare on, or data, a prepared folder; one of the two")
    loaded = [_loaded(model, device) for model in models]
    if text is not None:
        common = passages_of_files(_names(text), loaded, rate=rate, passages=passages, words=words)
    else:
        common = passages_of_split(Path(cast("AnyPath", data)), loaded, rate=rate, passages=passages)
    names = short_names(tuple(Path(model) for model in models))
    minimal_pairs = read_pairs(_names(pairs)) if pairs is not None else []
    return compare_models(loaded, names, common, pairs=minimal_pairs, rounds=rounds, on_progress=on_progress)


def export(
    model: AnyPath,
    out: AnyPath,
    *,
    format: Literal["hf", "onnx"] = "hf",  # noqa: A002 - its name on the command line
    int8: bool = False,
    fp16: bool = False,
    encoder: bool = False,
    step: int | None = None,
    license: str | None = None,  # noqa: A002 - its name on the command line
    language: str | None = None,
) -> Path:
    """Write a model for other programs: Hugging Face's layout, or an ONNX graph. Returns the folder.

    The folder is read back and its outputs compared before it counts as written. int8, fp16, encoder: with onnx, 8-bit
    weights, half precision, no heads; step: of a run, the checkpoint of that step, not the best weights.
    license, language: for the card, such as 'apache-2.0' and 'en' or 'en,de'.
    Raises SettingsError, ModelError for the model or `out`, MissingExtra without the extra `onnx`.

    Example:
        maskling.export("runs/mine", "exported/")
        transformers.AutoModelForMaskedLM.from_pretrained("exported/")
    """
    from maskling.exporting.card_metadata import card_metadata, set_card_metadata
    from maskling.model.locate import find_model

    source, folder, metadata = Path(model), Path(out), card_metadata(license, language)
    if format == "onnx":
        if step is not None:
            raise SettingsError("step goes with format 'hf'; export the checkpoint first, then that folder as 'onnx'")
        from maskling.exporting.onnx import export_onnx

        export_onnx(find_model(source), folder, int8=int8, fp16=fp16, encoder=encoder)
    elif int8 or fp16 or encoder:
        raise SettingsError("int8, fp16 and encoder go with format 'onnx'")
    else:
        from maskling.train.export_run import export_checkpoint, export_folder

        export_folder(find_model(source), folder) if step is None else export_checkpoint(source, step, folder)
    set_card_metadata(folder, metadata)
    return folder


def serve_app(
    model: AnyPath | Model, *, name: str | None = None, hosts: Sequence[str] | None = None, device: str = "auto"
) -> FastAPI:
    """Return the HTTP application of `maskling serve`, to run under uvicorn or to mount in another application.

    name: of the model in answers; default: that of its run or folder. hosts: the Host headers to accept; default: all,
    so a proxy in front of it has to check them. Raises MissingExtra if the extra `serve` is not installed.

    Example: uvicorn.run(maskling.serve_app("runs/mine"), port=8000)
    """
    from maskling.errors import MissingExtra

    try:
        from maskling.serve.app import create_app
        from maskling.serve.batching import Batcher
        from maskling.serve.service import Service, default_name
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "serve", "serve_app") from None
    loaded = _loaded(model, device)
    service = Service.of(loaded, name or default_name(loaded.folder))
    return create_app(service, hosts, Batcher())


def load(path: AnyPath, device: str = "auto", dtype: Literal["auto", "fp32", "bf16"] = "fp32") -> Model:
    """Open the model of a run, an export, or a Hugging Face folder of the BERT, RoBERTa or ModernBERT family.

    Example:
        model = maskling.load("runs/mine")
        print(model.fill("The quick brown [MASK] jumps.")[0][0].word)
    """
    from maskling.infer.model import load as run

    return run(path, device=device, dtype=dtype)


def _loaded(model: AnyPath | Model, device: str) -> Model:
    from maskling.infer.model import Model, load

    return model if isinstance(model, Model) else load(model, device=device)


def _names(sources: AnyPath | Sequence[AnyPath]) -> list[str]:
    return [str(sources)] if isinstance(sources, str | PathLike) else [str(source) for source in sources]
