"""`maskling inspect`: show anything that the project reads or writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskling.cli.inputs import check_sources, corpus_settings, reading_report
from maskling.cli.options import SettingPairs, setting_layers
from maskling.console import Console
from maskling.errors import SettingsError

if TYPE_CHECKING:
    from maskling.cli.views import View
    from maskling.train.recipe import Recipe


def inspect(
    *what: Annotated[str, Parameter(help="prepared folder, tokenizer, run, checkpoint, model folder; or text files")],
    text: Annotated[str | None, Parameter(help="show the tokens of this text")] = None,
    example: Annotated[int | None, Parameter(help="show this masked example of a prepared folder or run")] = None,
    preset: Annotated[
        str | None, Parameter(help="with --example: use the settings of this preset", metavar="NAME")
    ] = None,
    config: Annotated[
        Path | None, Parameter(help="settings file (TOML), for --example or for reading text", metavar="FILE")
    ] = None,
    samples: Annotated[int, Parameter(help="number of documents to show")] = 2,
    verify: Annotated[bool, Parameter(help="check every file against its checksum")] = False,
    json: Annotated[bool, Parameter(help="one JSON object on stdout")] = False,
    settings: SettingPairs = (),
) -> None:
    """Show what is in text, prepared data, a tokenizer, a run or a model.

    Text files, a tokenizer, prepared data, a masked example, a checkpoint, a run, or a model. Settings choose how text
    is read (--corpus.plain line) or how an example is masked (--masking.kind span).

    Example: maskling inspect data/ --example 7 --masking.kind word
    """
    if not what:
        raise SettingsError("give something to inspect, for example: maskling inspect data/ --example 7")
    check_sources(what)
    kind = artefact_kind(what)
    _check_options(kind, text, example, preset, config, samples, verify, settings)
    console = Console(as_json=json)
    view = _view(kind, what, text, example, preset, config, samples, verify, settings, console)
    console.clear()
    for line in view.lines:
        console.result(line)
    console.data(view.facts)


def artefact_kind(what: tuple[str, ...]) -> str:
    """Return data, checkpoint, run, model or tokenizer by the files of a folder; anything else is text."""
    path = Path(what[0])
    if len(what) > 1:
        return "text"
    if path.name.endswith(("tokenizer.json", "vocab.txt")) and path.is_file():
        return "tokenizer"
    marks = {
        "data": ["manifest.json"],
        "checkpoint": ["state.json"],
        "run": ["config.toml"],
        "model": ["config.json"],
        "tokenizer": ["tokenizer.json", "vocab.txt"],
    }
    return next((kind for kind, names in marks.items() if any((path / name).is_file() for name in names)), "text")


def _check_options(
    kind: str,
    text: str | None,
    example: int | None,
    preset: str | None,
    config: Path | None,
    samples: int,
    verify: bool,
    settings: SettingPairs,
) -> None:
    """Raise SettingsError for an option that has no effect on this kind of artefact."""
    if samples < 0:
        raise SettingsError(f"--samples is {samples}; it must be 0 or more")
    if example is not None and kind not in ("data", "run"):
        raise SettingsError("--example needs a prepared folder or a run, and this is neither")
    if example is not None and example < 0:
        raise SettingsError(f"--example is {example}; the first example is 0")
    if example is not None and text is not None:
        raise SettingsError("--example shows an example, --text the tokens of a text; give one of them")
    if verify and kind != "data":
        raise SettingsError(
            "--verify needs a prepared folder; checkpoints are always checked, and other things have no checksums"
        )
    chosen = [*(["preset"] if preset else []), *(["config"] if config else []), *(name for name, _ in settings)]
    if chosen and example is None and (kind != "text" or text is not None):
        raise SettingsError(f"--{chosen[0]} has no effect here; use it with --example, or with text to read")


def _view(
    kind: str,
    what: tuple[str, ...],
    text: str | None,
    example: int | None,
    preset: str | None,
    config: Path | None,
    samples: int,
    verify: bool,
    settings: SettingPairs,
    console: Console,
) -> View:
    path = Path(what[0])
    if text is not None or kind == "tokenizer":
        from maskling.cli.views.tokenizer import view_tokenizer

        return view_tokenizer(path, text)
    if example is not None:
        from maskling.cli.views.data import view_example

        recipe = _recipe(path, kind, preset, config, settings)
        folder = path if kind == "data" else Path(recipe.data.path)
        if not folder.exists():
            raise SettingsError(
                f"{path} was trained on {folder}, which does not exist (relative to this folder); "
                f"give --data.path FOLDER"
            )
        return view_example(folder, recipe, example)
    if kind == "data":
        from maskling.cli.views.data import view_data

        return view_data(path, samples, verify)
    if kind == "text":
        from maskling.cli.views.corpus import view_corpus

        return view_corpus(what, corpus_settings(settings, what, "files", config), samples, reading_report(console))

    from maskling.cli.views.run import view_checkpoint, view_model, view_run

    return {"checkpoint": view_checkpoint, "run": view_run, "model": view_model}[kind](path)


def _recipe(path: Path, kind: str, preset: str | None, config: Path | None, settings: SettingPairs) -> Recipe:
    """Return the settings to make an example with: those of the run, or those given."""
    from maskling.config import load_toml, resolve
    from maskling.train.recipe import Recipe, read_recipe

    if kind == "run" and preset is None and config is None:
        return resolve(Recipe, [load_toml(path / "config.toml"), *setting_layers(None, settings)]).settings
    return read_recipe(setting_layers(config, settings, preset=preset)).settings
