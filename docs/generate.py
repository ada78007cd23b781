"""Generate the pages of docs/reference that follow from the code: settings.md, presets.md and cli.md.

python docs/generate.py            write them
python docs/generate.py --check    list those that are out of date, and write nothing
"""

from __future__ import annotations

import sys
from pathlib import Path

from generator.cli import cli_page
from generator.presets import presets_page
from generator.settings import settings_page

REFERENCE = Path(__file__).parent / "reference"
PAGES = {"settings.md": settings_page, "presets.md": presets_page, "cli.md": cli_page}
MADE_BY = "<!-- Generated from the code by docs/generate.py; change the code, not this page. -->\n\n"


def main(check: bool) -> int:
    """Write or check the pages; return the exit code."""
    stale = 0
    for name, page in PAGES.items():
        path, text = REFERENCE / name, MADE_BY + page()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            stale += 1
            sys.stderr.write(f"docs/reference/{name} is out of date; run: python docs/generate.py\n")
        else:
            path.write_text(text, encoding="utf-8")
    return min(stale, 1)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
