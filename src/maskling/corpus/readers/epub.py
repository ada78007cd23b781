"""Reader of EPUB: the chapters of a book in reading order, one document each."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from urllib.parse import unquote
from xml.etree import ElementTree

from maskling.corpus.decoding import decode
from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_seekable
from maskling.corpus.readers.html import declared_encoding, visible_text
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.web_encodings import codec_decoder
from maskling.errors import CorpusError

# A larger file is not a chapter but a zip bomb: zip compresses a run of zeros a thousandfold.
_LARGEST_CHAPTER = 64 << 20
_DECLARED = re.compile(rb"""(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?encoding=["']([A-Za-z0-9._-]+)["'][^>]*\?>""")
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")


def read_epub(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield a document for each item of the spine that has text, usually a chapter.

    Nothing is unpacked to disk. A chapter that is missing, encrypted or oversized is reported and skipped.
    """
    with open_seekable(source, report) as stream:
        try:
            with zipfile.ZipFile(stream) as book:
                encrypted = _encrypted(book)
                for number, path in enumerate(_spine(book), start=1):
                    try:
                        text = _chapter(book, path, encrypted, settings, report)
                    except CorpusError as error:
                        report.add_fault(f"chapter {path} {error}")
                        continue
                    if text:
                        yield Document(text, f"{source.name}:{number}", source.location)
        except zipfile.BadZipFile as error:
            raise CorpusError(f"is not a complete EPUB: {error}") from None


def _spine(book: zipfile.ZipFile) -> list[str]:
    """Return the paths of the pages in reading order."""
    container = _xml(book, "META-INF/container.xml")
    root = next((element.get("full-path") for element in container.iter() if _tag(element) == "rootfile"), None)
    if not root:
        raise CorpusError("is not an EPUB: META-INF/container.xml names no package")
    package = _xml(book, root)
    pages = {
        element.get("id"): posixpath.normpath(posixpath.join(posixpath.dirname(root), unquote(element.get("href", ""))))
        for element in package.iter()
        if _tag(element) == "item"
        and element.get("media-type") in _PAGES
        and "nav" not in element.get("properties", "").split()
    }
    spine = [element.get("idref") for element in package.iter() if _tag(element) == "itemref"]
    return [pages[name] for name in spine if name in pages]


def _chapter(
    book: zipfile.ZipFile, path: str, encrypted: set[str], settings: CorpusSettings, report: FileReport
) -> str:
    if path in encrypted:
        raise CorpusError("is encrypted (DRM)")
    try:
        info = book.getinfo(path)
    except KeyError:
        raise CorpusError("is listed in the book but missing") from None
    # zipfile never yields more than the size stated here, whatever the compressed data contain.
    if info.file_size > _LARGEST_CHAPTER:
        raise CorpusError(f"has {info.file_size:,} bytes, more than the maximum of {_LARGEST_CHAPTER:,}")
    try:
        with book.open(info) as page:
            blocks = decode(page, settings, report, declared=declared_encoding)  # type: ignore[arg-type]
            return visible_text(blocks, report)
    except (RuntimeError, NotImplementedError) as error:  # a password, or an unknown compression
        raise CorpusError(f"cannot be unpacked: {error}") from None


def _encrypted(book: zipfile.ZipFile) -> set[str]:
    if "META-INF/encryption.xml" not in book.namelist():
        return set()
    elements = _xml(book, "META-INF/encryption.xml").iter()
    return {unquote(element.get("URI", "")) for element in elements if _tag(element) == "CipherReference"}


def _xml(book: zipfile.ZipFile, path: str) -> ElementTree.Element:
    try:
        if book.getinfo(path).file_size > _LARGEST_CHAPTER:
            raise CorpusError(f"is not an EPUB: its {path} is oversized")
        return _parsed(book.read(path))
    except KeyError:
        raise CorpusError(f"is not an EPUB: it has no {path}") from None
    # Invalid XML, an unknown encoding, or zipfile's errors for passwords and unknown compressions.
    except (ElementTree.ParseError, ValueError, LookupError, RuntimeError) as error:
        raise CorpusError(f"is a broken EPUB: {path}: {error}") from None


def _parsed(raw: bytes) -> ElementTree.Element:
    declared = _DECLARED.match(raw)
    if declared is None or declared[1].lower() in (b"utf-8", b"utf-16"):
        return ElementTree.fromstring(raw)
    # The parser supports no other multi-byte encoding than these two; Chinese and Japanese books use others.
    decoder = codec_decoder(declared[1].decode("ascii"), "strict")
    return ElementTree.fromstring(decoder.decode(raw[declared.end() :], final=True))


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
