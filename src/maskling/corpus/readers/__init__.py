"""Readers, one per file format, and the table that selects one by suffix.

A reader takes (source, settings, report), yields Documents while it reads, reports what it
skips with report.add_fault, and lets the READ_ERRORS of opening.py propagate. To add one, write a file and add it to
`READERS`, and its name to `FORMATS` in settings.py.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport
from maskling.corpus.readers.conllu import read_conllu
from maskling.corpus.readers.csv import read_csv, read_tsv
from maskling.corpus.readers.epub import read_epub
from maskling.corpus.readers.fasta import read_fasta
from maskling.corpus.readers.html import read_html
from maskling.corpus.readers.jsonl import read_jsonl
from maskling.corpus.readers.markdown import read_markdown
from maskling.corpus.readers.parquet import read_arrow, read_parquet
from maskling.corpus.readers.text import read_plain
from maskling.corpus.readers.wiki import read_wiki, read_wikitext
from maskling.corpus.readers.wikiextractor import read_wikiextractor
from maskling.corpus.settings import CorpusSettings

ReadFunction = Callable[[Source, CorpusSettings, FileReport], Iterator[Document]]


class FileFormat(NamedTuple):
    """A reader, and the suffixes that select it."""

    read: ReadFunction
    suffixes: tuple[str, ...]


READERS = {
    "plain": FileFormat(read_plain, (".txt", ".text")),
    "jsonl": FileFormat(read_jsonl, (".jsonl", ".ndjson", ".jsonlines")),
    "json": FileFormat(read_jsonl, (".json",)),
    "csv": FileFormat(read_csv, (".csv",)),
    "tsv": FileFormat(read_tsv, (".tsv", ".tab")),
    "parquet": FileFormat(read_parquet, (".parquet",)),
    "arrow": FileFormat(read_arrow, (".arrow", ".feather", ".ipc")),
    "html": FileFormat(read_html, (".html", ".htm", ".xhtml")),
    "markdown": FileFormat(read_markdown, (".md", ".markdown")),
    "epub": FileFormat(read_epub, (".epub",)),
    "wikiextractor": FileFormat(read_wikiextractor, ()),
    # XML is not always a dump: formats.py looks into it.
    "wiki": FileFormat(read_wiki, ()),
    "wikitext": FileFormat(read_wikitext, (".wikitext", ".mediawiki")),
    "fasta": FileFormat(read_fasta, (".fa", ".fasta", ".fas", ".fna", ".faa", ".ffn", ".frn", ".fastq", ".fq")),
    "conllu": FileFormat(read_conllu, (".conllu",)),
}
