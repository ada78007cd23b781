"""`maskling evaluate`: how good a model is on text it was not trained on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from maskling.cli.format import duration, table
from maskling.cli.inputs import check_sources, columns_in, followed, read_as
from maskling.cli.options import Pairs, SettingPairs
from maskling.console import Console, counted
from maskling.errors import SettingsError

if TYPE_CHECKING:
    from maskling.corpus.settings import CorpusSettings
    from maskling.evaluate.held_out import HeldOutText
    from maskling.evaluate.minimal_pairs import PairResults
    from maskling.export.cards import HeldOut
    from maskling.infer.model import Model
    from maskling.infer.score import Method

# FOLDED DOCS
# [evaluate_pairs] The part of `maskling evaluate` that judges minimal pairs.
# [evaluate_labelled] The part of `maskling evaluate` that measures a fine-tuned model on labelled files.


# English has hardly one unknown token in a thousand.
_MANY_UNKNOWN = 0.02


def evaluate(
    model: Annotated[Path, Parameter(help="a run, an export, or a Hugging Face folder")],
    /,
    *sources: Annotated[
        str, Parameter(help="text to measure on, as 'prepare' reads it, instead of --data; labelled files of a task")
    ],
    data: Annotated[
        Path | None, Parameter(help="prepared folder: measure on its validation split", metavar="FOLDER")
    ] = None,
    pairing: Annotated[
        str | None, Parameter(help="single, nsp or sop; as the run had it, if left out", metavar="KIND")
    ] = None,
    seq_length: Annotated[int | None, Parameter(help="tokens in a sequence; as the run had it, if left out")] = None,
    rate: Annotated[float | None, Parameter(help="fraction of tokens to predict; as the run had it, else 0.15")] = None,
    examples: Annotated[int | None, Parameter(help="measure on so many examples only")] = None,
    pairs: Annotated[
        list[str] | None,
        Parameter(
            help="judge minimal pairs of these files instead, BLiMP's or two columns",
            consume_multiple=True,
            metavar="FILE ...",
        ),
    ] = None,
    method: Annotated[
        Literal["original", "within-word-l2r"], Parameter(help="how --pairs scores a sentence; see 'score'")
    ] = "original",
    card: Annotated[bool, Parameter(help="put the numbers into the model's card")] = False,
    json: Annotated[bool, Parameter(help="the numbers as JSON on stdout")] = False,
    dtype: Annotated[
        Literal["fp32", "bf16"], Parameter(help="numbers to calculate in; bf16 is faster, coarser")
    ] = "fp32",
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
    settings: SettingPairs = (),
) -> None:
    """Measure a model on text it was not trained on.

    Loss, perplexity and accuracy at fixed masks: the same numbers every time. Loss per word and per byte compare
    models with different vocabularies. A run is measured on its own validation split unless --data or text is given.
    --pairs asks how often the good sentence of two is the likelier one. A fine-tuned model is measured on labelled
    files, by the numbers of its task. Started by torchrun, each process measures its share of the text (of --pairs and
    labelled files the first does all), and the first speaks.

    Example: maskling evaluate runs/mine --data data/
    """
    from maskling.evaluate.held_out import Evaluation, check_asked
    from maskling.export.cards import update_card
    from maskling.infer.model import load
    from maskling.train.distributed import device_of_rank, join_ranks

    if pairs and (sources or data is not None or card):
        raise SettingsError("--pairs measures on its own files; leave out text, --data and --card")
    if sources and data is not None:
        raise SettingsError("give text to measure on, or --data, not both")
    labelled = any(name.startswith("columns.") for name, _ in settings)
    reading = None if labelled else read_as(settings, sources, "files to measure on")
    check_sources(sources)
    console = Console(as_json=json)
    with join_ranks(device) as ranks:
        loaded = load(model, device=device_of_rank(device, ranks), dtype=dtype)
        if pairs:
            if ranks.is_main:  # one rank is enough for a few thousand sentences
                show_pairs(loaded, pairs, method, console)
            return
        if loaded.judge is not None or labelled:
            if data is not None or card:
                raise SettingsError("a fine-tuned model is measured on labelled files; leave out --data and --card")
            if ranks.is_main:
                show_labelled(loaded, sources, settings, console)
            return
        assert reading is not None
        # Before the text is read, which may take long.
        check_asked(loaded, pairing=pairing, seq_length=seq_length, rate=rate, examples=examples)
        text = _raw(loaded, sources, reading, console) if sources else _prepared(loaded, model, data)
        if text.unknown > _MANY_UNKNOWN:
            console.warn(
                f"{100 * text.unknown:.1f}% of the tokens of this text are unknown to the vocabulary and not measured; "
                f"it is text of another kind than the model's, or its folder lacks the tokenizer it was made with"
            )
        evaluation = Evaluation(
            loaded, text, pairing=pairing, seq_length=seq_length, rate=rate, examples=examples, ranks=ranks
        )
        for done in evaluation.run():
            console.progress(f"measuring on {text.name}", done, 1)
        console.clear()
        found = evaluation.held_out()
    if not ranks.is_main:
        return
    if card:
        update_card(loaded.folder, found)
        console.note(f"numbers written into {loaded.folder / 'README.md'}")
    for line in held_out_lines(found):
        console.result(line)
    console.data({**asdict(found), "perplexity": found.perplexity})


def _raw(loaded: Model, sources: Sequence[str], reading: CorpusSettings, console: Console) -> HeldOutText:
    from maskling.evaluate.held_out import raw_text

    report = followed(console)
    text = raw_text(sources, loaded, reading, report)
    console.clear()
    console.warn_of(report.problems())
    return text


def _prepared(loaded: Model, model: Path, data: Path | None) -> HeldOutText:
    """The validation split that was asked for, or of what the model was trained on."""
    from maskling.evaluate.held_out import prepared_text, recipe_of

    recipe = recipe_of(loaded)
    if data is None and recipe is None:
        raise SettingsError(f"{model} is of no run, so say what to measure on: --data FOLDER, or text files")
    folder = data or Path(recipe.data.path if recipe else "data")
    if data is None and not folder.exists():
        raise SettingsError(
            f"{model} was trained on {folder}, which is not there (as seen from here); say --data FOLDER"
        )
    return prepared_text(folder, loaded)


def held_out_lines(found: HeldOut) -> list[str]:
    """The numbers, one a line."""
    rows = [
        ["loss", f"{found.mlm_loss:.4f}", f"nats a prediction, perplexity {found.perplexity:,.1f}"],
        ["top-1", f"{100 * found.top1:.2f}%", f"of {found.predictions:,} predictions"],
        ["top-5", f"{100 * found.top5:.2f}%", ""],
    ]
    if found.unigram_entropy is not None:
        rows.insert(1, ["unigram", f"{found.unigram_entropy:.4f}", "the loss of knowing only how often tokens occur"])
    if found.pair_accuracy is not None:
        rows.append(["pairs", f"{100 * found.pair_accuracy:.2f}%", f"of {found.pairs:,} pairs judged rightly"])
    if found.loss_per_word is not None:
        rows.append(["per word", f"{found.loss_per_word:.4f}", "nats, whole words hidden"])
    if found.loss_per_byte is not None:
        rows.append(["per byte", f"{found.loss_per_byte:.4f}", "nats, whole words hidden"])
    return [f"on {found.text}", *table(rows)]


def show_pairs(loaded: Model, files: Sequence[str], method: Method, console: Console) -> None:
    """Judge the pairs of files and show what came out."""
    from maskling.evaluate.minimal_pairs import PairScoring, read_pairs

    pairs = read_pairs(files)
    console.note(f"{counted(len(pairs), 'pair')}, scored by pseudo-log-likelihood ({method})")
    scoring, began = PairScoring(loaded, pairs, method=method), time.monotonic()
    for share in scoring.run():
        if share < 1:
            left = duration((time.monotonic() - began) * (1 - share) / share)
            console.progress(f"scoring   {left} left", share, 1.0)
    results = scoring.results()
    for line in pair_lines(results):
        console.result(line)
    console.data({"method": method, **results.as_dict()})


def pair_lines(results: PairResults) -> list[str]:
    """A table of the paradigms, one of the fields, and the average."""
    rows = [
        [one.name, one.field, f"{one.pairs:,}", f"{one.ties:,}", f"{100 * one.accuracy:.1f}%"]
        for one in results.paradigms
    ]
    rows.insert(0, ["paradigm", "field", "pairs", "ties", "accuracy"])
    if not results.fields:
        rows = [[name, *numbers] for name, _, *numbers in rows]
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
        f"{counted(results.pairs, 'pair')}; {counted(results.ties, 'tie')} counted as half right",
    ]


def show_labelled(loaded: Model, files: Sequence[str], settings: Pairs, console: Console) -> None:
    """Measure on each file and show what came out. settings: --columns.key value."""
    from maskling.finetune.finetune import evaluate_labelled

    columns = columns_in(settings)
    if not files:
        raise SettingsError("say which labelled file to measure this fine-tuned model on")
    for file in files:
        console.doing(f"measuring on {file}")
        found, warnings = evaluate_labelled(loaded, file, columns)
        console.clear()
        for text in warnings:
            console.warn(text)
        console.result(f"{file}, {counted(found.records, 'record')}")
        numbers = {name: value for name, value in found.measured.items() if value is not None}
        for line in table([[name, f"{value:.4f}"] for name, value in numbers.items()]):
            console.result(line)
        console.data({"file": file, "records": found.records, **found.measured})
