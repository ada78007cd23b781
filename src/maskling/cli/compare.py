"""`maskling compare`: models side by side on the same text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskling.cli.places import check_sources
from maskling.cli.reading import followed, read_as
from maskling.cli.settings import SettingPairs
from maskling.console import Console
from maskling.errors import SettingsError

if TYPE_CHECKING:
    from maskling.infer.load import Model


def compare(
    *models: Annotated[Path, Parameter(help="runs, exports, or Hugging Face folders")],
    text: Annotated[
        list[str] | None,
        Parameter(help="text to compare on, as 'prepare' reads it", consume_multiple=True, metavar="SOURCE ..."),
    ] = None,
    data: Annotated[
        Path | None,
        Parameter(help="prepared folder: its validation split, for models of its tokenizer", metavar="FOLDER"),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        Parameter(help="minimal pairs to judge, such as BLiMP's files", consume_multiple=True, metavar="FILE ..."),
    ] = None,
    passages: Annotated[int, Parameter(help="compare on so many passages, drawn evenly from the text")] = 1000,
    words: Annotated[int, Parameter(help="words of a passage of plain text, at most")] = 64,
    rate: Annotated[float, Parameter(help="fraction of the words to hide")] = 0.15,
    rounds: Annotated[int, Parameter(help="of timing; 0 leaves speed out")] = 5,
    json: Annotated[bool, Parameter(help="the numbers as JSON on stdout")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
    settings: SettingPairs = (),
) -> None:
    """Compare models on text they were not trained on.

    The same words are hidden in the same text from every model, so models of different vocabularies compare: by word
    and by byte. Beside that: minimal pairs, size, and speed on this machine.

    Example: maskling compare runs/mine runs/mine --text books/
    """
    from maskling.cli.compare_report import compared_lines
    from maskling.evaluate.common_text import plain_text, prepared_text
    from maskling.evaluate.compare import Comparison
    from maskling.evaluate.pair_files import read_pairs
    from maskling.infer.load import load

    if len(models) < 2:
        raise SettingsError("give two models or more: maskling compare runs/mine runs/other --text books/")
    if text and data is not None:
        raise SettingsError("give text to compare on with --text, or a prepared folder with --data, not both")
    corpus = read_as(settings, text, "it with --text")
    for name, number, least in (("--passages", passages, 1), ("--words", words, 8), ("--rounds", rounds, 0)):
        if number < least:
            raise SettingsError(f"{name} is {number}; give {least} or more")
    check_sources(text or ())
    console = Console(as_json=json)
    judged = read_pairs(pairs) if pairs else []
    loaded = [load(model, device=device) for model in models]
    if text:
        report = followed(console)
        common = plain_text(text, loaded, corpus, rate=rate, passages=passages, words=words, report=report)
        console.clear()
        console.warn_of(report.problems())
    else:
        common = prepared_text(data or _own_data(loaded), loaded, rate=rate, passages=passages)
    comparison = Comparison(loaded, short_names(models), common, pairs=judged, rounds=rounds)
    for what, done in comparison.run():
        console.progress(what, done, 1)
    console.clear()
    found = comparison.compared()
    for line in compared_lines(found):
        console.result(line)
    console.data(found.as_dict())


def short_names(models: tuple[Path, ...]) -> list[str]:
    """The last parts of each path, as many as tell them apart; numbered where one is given twice."""
    parts = [model.parent.parts if model.name == "model" and model.parent.name else model.parts for model in models]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-count:]) or "." for own in parts]
        if len(set(names)) == len(set(models)):
            break
    return [
        name if names.count(name) == 1 else f"{name} ({names[: place + 1].count(name)})"
        for place, name in enumerate(names)
    ]


def _own_data(models: list[Model]) -> Path:
    """What the first run among the models was trained on."""
    from maskling.evaluate.held_out import recipe_of

    for model in models:
        if (recipe := recipe_of(model)) is not None and Path(recipe.data.path).exists():
            return Path(recipe.data.path)
    raise SettingsError("say what to compare on: --text FILES, or --data FOLDER if all models have its tokenizer")
