"""`maskling compare`: compare models on the same text, in a table with one row per measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from maskling.cli.format import byte_size, size, table
from maskling.cli.inputs import check_sources, corpus_settings, reading_report
from maskling.cli.options import SettingPairs
from maskling.console import Console, columns_of, counted
from maskling.errors import SettingsError

if TYPE_CHECKING:
    from maskling.evaluation.compare import Compared, ComparedModel
    from maskling.infer.model import Model

# Columns of the terminal that a table may take, and the mark of the best of a row.
WIDTH = 120
MARK = " *"


def compare(
    *models: Annotated[Path, Parameter(help="runs, exports, or Hugging Face folders")],
    text: Annotated[
        list[str] | None,
        Parameter(help="text to compare on, as 'prepare' reads it", consume_multiple=True, metavar="SOURCE ..."),
    ] = None,
    data: Annotated[
        Path | None,
        Parameter(help="prepared folder: compare on its validation split", metavar="FOLDER"),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        Parameter(
            help="minimal pairs to compare on, such as the files of BLiMP", consume_multiple=True, metavar="FILE ..."
        ),
    ] = None,
    passages: Annotated[int, Parameter(help="number of passages, sampled from the whole text")] = 1000,
    words: Annotated[int, Parameter(help="maximum number of words per passage")] = 64,
    rate: Annotated[float, Parameter(help="fraction of the words to hide")] = 0.15,
    rounds: Annotated[int, Parameter(help="rounds of timing; 0 skips it")] = 5,
    json: Annotated[bool, Parameter(help="the results as JSON on stdout")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
    settings: SettingPairs = (),
) -> None:
    """Compare models on text they were not trained on.

    The same words are hidden in the same text for every model, so models with different vocabularies compare by loss
    per word and per byte. The table also has minimal pairs, size, and speed on this machine.

    Example: maskling compare runs/mine runs/mine --text books/
    """
    from maskling.evaluation.compare import check_comparison, compare_models, short_names
    from maskling.evaluation.hidden_words import passages_of_files, passages_of_split
    from maskling.evaluation.minimal_pairs import read_pairs
    from maskling.infer.model import load

    if text and data is not None:
        raise SettingsError("give either text with --text or a prepared folder with --data, not both")
    corpus = corpus_settings(settings, text, "it with --text")
    check_comparison(len(models), passages, words, rounds)
    check_sources(text or ())
    console = Console(as_json=json)
    minimal_pairs = read_pairs(pairs) if pairs else []
    loaded = [load(model, device=device) for model in models]
    if text:
        report = reading_report(console)
        common = passages_of_files(text, loaded, corpus, rate=rate, passages=passages, words=words, report=report)
        console.clear()
        console.warn_each(report.problems())
    else:
        common = passages_of_split(data or _training_data(loaded), loaded, rate=rate, passages=passages)
    found = compare_models(
        loaded, short_names(models), common, pairs=minimal_pairs, rounds=rounds, on_progress=console.progress
    )
    console.clear()
    for line in compared_lines(found):
        console.result(line)
    console.data(found.as_dict())


def _training_data(models: list[Model]) -> Path:
    """Return the prepared folder that the first run among the models was trained on."""
    from maskling.evaluation.held_out import recipe_of

    for model in models:
        if (recipe := recipe_of(model)) is not None and Path(recipe.data.path).exists():
            return Path(recipe.data.path)
    raise SettingsError("give text to compare on: --text FILES, or --data FOLDER if all models have its tokenizer")


# Label, value, format, and whether more (1) or less (-1) is better, or neither (0).
Measure: TypeAlias = "tuple[str, Callable[[ComparedModel], float | None], Callable[[float], str], int]"

MEASURES: tuple[Measure, ...] = (
    ("loss per word", lambda side: side.loss_per_word, "{:.3f}".format, -1),
    ("  behind the best", lambda side: side.behind, "{:+.3f}".format, 0),
    ("  standard error", lambda side: side.behind_error, "{:.3f}".format, 0),
    ("loss per byte", lambda side: side.loss_per_byte, "{:.4f}".format, -1),
    ("loss per token", lambda side: side.loss_per_token, "{:.3f}".format, 0),
    ("words guessed", lambda side: _percent(side.top1), "{:.1f}%".format, 1),
    ("  in five guesses", lambda side: _percent(side.top5), "{:.1f}%".format, 1),
    ("minimal pairs", lambda side: _percent(side.pair_accuracy), "{:.1f}%".format, 1),
    ("tokens per word", lambda side: side.pieces_per_word, "{:.2f}".format, 0),
    ("words it cannot write", lambda side: _percent(side.unwritable), "{:.2f}%".format, 0),
    ("parameters", lambda side: side.parameters, size, -1),
    ("weights on disk", lambda side: side.weight_bytes, byte_size, -1),
    ("tokens/s", lambda side: side.tokens_per_second, "{:,.0f}".format, 0),
    ("texts/s", lambda side: side.texts_per_second, "{:,.1f}".format, 1),
)


def compared_lines(found: Compared) -> list[str]:
    """Return the lines of the table and its notes."""
    cells = [["", *(side.name for side in found.sides)]]
    cells += [row for measure in MEASURES if (row := _row(measure, found.sides))]
    cells.append(["capital letters", *("lowercased" if side.lowercases else "kept" for side in found.sides)])
    lines = [f"{counted(found.hidden_words, 'word')} hidden in {found.text}; * is the best of its row"]
    for block in _blocks(cells):
        lines += ["", *table(block)]
    notes = []
    if (
        len({side.loss_per_token for side in found.sides}) > 1
        and len({side.pieces_per_word for side in found.sides}) > 1
    ):
        notes.append("loss per token and tokens/s do not compare here: the models split words differently")
    if len({side.lowercases for side in found.sides}) > 1:
        notes.append("a model that lowercases its text has fewer words to choose among")
    if found.too_long:
        notes.append(f"{counted(found.too_long, 'passage')} left out, too long for one of the models")
    if found.pairs:
        notes.append(f"minimal pairs: the mean accuracy over the paradigms of {counted(found.pairs, 'pair')}")
    if any(side.texts_per_second for side in found.sides):
        notes.append(f"speed: medians measured now, on {found.device}")
    return [*lines, "", *notes]


def _row(measure: Measure, sides: Sequence[ComparedModel]) -> list[str]:
    label, value_of, display, better = measure
    values = [value_of(side) for side in sides]
    known = [value for value in values if value is not None]
    if not known:
        return []
    # Values that are equal as displayed count as equal: a digit that is not shown earns no mark.
    best = display(max(known) if better > 0 else min(known)) if better else None
    texts = ["" if value is None else display(value) for value in values]
    marks = MARK if best is not None and len({text for text in texts if text}) > 1 else ""
    return [label, *(text + (marks if text == best else " " * len(marks)) for text in texts)]


def _blocks(cells: list[list[str]]) -> list[list[list[str]]]:
    """Split the columns into blocks that fit the width; each repeats the labels."""
    columns = [list(column) for column in zip(*cells, strict=True)]
    widths = [max(map(columns_of, column)) for column in columns]
    right = [
        [" " * (width - columns_of(cell)) + cell for cell in column]
        for column, width in zip(columns[1:], widths[1:], strict=True)
    ]
    blocks: list[list[list[str]]] = []
    room = 0
    for column in right:
        room -= columns_of(column[0]) + 2
        if room < 0:
            blocks.append([columns[0]])
            room = WIDTH - 2 - widths[0] - columns_of(column[0]) - 2
        blocks[-1].append(column)
    return [[list(row) for row in zip(*block, strict=True)] for block in blocks]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
