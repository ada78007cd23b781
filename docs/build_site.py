"""Build the documentation as a site with search, and check every link in it.

python docs/build_site.py              write build/site
python docs/build_site.py --out DIR    write DIR/site

Serve it with: python -m http.server --directory build/site

The pages and their order come from docs/index.md. Links to files outside docs/ become links to the repository, whose
address is in pyproject.toml. The build needs no network. The pages are plain Markdown, so another generator would do.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
PAGES = ("*.md", "*.png", "*.svg")
LINK = re.compile(r"(\[[^\]]*\]\()(?![a-z]+:|#)([^)\s#]+)")
SECTION = re.compile(r"^\*\*(.+)\*\*$", re.MULTILINE)
FEATURES = ["navigation.sections", "navigation.footer", "content.code.copy", "search.highlight", "toc.follow"]
LIGHT_AND_DARK = [
    {"media": "(prefers-color-scheme: light)", "scheme": "default", "toggle": {"name": "Dark", "icon": "lucide/sun"}},
    {"media": "(prefers-color-scheme: dark)", "scheme": "slate", "toggle": {"name": "Light", "icon": "lucide/moon"}},
]
# Extensions of Python-Markdown that the pages use.
EXTENSIONS = ["tables", "attr_list", "sane_lists", "pymdownx.superfences", "pymdownx.highlight"]


def repository() -> str:
    """Return the address of the repository."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"])


def contents() -> list[dict[str, object]]:
    """Return the sections of docs/index.md with their pages, in order."""
    found: list[dict[str, object]] = [{"Home": "index.md"}]
    parts = SECTION.split((DOCS / "index.md").read_text(encoding="utf-8"))
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        found.append({title: [target for _, target in LINK.findall(body) if target.endswith(".md")]})
    return found


def outward(text: str, page: Path, address: str) -> str:
    """Return a page whose links to files outside docs/ lead to the repository."""

    def absolute(match: re.Match[str]) -> str:
        target = (page.parent / match[2]).resolve()
        if target.is_relative_to(DOCS) or not target.exists():
            return match[0]
        return f"{match[1]}{address}/blob/main/{target.relative_to(ROOT).as_posix()}"

    return LINK.sub(absolute, text)


def copy_pages(to: Path) -> None:
    """Copy the pages and their pictures."""
    shutil.rmtree(to, ignore_errors=True)
    address = repository()
    for page in sorted(page for pattern in PAGES for page in DOCS.rglob(pattern)):
        target = to / page.relative_to(DOCS)
        target.parent.mkdir(parents=True, exist_ok=True)
        if page.suffix == ".md":
            target.write_text(outward(page.read_text(encoding="utf-8"), page, address), encoding="utf-8")
        else:
            shutil.copyfile(page, target)


def settings() -> str:
    """Return the settings of the site generator: no web fonts, file names as addresses, light and dark."""
    project = {
        "site_name": "maskling",
        "site_description": "Pretrain your own BERT",
        "repo_url": repository(),
        "docs_dir": "pages",
        "site_dir": "site",
        "use_directory_urls": False,
        "nav": contents(),
        "theme": {"font": False, "language": "en", "features": FEATURES, "palette": LIGHT_AND_DARK},
        "markdown_extensions": {name: {} for name in EXTENSIONS} | {"toc": {"permalink": True}},
    }
    return f"[project]\n{''.join(f'{key} = {_toml(value)}' + chr(10) for key, value in project.items())}"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


class Page(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self, path: Path) -> None:
        """Read a page."""
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element's links and anchors."""
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.links.append(value)
            elif value and (name == "id" or (tag == "a" and name == "name")):
                self.anchors.add(value)


def dead_links(site: Path) -> Iterator[str]:
    """Yield each link of a built site whose file or anchor is missing."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                yield f"{path.relative_to(site.resolve())}: {link} does not exist"
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{path.relative_to(site.resolve())}: {link} names a heading that does not exist"


def main(out: Path) -> int:
    """Build the site and check it; return the exit code."""
    out.mkdir(parents=True, exist_ok=True)
    copy_pages(out / "pages")
    (out / "zensical.toml").write_text(settings(), encoding="utf-8")
    shutil.rmtree(out / "site", ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", "zensical.toml"]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        return 1
    dead = list(dead_links(out / "site"))
    sys.stderr.write("".join(f"{line}\n" for line in dead))
    sys.stderr.write(f"{out / 'site'} written, {len(dead)} dead links\n")
    return min(len(dead), 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="folder to write to")
    sys.exit(main(parser.parse_args().out.resolve()))
