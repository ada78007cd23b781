"""Labels and characters of the WHATWG Encoding Standard; the expected values are from its table and its indexes."""

from __future__ import annotations

import codecs

import pytest

from maskling.corpus.settings import CorpusSettings, is_encoding
from maskling.corpus.web_encodings import codec_decoder, page_encoding, web_decoder, web_encoding


@pytest.mark.parametrize(
    ("label", "name"),
    [
        *[(label, "windows-1252") for label in ("iso-8859-1", "ISO-8859-1", "us-ascii", "latin1", "l1", "cp819")],
        *[(label, "gbk") for label in ("gb2312", "GB_2312-80", "x-gbk", "chinese")],
        *[(label, "shift_jis") for label in ("x-sjis", "windows-31j", "ms_kanji", "Shift_JIS")],
        *[(label, "euc-kr") for label in ("ks_c_5601-1987", "korean", "windows-949", "ksc5601")],
        *[(label, "windows-874") for label in ("tis-620", "iso-8859-11", "dos-874")],
        ("big5-hkscs", "big5"),
        ("iso-8859-9", "windows-1254"),
        ("koi8-ru", "koi8-u"),
        ("unicode-1-1-utf-8", "utf-8"),
        ("x-mac-ukrainian", "x-mac-cyrillic"),
        ("iso-8859-8-i", "iso-8859-8-i"),
        ("no-such-thing", None),
    ],
)
def test_labels_are_those_of_the_standard(label: str, name: str | None) -> None:
    assert web_encoding(label) == name


def test_labels_in_a_page_cannot_be_utf_16() -> None:
    assert page_encoding("utf-16") == page_encoding("UTF-16BE") == page_encoding("unicode") == "utf-8"
    assert page_encoding("x-user-defined") == "windows-1252"


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("windows-1252", b"\x93I don\x92t\x94 5\x80 \x81\x9d", "“I don’t” 5€ \x81\x9d"),
        ("windows-1255", b"\xca", "\u05ba"),
        ("windows-874", b"\x93\xca\xc7\xd1\xca\x94", "“สวัส”"),
        ("koi8-u", b"\xae\xbe", "ўЎ"),
        ("macintosh", b"don\xd5t \xdb", "don’t €"),
        ("x-user-defined", b"a\x80\xff", "a\uf780\uf7ff"),
        ("gbk", b"\xd6\xec\xe9F\xbb\xf9 \x80 \xa2\xe3 \xa3\xa0", "朱镕基 € € \u3000"),
        ("gb18030", b"\xa6\xd9\xfe\x59\xa8\xbc\x95\x32\x82\x36", "︐龴ḿ𠀀"),
        ("big5", b"\xa4\xa4\xa1\x45\x88\x62\xf9\xd6\xfe\xdd\xc7\xf2\x87\x7a", "中‧Ê̄碁砉ヶ㡵"),
        ("big5", b"\xa3\xe1\xa1\xfe\xa1\xe3", "€／～"),
        ("shift_jis", b"\x87\x40\x87\x8a\xee\xe0\xfb\xfc\x81\x60", "①㈱髙髙～"),
        ("euc-jp", b"\xad\xa1\xa1\xc1\x8f\xb0\xa1\xf9\xa1\x8e\xb1", "①～丂纊ｱ"),
        ("iso-2022-jp", b"a\x1b$B\x2d\x21\x46\x7c\x21\x41\x1b(Bz", "a①日～z"),
        ("euc-kr", b"\x8c\x63\xb0\xa1\x81\x41", "똠가갂"),
    ],
)
@pytest.mark.parametrize("step", [1, 2, 1000])
def test_bytes_become_the_characters_of_the_standard_in_blocks_of_any_size(
    name: str, data: bytes, text: str, step: int
) -> None:
    decoder = web_decoder(name, "strict")
    parts = [decoder.decode(data[start : start + step]) for start in range(0, len(data), step)]
    assert "".join(parts) + decoder.decode(b"", True) == text


@pytest.mark.parametrize(("name", "data"), [("windows-1253", b"\xaa"), ("gbk", b"\xff"), ("big5", b"\xa4\x20")])
def test_what_the_standard_does_not_assign_is_an_error(name: str, data: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        web_decoder(name, "strict").decode(data, True)


def test_all_single_byte_encodings_decode_ascii_as_it_is() -> None:
    for label in ("ibm866", "koi8-r", "macintosh", *(f"windows-125{page}" for page in range(9))):
        assert web_decoder(label, "strict").decode(bytes(range(128))) == bytes(range(128)).decode()


def test_names_of_python_are_those_of_the_web_where_it_has_them() -> None:
    for name in ("latin-1", "iso8859-1", "ISO-8859-1", "x-cp1252"):
        assert codec_decoder(name, "strict").decode(b"it\x92s") == "it’s"
        assert CorpusSettings(encoding=name).encoding == name
    assert codec_decoder("euc_jp", "strict").decode(b"\xad\xa1") == "①"
    assert codec_decoder("cp437", "strict").decode(b"\x82") == "é"
    assert codec_decoder("utf-7", "strict").decode(b"+AOk-", True) == "é"
    assert isinstance(codec_decoder("hz-gb-2312", "strict"), codecs.IncrementalDecoder)
    assert is_encoding("x-sjis")
    assert not is_encoding("rot13")
