"""`maskling evaluate`: evaluate a model on held-out text, minimal pairs, or labelled files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from maskling.cli.format import duration, score_lines, table
from maskling.cli.inputs import check_sources, column_settings, corpus_settings, reading_report
from maskling.cli.options import Pairs, SettingPairs
from maskling.console import Console, counted
from maskling.errors import SettingsError

if TYPE_CHECKING:
    from maskling.corpus.settings import CorpusSettings
    from maskling.evaluation.held_out import HeldOutText
    from maskling.evaluation.minimal_pairs import PairResults
    from maskling.exporting.cards import HeldOut
    from maskling.infer.model import Model
    from maskling.infer.score import Method

# English text has hardly one unknown token in a thousand.
_MANY_UNKNOWN = 0.02


def evaluate(
    model: Annotated[Path, Parameter(help="a run, an export, or a Hugging Face folder")],
    /,
    *sources: Annotated[
        str, Parameter(help="text to evaluate on, as 'prepare' reads it; for a fine-tuned model, labelled files")
    ],
    data: Annotated[
        Path | None, Parameter(help="prepared folder: evaluate on its validation split", metavar="FOLDER")
    ] = None,
    pairing: Annotated[str | None, Parameter(help="single, nsp or sop; default: as in the run", metavar="KIND")] = None,
    seq_length: Annotated[int | None, Parameter(help="tokens per sequence; default: as in the run")] = None,
    rate: Annotated[
        float | None, Parameter(help="fraction of tokens to predict; default: as in the run, else 0.15")
    ] = None,
    examples: Annotated[int | None, Parameter(help="maximum number of examples")] = None,
    pairs: Annotated[
        list[str] | None,
        Parameter(
            help="evaluate on minimal pairs instead: files of BLiMP, or of two columns",
            consume_multiple=True,
            metavar="FILE ...",
        ),
    ] = None,
    method: Annotated[
        Literal["original", "within-word-l2r"], Parameter(help="scoring method of --pairs; see 'score'")
    ] = "original",
    card: Annotated[bool, Parameter(help="write the results into the model card")] = False,
    json: Annotated[bool, Parameter(help="the results as JSON on stdout")] = False,
    dtype: Annotated[
        Literal["fp32", "bf16"], Parameter(help="precision of the calculation; bf16 is faster and less exact")
    ] = "fp32",
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
    settings: SettingPairs = (),
) -> None:
    """Evaluate a model on text it was not trained on.

    The metrics are loss, perplexity and accuracy with fixed masks, the same on every call. Loss per word and per byte
    compare models with different vocabularies. A run is evaluated on its own validation split unless --data or text is
    given. --pairs measures how often the right sentence of two scores higher. A fine-tuned model is evaluated on
    labelled files, with the metrics of its task. Started by torchrun, each rank evaluates its share of the text (rank 0
    alone evaluates --pairs and labelled files), and rank 0 prints.

    Example: maskling evaluate runs/mine --data data/
    """
    from maskling.evaluation.held_out import check_evaluation, evaluate_held_out
    from maskling.exporting.cards import update_card
    from maskling.infer.model import load
    from maskling.train.distributed import device_of_rank, join_ranks

    if pairs and (sources or data is not None or card):
        raise SettingsError("--pairs evaluates on its own files; leave out text, --data and --card")
    if sources and data is not None:
        raise SettingsError("give either text or --data, not both")
    labelled = any(name.startswith("columns.") for name, _ in settings)
    reading = None if labelled else corpus_settings(settings, sources, "files to evaluate on")
    check_sources(sources)
    console = Console(as_json=json)
    with join_ranks(device) as ranks:
        loaded = load(model, device=device_of_rank(device, ranks), dtype=dtype)
        if pairs:
            if ranks.is_main:  # one rank is enough for a few thousand sentences
                show_pairs(loaded, pairs, method, console)
            return
        if loaded.task_scorer is not None or labelled:
            if data is not None or card:
                raise SettingsError("a fine-tuned model is evaluated on labelled files; leave out --data and --card")
            if ranks.is_main:
                show_labelled(loaded, sources, settings, console)
            return
        assert reading is not None
        # Before the text is read, which may take long.
        check_evaluation(loaded, pairing=pairing, seq_length=seq_length, rate=rate, examples=examples)
        text = _file_text(loaded, sources, reading, console) if sources else _split_text(loaded, model, data)
        if text.unknown > _MANY_UNKNOWN:
            console.warn(
                f"{100 * text.unknown:.1f}% of the tokens of this text are unknown to the vocabulary and not used; "
                f"the text is of another kind than the training text, or the model's folder has the wrong tokenizer"
            )
        found = evaluate_held_out(
            loaded,
            text,
            pairing=pairing,
            seq_length=seq_length,
            rate=rate,
            examples=examples,
            ranks=ranks,
            on_progress=partial(console.progress, f"evaluating on {text.name}"),
        )
        console.clear()
    if not ranks.is_main:
        return
    if card:
        update_card(loaded.folder, found)
        console.note(f"results written to {loaded.folder / 'README.md'}")
    for line in held_out_lines(found):
        console.result(line)
    console.data({**asdict(found), "perplexity": found.perplexity})


def _file_text(loaded: Model, sources: Sequence[str], reading: CorpusSettings, console: Console) -> HeldOutText:
    from maskling.evaluation.held_out import file_text

    report = reading_report(console)
    text = file_text(sources, loaded, reading, report)
    console.clear()
    console.warn_each(report.problems())
    return text


def _split_text(loaded: Model, model: Path, data: Path | None) -> HeldOutText:
    """Return the validation split of --data, or of the folder that the model was trained on."""
    from maskling.evaluation.held_out import recipe_of, split_text

    recipe = recipe_of(loaded)
    if data is None and recipe is None:
        raise SettingsError(
            f"{model} does not belong to a run, so give data to evaluate on: --data FOLDER, or text files"
        )
    folder = data or Path(recipe.data.path if recipe else "data")
    if data is None and not folder.exists():
        raise SettingsError(
            f"{model} was trained on {folder}, which does not exist (relative to this folder); give --data FOLDER"
        )
    return split_text(folder, loaded)


def held_out_lines(found: HeldOut) -> list[str]:
    """Return the metrics, one per line."""
    rows = [
        ["loss", f"{found.mlm_loss:.4f}", f"nats per prediction, perplexity {found.perplexity:,.1f}"],
        ["top-1", f"{100 * found.top1:.2f}%", f"of {found.predictions:,} predictions"],
        ["top-5", f"{100 * found.top5:.2f}%", ""],
    ]
    if found.unigram_entropy is not None:
        rows.insert(1, ["unigram", f"{found.unigram_entropy:.4f}", "loss of always predicting by token frequency"])
    if found.pair_accuracy is not None:
        rows.append(["pairs", f"{100 * found.pair_accuracy:.2f}%", f"of {found.pairs:,} pairs classified correctly"])
    if found.loss_per_word is not None:
        rows.append(["per word", f"{found.loss_per_word:.4f}", "nats, whole words hidden"])
    if found.loss_per_byte is not None:
        rows.append(["per byte", f"{found.loss_per_byte:.4f}", "nats, whole words hidden"])
    return [f"on {found.text}", *table(rows)]


def show_pairs(loaded: Model, files: Sequence[str], method: Method, console: Console) -> None:
    """Evaluate a model on the minimal pairs of files and print the results."""
    from maskling.evaluation.minimal_pairs import evaluate_pairs, read_pairs

    pairs = read_pairs(files)
    console.note(f"{counted(len(pairs), 'pair')}, scored by pseudo-log-likelihood ({method})")
    began = time.monotonic()

    def on_progress(done: int, total: int) -> None:
        if done < total:
            left = duration((time.monotonic() - began) * (total - done) / done)
            console.progress(f"scoring   {left} left", done, total)

    results = evaluate_pairs(loaded, pairs, method=method, on_progress=on_progress)
    for line in pair_lines(results):
        console.result(line)
    console.data({"method": method, **results.as_dict()})


def pair_lines(results: PairResults) -> list[str]:
    """Return a table of the paradigms, one of the fields, and the average."""
    rows = [
        [one.name, one.field, f"{one.pairs:,}", f"{one.ties:,}", f"{100 * one.accuracy:.1f}%"]
        for one in results.paradigms
    ]
    rows.insert(0, ["paradigm", "field", "pairs", "ties", "accuracy"])
    if not results.fields:
        rows = [[name, *cells] for name, _, *cells in rows]
    lines = table(rows, heads=True)
    if results.fields:
        rows = [
            [one.name, f"{one.paradigms}", f"{one.pairs:,}", f"{one.ties:,}", f"{100 * one.accuracy:.1f}%"]
            for one in results.fields
        ]
        lines += ["", *table([["field", "paradigms", "pairs", "ties", "accuracy"], *rows], heads=True)]
    return [
        *lines,
        "",
        f"{100 * results.macro_average:.2f}% on average over {counted(len(results.paradigms), 'paradigm')}, "
        f"{counted(results.pairs, 'pair')}; {counted(results.ties, 'tie')} counted as one half",
    ]


def show_labelled(loaded: Model, files: Sequence[str], settings: Pairs, console: Console) -> None:
    """Evaluate a fine-tuned model on each file and print the metrics. settings: --columns.key value."""
    from maskling.finetuning.finetune import evaluate_labelled

    columns = column_settings(settings)
    if not files:
        raise SettingsError("give labelled files to evaluate this fine-tuned model on")
    for file in files:
        console.doing(f"evaluating on {file}")
        found, warnings = evaluate_labelled(loaded, file, columns)
        console.clear()
        for text in warnings:
            console.warn(text)
        console.result(f"{file}, {counted(found.records, 'record')}")
        metrics = {name: value for name, value in found.measured.items() if value is not None}
        for line in table([[name, f"{value:.4f}"] for name, value in metrics.items()]):
            console.result(line)
        for line in score_lines(found.details):
            console.result(line)
        details = {"details": found.details} if found.details else {}
        console.data({"file": file, "records": found.records, **found.measured, **details})
