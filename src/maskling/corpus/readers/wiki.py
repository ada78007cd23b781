"""Readers of Wikipedia: XML dumps of MediaWiki in all their forms, and files of wikitext without XML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from maskling.corpus.decoding import decode
from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_bytes
from maskling.corpus.readers.wiki_pages import Header, Page, PageReader
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.wikitext.language_tables import LanguageTables, has_table, language_tables
from maskling.corpus.wikitext.prose import is_redirect, to_prose
from maskling.corpus.wikitext.wiki_names import language_of_name
from maskling.errors import CorpusError

# Why a page is left out, as `prepare` counts it.
REDIRECT: Final = "redirect"
OTHER_NAMESPACE: Final = "outside_namespace_0"
DISAMBIGUATION: Final = "disambiguation"
DELETED: Final = "deleted_text"
NOT_WIKITEXT: Final = "not_wikitext"
_MOST_TEMPLATES: Final = 100_000
_FILE, _CATEGORY = 6, 14


@dataclass(frozen=True, slots=True)
class WikiLanguage:
    """The language of a wiki: `code` for its tables, and `sentences` for splitting sentences, if there is a rule."""

    code: str
    sentences: str | None


def read_wiki(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield a document for each article of an XML dump: its prose, of the last revision.

    Pages outside namespace 0, redirects and disambiguations are counted in `report.left_out`. settings.id_field may
    name 'title' or 'id'. Raises CorpusError for XML that is no dump.
    """
    with open_bytes(source, report) as stream:
        reader = PageReader(decode(stream, settings, report))
        if not reader.header.found:
            raise CorpusError("is not a MediaWiki dump: it has neither <mediawiki> nor <page>")
        language = choose_language(source, settings, report, reader.header)
        names = reader.header.namespaces
        tables = language_tables(
            language.code, *(((names[key],) if key in names else ()) for key in (_FILE, _CATEGORY))
        )
        for page in reader.pages():
            document = _article(page, source, settings, report, tables, language, reader.header)
            if document is not None:
                yield document


def read_wikitext(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield the prose of a file that is the wikitext of one page."""
    with open_bytes(source, report) as stream:
        text = "".join(decode(stream, settings, report))
    language = choose_language(source, settings, report)
    prose = to_prose(text, language_tables(language.code), settings.wiki)
    _count_templates(prose.dropped, report)
    yield Document(prose.text, f"{source.name}:1", source.location, language=language.sentences)


def choose_language(
    source: Source, settings: CorpusSettings, report: FileReport, header: Header | None = None
) -> WikiLanguage:
    """Return the language of a wiki: by the name of its file, else corpus.language, else what the dump says."""
    named = language_of_name(source.name)
    wanted = settings.language if settings.language != "auto" else None
    if named is not None and wanted is not None and named.partition("_")[0] != wanted:
        report.notes[f"dump has the language {named} in its name, so that corpus.language = {wanted} is not used"] += 1
    code = named or wanted
    if code is None and header is not None:
        code = language_of_name(header.database) or header.language or None
    code = (code or "en").lower().replace("-", "_")
    code = code if has_table(code) else code.partition("_")[0] if has_table(code.partition("_")[0]) else code
    if not has_table(code):
        report.notes[f"dump in the language '{code}' is read with English names of headings and templates only"] += 1
    return WikiLanguage(code, code if has_table(code) and "_" not in code else None)


def _article(
    page: Page,
    source: Source,
    settings: CorpusSettings,
    report: FileReport,
    tables: LanguageTables,
    language: WikiLanguage,
    header: Header,
) -> Document | None:
    """Return the document of a page, or count why there is none."""
    reason = _reason(page, tables, header)
    if reason is not None:
        report.left_out[reason] += 1
        return None
    if page.problem is not None:
        report.add_fault(f"page '{page.title[:100]}' {page.problem}")
    if page.text is None:
        if page.problem is None:
            report.left_out[DELETED] += 1
        return None
    prose = to_prose(page.text, tables, settings.wiki)
    if prose.is_disambiguation:
        report.left_out[DISAMBIGUATION] += 1
        return None
    _count_templates(prose.dropped, report)
    names = {"title": page.title, "id": page.id}
    name = names.get(settings.id_field or "") or f"{source.name}:{page.title or page.id}"
    return Document(prose.text, name, source.location, language=language.sentences)


def _reason(page: Page, tables: LanguageTables, header: Header) -> str | None:
    """Return why a page is left out, before its text is looked at."""
    if page.is_redirect or (page.text is not None and is_redirect(page.text, tables)):
        return REDIRECT
    if page.namespace not in (0, None) or (page.namespace is None and _has_namespace(page.title, header)):
        return OTHER_NAMESPACE
    return NOT_WIKITEXT if page.model != "wikitext" else None


def _has_namespace(title: str, header: Header) -> bool:
    """Return whether a title begins with the name of a namespace; dumps before 2011 do not number them."""
    prefix, colon, _ = title.partition(":")
    return bool(colon) and prefix in header.namespaces.values()


def _count_templates(dropped: Mapping[str, int], report: FileReport) -> None:
    for name, count in dropped.items():
        known = name in report.templates or len(report.templates) < _MOST_TEMPLATES
        report.templates[name if known else "other templates"] += count
