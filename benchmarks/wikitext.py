"""Wikitext to prose: maskling vs. strip_code of mwparserfromhell, on the articles of real dumps.

    python benchmarks/wikitext.py DUMP.xml.bz2 [--megabytes 2] [--rounds 5] [--quick]

Both sides get the same wikitext in memory and take turns; reading and decompression are not timed. strip_code leaves
captions, tables and categories in the text, so that the sides differ in what they do as well.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from common import alternating, parser_of, report

EXAMPLE = (
    "'''Berlin''' ({{IPAc-en|b|ɜr|ˈ|l|ɪ|n}}) is the [[capital city|capital]] of [[Germany]].<ref>{{cite web|url=http://x}}"
    "</ref>\n\n== History ==\n[[File:A.jpg|thumb|A [[cat]]]]\nIt has {{convert|892|km2}} and ''many'' [[tree]]s.\n"
    "{| class=x\n| a || b\n|}\n* One\n* Two [http://y.org three]\n"
)


def main() -> None:
    parser = parser_of(__doc__, "--quick", "--json")
    parser.add_argument("dumps", nargs="*", type=Path)
    parser.add_argument("--megabytes", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--language", default="en")
    options = parser.parse_args()
    if options.quick:
        options.megabytes, options.rounds = 0.05, 1
    pages = wikitext(options.dumps, int(options.megabytes * 1e6)) or [EXAMPLE] * 50
    size = sum(len(page.encode()) for page in pages)
    from maskling.corpus.wikitext.language_tables import language_tables
    from maskling.corpus.wikitext.prose import to_prose
    from maskling.corpus.wikitext.settings import WikiSettings

    tables, settings = language_tables(options.language), WikiSettings()
    runs: dict[str, Any] = {"maskling": lambda: [to_prose(page, tables, settings) for page in pages]}
    try:
        import mwparserfromhell
    except ImportError:
        print("pip install mwparserfromhell to compare with it")
    else:
        runs["mwparserfromhell"] = lambda: [mwparserfromhell.parse(page).strip_code() for page in pages]
    seconds = alternating(runs, options.rounds, time.process_time)
    rows: list[dict[str, Any]] = [
        {"side": name, "seconds": took, "MB/s": size / took / 1e6, "maskling is x": took / seconds["maskling"]}
        for name, took in seconds.items()
    ]
    report("wikitext", rows, options.json)


def wikitext(dumps: list[Path], size: int) -> list[str]:
    """Return the wikitext of the first articles, about `size` characters."""
    from maskling.corpus.decoding import decode
    from maskling.corpus.document import Source
    from maskling.corpus.opening import FileReport, open_bytes
    from maskling.corpus.readers.wiki_pages import PageReader
    from maskling.corpus.settings import CorpusSettings

    found: list[str] = []
    for dump in dumps:
        with open_bytes(Source(str(dump))) as stream:
            for page in PageReader(decode(stream, CorpusSettings(), FileReport(str(dump)))).pages():
                if page.text:
                    found.append(page.text)
                    if (size := size - len(page.text)) <= 0:
                        return found
    return found


if __name__ == "__main__":
    main()
