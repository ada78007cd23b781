"""What the pages for people point to exists: files, headings, tests, commands and settings."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from maskling.cli.inputs import corpus_settings
from maskling.cli.main import split_verbosity, verb_and_rest, verb_function
from maskling.cli.options import Pairs, bind, setting_layers
from maskling.config import Layer, Settings, flatten, resolve
from maskling.data.prepare.settings import PrepareSettings
from maskling.data.prepare.tokenizer_stage import TokenizerTrainingSettings
from maskling.errors import SettingsError
from maskling.finetuning.recipe import FinetuneRecipe, read_finetune_recipe
from maskling.train.recipe import Recipe, read_recipe

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("README*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
TEST = re.compile(r"(?:tests/)?((?!tests/)(?:\w+/)+test_\w+\.py)(?:::(test_\w+))?")
# A setting in prose: `train.steps`, `corpus.filters.min_characters`.
SETTING = re.compile(r"(?:maskling .*--)?(?:--)?([a-z]+(?:\.[a-z0-9_-]+)+)")
FILES = (".py", ".md", ".json", ".jsonl", ".toml", ".npy", ".safetensors", ".txt", ".zst", ".model", "/")


def known_settings() -> set[str]:
    """The dotted path of every setting of every section and strategy, with and without its strategy chosen."""
    roots: list[type[Settings]] = [Recipe, FinetuneRecipe, PrepareSettings, TokenizerTrainingSettings]
    return {path for root in roots for path in _paths(root, "")}


def _paths(model: type[Settings], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in _models(field.annotation):
            yield from _paths(inner, f"{prefix}{name}.")


def _models(annotation: Any) -> list[type[Settings]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, Settings) else []
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]


def blocks(page: Path, language: str | None = None) -> list[str]:
    return [text for kind, text in FENCE.findall(page.read_text(encoding="utf-8")) if language in (None, kind)]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def commands(page: Path) -> list[str]:
    """Every `maskling ...` in a page's blocks that is meant to work: what is shown with its error is left out."""
    found = []
    for block in blocks(page):
        lines = [*block.replace("\\\n", " ").splitlines(), ""]
        for line, below in pairwise(lines):
            parts = [part.split("|")[-1].strip() for part in line.removeprefix("$ ").split("&&")]
            if not below.startswith("error:") and "[OPTIONS]" not in line:
                found += [part for part in parts if re.match(r"maskling [a-z]+( |$)", part)]
    return found


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_resolve(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        found = page.parent / name if name else page
        assert found.exists(), f"{page.name} points to {target}"
        if anchor:
            assert anchor in anchors(found), f"{page.name} points to {target}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_parse(page: Path) -> None:
    for command in commands(page):
        verb, words = verb_and_rest(split_verbosity(shlex.split(command, comments=True)[1:])[0])
        bound = bind(verb, verb_function(verb), words)
        _resolve(verb, bound.arguments.get("settings", ()), bound.arguments.get("preset"))


def _resolve(verb: str, pairs: Pairs, preset: str | None) -> None:
    given = setting_layers(None, pairs, preset=preset)
    if verb == "prepare":
        resolve(PrepareSettings, given)
    elif verb == "tokenizer":
        resolve(TokenizerTrainingSettings, given)
    elif verb in ("train", "config"):
        read_recipe(given)
    elif verb == "finetune":
        read_finetune_recipe(given)
    elif verb in ("evaluate", "tokenizer extend", "fill", "embed", "score", "search"):
        corpus_settings(pairs, ["text"], "")
    elif verb == "inspect":
        of_text = [pair for pair in pairs if pair[0].startswith("corpus.")]
        corpus_settings(tuple(of_text), ["text"], "")
        read_recipe(setting_layers(None, tuple(pair for pair in pairs if pair not in of_text), preset=preset))
    else:
        assert not pairs, f"{verb} takes no settings"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_settings_in_prose_exist(page: Path) -> None:
    known = known_settings()
    sections = {path.split(".")[0] for path in known if "." in path}
    for code in INLINE.findall(prose(page)):
        match = SETTING.match(code)
        if match and match[1].split(".")[0] in sections and not match[1].endswith(FILES):
            assert match[1].replace("-", "_") in known, f"{page.name} speaks of {code}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_settings_files_are_read(page: Path) -> None:
    for block in blocks(page, "toml"):
        tree = tomllib.loads(block)
        layer = Layer(page.name, tree)
        if set(flatten(tree)) <= {path for path in known_settings() if path.split(".")[0] in Recipe.model_fields}:
            read_recipe([layer])
        else:
            resolve(PrepareSettings, [layer])


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_named_tests_exist(page: Path) -> None:
    if page.name == "journal.md":
        pytest.skip("the journal names tests as they were called on its days")
    for file, name in TEST.findall(page.read_text(encoding="utf-8")):
        path = ROOT / "tests" / file
        assert path.exists(), f"{page.name} names tests/{file}"
        assert not name or f"def {name}(" in path.read_text(encoding="utf-8"), f"{page.name} names {file}::{name}"


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    listed = {(index.parent / target).resolve() for target in LINK.findall(prose(index))}
    assert [page for page in (ROOT / "docs").rglob("*.md") if page.resolve() not in {*listed, index}] == []


def test_a_setting_that_is_none_is_found() -> None:
    with pytest.raises(SettingsError, match="did you mean 'steps'"):
        _resolve("train", (("train.step", "5"),), None)
    assert "masking.stop" in known_settings()
    assert "corpus.filters.min_characters" in known_settings()
    assert "train.step" not in known_settings()
