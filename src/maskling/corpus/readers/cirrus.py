"""Pages of Cirrus search dumps, which are JSON Lines in pairs: an action, and a page whose `text` is plain already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport
from maskling.corpus.readers.wiki import DISAMBIGUATION, OTHER_NAMESPACE, WikiLanguage, choose_language
from maskling.corpus.readers.wiki_pages import Header
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.wikitext.language_tables import LanguageTables, language_tables, normalized

# A page of a search index of MediaWiki has these, whatever else it has.
_OF_A_PAGE: Final = ("title", "text", "namespace")


def is_cirrus_page(row: Any) -> bool:
    """Return whether a row is a page of a search index of MediaWiki."""
    return isinstance(row, Mapping) and all(name in row for name in _OF_A_PAGE) and isinstance(row["namespace"], int)


class CirrusPages:
    """The pages of one file; the first one says which language they are in, unless the name of the file does."""

    def __init__(self, source: Source, settings: CorpusSettings, report: FileReport) -> None:
        self._source, self._settings, self._report = source, settings, report
        self._language: WikiLanguage | None = None
        self._tables: LanguageTables | None = None

    def document(self, row: Mapping[str, Any]) -> Document | None:
        """Return the document of a page, or count in the report why there is none."""
        if self._language is None or self._tables is None:
            header = Header(True, str(row.get("wiki", "")), str(row.get("language", "")), {})
            self._language = choose_language(self._source, self._settings, self._report, header)
            self._tables = language_tables(self._language.code)
        if row["namespace"] != 0:
            self._report.left_out[OTHER_NAMESPACE] += 1
            return None
        templates = row.get("template")
        names = templates if isinstance(templates, list) else []
        # 'Template:Disambiguation', in the language of the wiki.
        if any(normalized(str(name).rpartition(":")[2]) in self._tables.disambiguation for name in names):
            self._report.left_out[DISAMBIGUATION] += 1
            return None
        title, text = str(row["title"]), row["text"]
        given = {"title": title, "id": str(row.get("page_id", ""))}
        name = given.get(self._settings.id_field or "") or f"{self._source.name}:{title}"
        whole = text if isinstance(text, str) else ""
        return Document(whole, name, self._source.location, language=self._language.sentences)
