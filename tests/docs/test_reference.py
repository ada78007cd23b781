"""The generated pages of docs/reference are up to date and complete."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from maskling.cli import VERBS
from maskling.config import flatten
from maskling.data.masking import MASKINGS
from maskling.data.packing import PACKINGS
from maskling.data.pairing import PAIRINGS
from maskling.data.prepare.settings import PrepareSettings
from maskling.model.config import MODELS
from maskling.train.optimizer import OPTIMIZERS
from maskling.train.recipe import Recipe, preset_names
from maskling.train.schedule import SCHEDULES

DOCS = Path(__file__).parents[2] / "docs"
STRATEGIES = {
    "model": MODELS,
    "pairing": PAIRINGS,
    "masking": MASKINGS,
    "packing": PACKINGS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}


def generate(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, DOCS / "generate.py", *options], capture_output=True, text=True, check=False)


def tables(page: str) -> dict[str, str]:
    """Return the text below each heading of a page in docs/reference."""
    parts = (DOCS / "reference" / page).read_text(encoding="utf-8").split("\n#")
    return {part.partition("\n")[0].lstrip("# "): part for part in parts}


def test_pages_are_fresh() -> None:
    done = generate("--check")
    assert done.returncode == 0, done.stderr


def test_a_stale_page_is_named(tmp_path: Path) -> None:
    copy = tmp_path / "docs"
    for path in [DOCS / "generate.py", *(DOCS / "generator").glob("*.py"), *(DOCS / "reference").glob("*.md")]:
        target = copy / path.relative_to(DOCS)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    page = copy / "reference" / "presets.md"
    page.write_text(page.read_text(encoding="utf-8").replace("section 3", "section 4"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, copy / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "presets.md" in done.stderr
    assert "settings.md" not in done.stderr


@pytest.mark.parametrize(("section", "kind"), [(name, kind) for name, table in STRATEGIES.items() for kind in table])
def test_every_setting_of_every_strategy_has_a_row(section: str, kind: str) -> None:
    found = [text for title, text in tables("settings.md").items() if title.startswith(f'[{section}] kind = "{kind}"')]
    assert len(found) == 1
    for name in STRATEGIES[section][kind].model_fields:
        assert name == "kind" or f"| `{name}` |" in found[0]


@pytest.mark.parametrize("model", [Recipe, PrepareSettings])
def test_every_default_is_in_the_page(model: type[BaseModel]) -> None:
    page = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    for path in flatten(model().model_dump()):
        section, _, name = path.rpartition(".")
        assert name == "kind" or f"| `{name}` |" in page
        assert not section or f"[{section}]" in page


def test_every_preset_and_verb_has_its_section() -> None:
    assert set(preset_names()) <= tables("presets.md").keys()
    assert set(VERBS) <= tables("cli.md").keys()
