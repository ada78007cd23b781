"""The format of a source, by its name and its first bytes: which reader, or why it is not read."""

from __future__ import annotations

import codecs
import posixpath
import re
from typing import Final

from maskling.corpus.document import Source
from maskling.corpus.opening import read_head
from maskling.corpus.readers import READERS, ReadFunction
from maskling.corpus.settings import CorpusSettings
from maskling.errors import CorpusError

ARCHIVES: Final = (".zip", ".tar")
SUFFIXES: Final = frozenset((*(suffix for reader in READERS.values() for suffix in reader.suffixes), *ARCHIVES))
# The files of WikiExtractor have no suffix; in a folder they are known by name.
_WIKI_NAME = re.compile(r"wiki_\d+")
# Parts of dumps: enwiki-20260901-pages-articles1.xml-p1p41242.bz2.
_DUMP_PART: Final = re.compile(r"\.xml-p\d+p\d+")
_DUMP_INDEX: Final = re.compile(r"multistream-index\d*\.txt")
_XML_SUFFIX: Final = ".xml"
_BY_SUFFIX: Final = {suffix: name for name, reader in READERS.items() for suffix in reader.suffixes}

_TO_TEXT = "save it as plain text, HTML or EPUB, for example with 'libreoffice --headless --convert-to txt'"
_XML = "convert it to text or JSON Lines first, or set corpus.format to plain to read the markup as text"
_WARC = "extract the text first, for example with trafilatura, and give it as JSON Lines"
_NO_TEXT = "leave it out"
_TABLE = "save it as CSV or Parquet"
_PICKLE = "write its texts as JSON Lines"
_UNPACK = "unpack it, or pack it as .zip or .tar"
_MAIL = "write its messages as text files or JSON Lines, or set corpus.format to plain to read it as it is"
# What to do instead, by suffix.
_REFUSED: Final = {
    ".pdf": "convert it to text first, for example with pdftotext",
    **dict.fromkeys((_XML_SUFFIX, ".sgml", ".sgm", ".rss", ".tei", ".tmx", ".xliff"), _XML),
    **dict.fromkeys((".warc", ".arc", ".wet", ".wat"), _WARC),
    **dict.fromkeys((".doc", ".docx", ".docm", ".dot", ".dotx", ".odt", ".ott", ".rtf", ".pages", ".wpd"), _TO_TEXT),
    **dict.fromkeys((".ppt", ".pptx", ".odp", ".key"), _TO_TEXT),
    **dict.fromkeys((".xls", ".xlsx", ".xlsm", ".xlsb", ".ods", ".numbers"), _TABLE),
    **dict.fromkeys((".sav", ".dta", ".sas7bdat", ".rds", ".rdata", ".h5", ".hdf5", ".orc", ".avro"), _TABLE),
    **dict.fromkeys(
        (".sqlite", ".sqlite3", ".db", ".mdb", ".accdb", ".duckdb"), "export its table as CSV or JSON Lines"
    ),
    **dict.fromkeys((".ps", ".eps", ".djvu"), "convert it to text first, for example with ps2ascii or djvutxt"),
    **dict.fromkeys(
        (".mobi", ".azw", ".azw3", ".fb2", ".lit", ".chm"), "convert it to EPUB first, for example with calibre"
    ),
    **dict.fromkeys((".mbox", ".msg", ".eml", ".pst"), _MAIL),
    ".ipynb": "convert it first, for example with 'jupyter nbconvert --to markdown'",
    **dict.fromkeys((".7z", ".rar", ".lz", ".lz4", ".lzma", ".br", ".z", ".sz", ".cab", ".iso", ".jar"), _UNPACK),
    **dict.fromkeys((".pkl", ".pickle", ".npy", ".npz", ".mat", ".tfrecord", ".mdb", ".lmdb", ".beton"), _PICKLE),
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".onnx", ".gguf", ".model", ".pb"), _NO_TEXT),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".svg", ".ico"), _NO_TEXT),
    **dict.fromkeys((".heic", ".mp3", ".wav", ".flac", ".ogg", ".m4a", ".mp4", ".mkv", ".avi", ".mov"), _NO_TEXT),
    **dict.fromkeys((".webm", ".exe", ".dll", ".so", ".pyc", ".class", ".o", ".woff", ".woff2", ".ttf"), _NO_TEXT),
}
# Text with markup, which is read as it is: what the markup is, by suffix.
_MARKUP: Final = {
    **dict.fromkeys((".tex", ".latex", ".bib", ".sty"), "LaTeX commands"),
    **dict.fromkeys((".srt", ".vtt", ".sbv", ".ass", ".ssa", ".lrc"), "times of subtitles"),
    **dict.fromkeys((".rst", ".org", ".adoc", ".asciidoc", ".textile", ".wiki", ".mediawiki"), "markup"),
    **dict.fromkeys((".po", ".pot", ".properties", ".strings", ".ini", ".toml", ".yaml", ".yml"), "keys"),
    **dict.fromkeys((".conll", ".conllx", ".vert", ".vrt"), "columns of annotation"),
    ".sql": "SQL",
}
# The first bytes of files that are not text, whatever their name, what they are and what to do instead.
_MAGIC: Final = (
    (b"%PDF-", "PDF", _REFUSED[".pdf"]),
    (b"WARC/", "a web archive (WARC)", _WARC),
    (b"{\\rtf", "RTF", _TO_TEXT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old office document", _TO_TEXT),
    (b"%!PS", "PostScript", _REFUSED[".ps"]),
    (b"AT&TFORM", "DjVu", _REFUSED[".ps"]),
    (b"SQLite format 3\0", "an SQLite database", _REFUSED[".sqlite"]),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"\x89PNG\r\n\x1a\n", "an image", _NO_TEXT),
    (b"\xff\xd8\xff", "an image", _NO_TEXT),
    (b"GIF87a", "an image", _NO_TEXT),
    (b"GIF89a", "an image", _NO_TEXT),
    (b"\x7fELF", "a program", _NO_TEXT),
    (b"\x93NUMPY", "a NumPy array", _PICKLE),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _TABLE),
    (b"Obj\x01", "an Avro file", _TABLE),
    *((magic, "compressed twice", "unpack it once") for magic in (b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")),
)
# The first lines of one mail, or of a folder of mail.
_MAIL_HEAD = re.compile(rb"(?:From \S+[^\n]*\r?\n)?(?:(?:[A-Z][\w-]*: [^\n]*|[ \t]+[^\n]+)\r?\n){2,}")
_MAIL_FIELD = re.compile(rb"^(?:From \S+ |Return-Path:|Received:|Message-ID:)", re.IGNORECASE | re.MULTILINE)

# The first bytes of formats that have a reader.
_READABLE: Final = ((b"PAR1", "parquet"), (b"ARROW1\0\0", "arrow"))
_XML_MARKUP = re.compile(
    rb"<\?xml\b|<mediawiki\b|<!DOCTYPE (?!html)[\w-]+ |<(?:TEI|teiCorpus|rss|feed|tmx|text|corpus)\b[^<>]*>"
    rb"|<[\w:.-]+\s[^<>]*\bxmlns(?::\w+)?\s*=",
    re.IGNORECASE,
)
_DUMP: Final = re.compile(rb"(?:<\?xml\b[^<>]*>\s*)?(?:<mediawiki\b|<page>\s*<title>)")
_HTML_MARKUP = re.compile(
    rb"(?:<\?xml[^>]*>\s*|<!--.{0,5000}?-->\s*)*<(?:!DOCTYPE\s+html|html)\b", re.IGNORECASE | re.DOTALL
)
_DOC = re.compile(rb'<doc id="[^"\n]*" (?:rev\w+="[^"\n]*" )?url="[^"\n]*" title="[^\n]*">\r?\n')
_OFFICE_MEMBERS = (b"[Content_Types].xml", b"_rels/", b"word/", b"xl/", b"ppt/", b"docProps/")


def is_readable(source: Source) -> bool:
    """Return whether a file that was found in a folder or an archive has a reader."""
    suffix = source.suffix
    if suffix == _XML_SUFFIX:
        return _may_be_dump(source)
    return (
        suffix in SUFFIXES
        or bool(_DUMP_PART.fullmatch(suffix))
        or (not suffix and bool(_WIKI_NAME.match(posixpath.basename(source.name))))
    )


def _may_be_dump(source: Source) -> bool:
    """Return whether XML is a dump of MediaWiki, or cannot be looked into; the reader reports why, then."""
    try:
        head = read_head(source)
    except (OSError, CorpusError):
        return True
    return not head or is_dump(head)


def is_dump(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is an XML dump of MediaWiki."""
    return bool(_DUMP.match(_as_utf8(head).lstrip()))


def _as_utf8(head: bytes) -> bytes:
    """Return the first bytes of a text in UTF-8 without a mark, if a mark says what they are in."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return head.decode("utf-16", "replace").encode("utf-8", "replace")
    return head.removeprefix(codecs.BOM_UTF8)


def find_reader(source: Source, settings: CorpusSettings) -> ReadFunction | str:
    """Return the reader of a source, or the suffix of an archive to be read member by member.

    An unknown suffix means plain text, unless the first bytes show another format.
    Raises CorpusError for a format that is not read.
    """
    suffix = source.suffix
    if suffix in ARCHIVES:
        return suffix
    if settings.format != "auto":
        return READERS[settings.format].read
    name = _BY_SUFFIX.get(suffix)
    if name not in (None, "plain"):
        return READERS[name or ""].read
    if _DUMP_INDEX.search(source.name.lower()):
        raise CorpusError("is the index of a multistream dump, not text: leave it out, the dump is read without it")
    if (suffix == _XML_SUFFIX and _may_be_dump(source)) or _DUMP_PART.fullmatch(suffix):
        return READERS["wiki"].read
    if suffix in _REFUSED:
        raise CorpusError(f"'{suffix}' files are not read: {_REFUSED[suffix]}")
    return _recognised(read_head(source), named_text=name == "plain")


def kept_markup(source: Source, settings: CorpusSettings) -> str | None:
    """Return what a source that is read as plain text has besides its text, by its suffix, or None."""
    return _MARKUP.get(source.suffix) if settings.format == "auto" else None


def _recognised(head: bytes, named_text: bool) -> ReadFunction | str:
    """Return the reader by the first bytes of a file. named_text: its suffix is that of plain text."""
    for magic, what, advice in _MAGIC:
        if head.startswith(magic):
            raise CorpusError(f"is {what}, not text: {advice}")
    if head.startswith(b"PK\x03\x04"):
        first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        if first == b"mimetype":
            if head[38:].startswith(b"application/epub+zip"):
                return READERS["epub"].read
            raise CorpusError(f"is an office document, not text: {_TO_TEXT}")
        if first.startswith(_OFFICE_MEMBERS):
            raise CorpusError(f"is an office document, not text: {_TO_TEXT}")
        return ".zip"
    if head[257:262] == b"ustar":
        return ".tar"
    for magic, name in _READABLE:
        if head.startswith(magic):
            return READERS[name].read
    text = _as_utf8(head).lstrip()
    if _DUMP.match(text):
        return READERS["wiki"].read
    if _DOC.match(text):
        return READERS["wikiextractor"].read
    if _HTML_MARKUP.match(text) and not named_text:
        return READERS["html"].read
    if _XML_MARKUP.match(text):
        raise CorpusError(f"is XML, not plain text: {_XML}")
    if (mail := _MAIL_HEAD.match(text)) and _MAIL_FIELD.search(mail[0]):
        raise CorpusError(f"is mail with its headers, not plain text: {_MAIL}")
    if not named_text and re.match(rb'[\[{]\s*[{"]', text):
        return READERS["json"].read
    return READERS["plain"].read
