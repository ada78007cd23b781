"""`maskling inspect`: look at anything that the project reads or writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskling.cli.settings import SettingPairs, layers
from maskling.config import Settings, resolve
from maskling.console import Console

if TYPE_CHECKING:
    from maskling.cli.views.view import View


def inspect(
    *what: Annotated[str, Parameter(help="a prepared folder, tokenizer, run, checkpoint, model folder, or text files")],
    text: Annotated[str | None, Parameter(help="show what the tokenizer found there makes of this text")] = None,
    example: Annotated[int | None, Parameter(help="show this example of a prepared folder, masked")] = None,
    preset: Annotated[str | None, Parameter(help="with --example: settings of this preset")] = None,
    config: Annotated[Path | None, Parameter(help="with --example: settings from this file")] = None,
    samples: Annotated[int, Parameter(help="how many documents to show")] = 2,
    verify: Annotated[bool, Parameter(help="read every byte and compare it with its checksum", negative="")] = False,
    json: Annotated[bool, Parameter(help="one object of JSON on stdout", negative="")] = False,
    settings: SettingPairs = (),
) -> None:
    """Show any artefact: text as it would be read, a tokenizer, prepared data, a masked example, a checkpoint, a run.

    Settings choose how text is read (--corpus.plain line) or how an example is made (--masking.kind span).

    Example: maskling inspect data/ --example 7 --masking.kind word
    """
    from maskling.errors import SettingsError

    if not what:
        raise SettingsError("say what to look at, for example: maskling inspect data/ --example 7")
    console = Console(as_json=json)
    view = _view(what, text, example, preset, config, samples, verify, settings)
    for line in view.lines:
        console.result(line)
    console.data(view.facts)


def _view(
    what: tuple[str, ...],
    text: str | None,
    example: int | None,
    preset: str | None,
    config: Path | None,
    samples: int,
    verify: bool,
    settings: SettingPairs,
) -> View:
    path = Path(what[0])
    if len(what) == 1 and (path / "manifest.json").is_file():
        from maskling.cli.views.data import view_data, view_example
        from maskling.cli.views.tokenizer import view_tokenizer
        from maskling.train.recipe import read_recipe

        if example is not None:
            return view_example(path, read_recipe(layers(config, settings, preset=preset)).settings, example)
        if text is not None:
            return view_tokenizer(path, text)
        return view_data(path, samples, verify)
    if len(what) == 1 and (path / "state.json").is_file():
        from maskling.cli.views.run import view_checkpoint

        return view_checkpoint(path)
    if len(what) == 1 and (path / "config.toml").is_file() and text is None:
        from maskling.cli.views.run import view_run

        return view_run(path)
    if len(what) == 1 and _is_tokenizer(path) and (text is not None or not (path / "config.json").is_file()):
        from maskling.cli.views.tokenizer import view_tokenizer

        return view_tokenizer(path, text)
    if len(what) == 1 and (path / "config.json").is_file():
        from maskling.cli.views.run import view_model

        return view_model(path)
    from maskling.cli.views.corpus import view_corpus
    from maskling.corpus.settings import CorpusSettings

    class TextSettings(Settings):
        corpus: CorpusSettings = CorpusSettings()

    return view_corpus(what, resolve(TextSettings, layers(config, settings)).settings.corpus, samples)


def _is_tokenizer(path: Path) -> bool:
    names = ("tokenizer.json", "vocab.txt")
    folders = (path, path / "tokenizer", path / "model")
    return path.name in names or any((folder / name).is_file() for folder in folders for name in names)
