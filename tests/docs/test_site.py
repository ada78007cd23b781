"""The documentation site has every page and no dead link; the package's description has no relative one."""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def module(path: str) -> types.ModuleType:
    """Load a script that is in no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


site = module("docs/build_site.py")


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"'([^']+\.md)'", str(site.contents()))
    assert sorted(listed) == sorted(page.relative_to(ROOT / "docs").as_posix() for page in site.DOCS.rglob("*.md"))


def test_links_out_of_the_documentation_lead_to_the_repository() -> None:
    page = ROOT / "docs" / "guides" / "python.md"
    text = "[a](../../README.md#x) [b](serving.md) [c](https://a.b/c) ![d](../../examples/seasons.py)"
    assert site.outward(text, page, "https://e.org/m") == (
        "[a](https://e.org/m/blob/main/README.md#x) [b](serving.md) [c](https://a.b/c) "
        "![d](https://e.org/m/blob/main/examples/seasons.py)"
    )


def test_dead_links_are_named(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text('<h1 id="top"></h1><a href="sub/a.html#x">a</a><img src="no.png">')
    (tmp_path / "sub" / "a.html").write_text('<a href="../index.html#top">a</a><a href="../index.html#gone">b</a>')
    assert sorted(site.dead_links(tmp_path)) == [
        "index.html: no.png does not exist",
        "index.html: sub/a.html#x names a heading that does not exist",
        "sub/a.html: ../index.html#gone names a heading that does not exist",
    ]


def test_the_site_is_built_without_dead_links_and_finds_chinese(tmp_path: Path) -> None:
    pytest.importorskip("zensical")
    assert site.main(tmp_path) == 0
    index = (tmp_path / "site" / "search.json").read_text(encoding="utf-8")
    assert "我需要哪种模型" in index
    for page in (tmp_path / "site").rglob("*.html"):
        assert not re.search(
            r'(?:src|href)="https?://(?!example\.org)[^"]*\.(?:js|css|woff2?)"', page.read_text("utf-8")
        )


def test_the_description_of_the_package_has_absolute_links() -> None:
    pytest.importorskip("hatchling")
    hook = module("hatch_build.py")
    text = "[a](docs/x.md#y) ![b](docs/b.png) [c](https://a.b) [d](#here) [![e](e.png)](f.md)"
    assert hook.with_absolute_links(text, "https://e.org/m", "1.0") == (
        "[a](https://e.org/m/blob/v1.0/docs/x.md#y) ![b](https://e.org/m/raw/v1.0/docs/b.png) [c](https://a.b) "
        "[d](#here) [![e](https://e.org/m/raw/v1.0/e.png)](https://e.org/m/blob/v1.0/f.md)"
    )
