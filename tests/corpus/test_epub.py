from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest

CONTAINER = """<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
OPF = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf"><manifest>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="two" href="text/ch%202.xhtml" media-type="application/xhtml+xml"/>
<item id="one" href="../OEBPS/text/one.xhtml" media-type="application/xhtml+xml"/>
<item id="pic" href="pic.png" media-type="image/png"/>
<item id="out" href="../../../etc/passwd" media-type="application/xhtml+xml"/>
</manifest><spine><itemref idref="nav"/><itemref idref="one"/><itemref idref="two"/>SPINE</spine></package>"""
PAGE = """<?xml version='1.0' encoding='utf-8'?><html xmlns='http://www.w3.org/1999/xhtml'>
<head><title>no</title></head><body><p>{}</p></body></html>"""
ENCRYPTION = """<encryption><EncryptedData><CipherData><CipherReference URI='OEBPS/text/one.xhtml'/></CipherData>
</EncryptedData></encryption>"""


def book(spine: str = "", **changed: str | bytes | None) -> bytes:
    files: dict[str, str | bytes | None] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "OEBPS/book.opf": OPF.replace("SPINE", spine),
        "OEBPS/nav.xhtml": PAGE.format("Contents"),
        "OEBPS/text/one.xhtml": PAGE.format("Chapter öne."),
        "OEBPS/text/ch 2.xhtml": PAGE.format("Chapter two."),
    }
    files |= {name.replace("__", "/").replace("_", "."): text for name, text in changed.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            if text is not None:
                archive.writestr(name, text)
    return buffer.getvalue()


def test_chapters_in_the_order_of_the_spine(read_file: Any) -> None:
    documents, report = read_file("b.epub", book())
    assert [(d.id, d.text) for d in documents] == [("b.epub:1", "Chapter öne."), ("b.epub:2", "Chapter two.")]
    assert report.problems() == []


@pytest.mark.parametrize("encoding", ["gb2312", "GBK", "big5", "shift_jis", "euc-jp", "utf-8", "utf-16", "iso-8859-1"])
def test_books_whose_package_is_in_an_encoding_of_its_country(read_file: Any, encoding: str) -> None:
    package = OPF.replace("SPINE", "").replace('version="1.0"?', f'version="1.0" encoding="{encoding}"?')
    documents, report = read_file("b.epub", book(OEBPS__book_opf=package.encode(encoding)))
    assert [d.text for d in documents] == ["Chapter öne.", "Chapter two."]
    assert report.problems() == []


@pytest.mark.parametrize(
    ("content", "kept", "says"),
    [
        (book(OEBPS__text__one_xhtml=None), 1, "chapter OEBPS/text/one.xhtml is listed in the book but missing"),
        (book('<itemref idref="out"/>'), 2, "etc/passwd is listed in the book but missing"),
        (book(**{"META-INF__encryption_xml": ENCRYPTION}), 1, r"one.xhtml is encrypted (DRM)"),
        (book(OEBPS__text__one_xhtml="0" * (65 << 20)), 1, "more than the maximum of 67,108,864"),
        (book(**{"META-INF__container_xml": None}), 0, "is not an EPUB: it has no META-INF/container.xml"),
        (
            book(OEBPS__book_opf='<?xml version="1.0" encoding="no-such"?><package/>'),
            0,
            "is a broken EPUB: OEBPS/book.opf",
        ),
        (book(OEBPS__book_opf="<package"), 0, "is a broken EPUB: OEBPS/book.opf"),
        (book()[:-30], 0, "is not a complete EPUB"),
        (b"no zip", 0, "is not a complete EPUB"),
    ],
)
def test_bad_books(read_file: Any, content: bytes, kept: int, says: str) -> None:
    documents, report = read_file("b.epub", content)
    assert len(documents) == kept
    assert says in report.problems()[0]
