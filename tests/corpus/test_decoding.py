from __future__ import annotations

import codecs
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.corpus.decoding import decode, split_into_lines
from maskling.corpus.opening import FileReport
from maskling.corpus.settings import CorpusSettings
from maskling.errors import CorpusError

TEXT = "Ünïcödé 中文 and plain words, enough of them to look like text.\n"


def decoded(data: bytes, **settings: object) -> tuple[str, int]:
    report = FileReport("f.txt")
    text = "".join(decode(io.BytesIO(data), CorpusSettings(**settings), report))  # type: ignore[arg-type]
    return text, report.replaced_bytes


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_honoured_whatever_is_set(encoding: str) -> None:
    assert decoded(TEXT.encode(encoding)) == (TEXT, 0)
    if encoding != "utf-8":
        assert decoded(TEXT.encode(encoding), encoding="latin-1") == (TEXT, 0)


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE])
def test_big_endian_marks(mark: bytes) -> None:
    encoding = "utf-16-be" if len(mark) == 2 else "utf-32-be"
    assert decoded(mark + TEXT.encode(encoding)) == (TEXT, 0)


@pytest.mark.parametrize(
    ("encoding", "text"), [("gbk", "中文文字，没有问题。"), ("latin-1", "Où est-ce?"), ("utf-16-le", "中文 ok")]
)
def test_other_encodings_by_option(encoding: str, text: str) -> None:
    assert decoded(text.encode(encoding), encoding=encoding) == (text, 0)


def test_invalid_bytes_are_replaced_and_counted() -> None:
    good = b"plain text " * 20
    assert decoded(good + b"\xff\xfe" + good) == (good.decode() + "\ufffd\ufffd" + good.decode(), 2)
    # A character cut off by the end of the file is one replacement and two bytes.
    assert decoded(good + "中".encode()[:2]) == (good.decode() + "\ufffd", 2)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [3, 70_000])
def test_strict_names_file_line_and_byte(ending: bytes, size: int) -> None:
    data = ending.join([b"line one", b"x" * size, b"line three", b"bad \xe9 byte", b"more"])
    with pytest.raises(CorpusError, match=r"f\.txt, line 4: byte 0xe9 is not utf-8"):
        decoded(data, errors="strict")


def test_a_character_across_two_blocks_is_no_invalid_byte() -> None:
    text = "x" + "中" * 50_000
    assert decoded(text.encode()) == (text, 0)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"\x00" * 50, "binary"),
        ("中文的旧编码，不是统一码。".encode("gbk"), "may be gb18030; set corpus.encoding"),
    ],
)
def test_what_is_no_text_is_refused_with_a_hint(data: bytes, says: str) -> None:
    with pytest.raises(CorpusError, match=says):
        decoded(data)


def test_every_line_break_becomes_one() -> None:
    assert decoded(b"a\r\nb\rc\nd")[0] == "a\nb\nc\nd"
    # U+2028 is a character of the text here: bert-base-chinese has it as a token.
    assert decoded("a\u2028b\x0bc".encode())[0] == "a\u2028b\x0bc"


@given(blocks=st.lists(st.text(alphabet="ab\n", max_size=7)), longest=st.integers(1, 5))
def test_lines_joined_are_the_text_and_long_ones_come_in_pieces(blocks: list[str], longest: int) -> None:
    lines = list(split_into_lines(iter(blocks), longest))
    assert "".join(lines) == "".join(blocks)
    assert all(line.count("\n") <= 1 and line for line in lines)
    # A piece outgrows the limit by less than the block that completed it.
    assert all(len(line) < longest + 8 for line in lines)


@given(st.text(alphabet="ab\n"))
def test_lines_are_those_of_python(text: str) -> None:
    assert list(split_into_lines(iter([text]), 1000)) == io.StringIO(text).readlines()


FRENCH = "Où est passé l’été ? Les êtres humains naissent égaux en dignité ; à bientôt, là-bas.\n" * 9


def read(data: bytes, declared: str | None = None, **settings: object) -> tuple[str, FileReport]:
    report = FileReport("f.txt")
    found = (lambda _: declared) if declared else None
    return "".join(decode(io.BytesIO(data), CorpusSettings(**settings), report, found)), report  # type: ignore[arg-type]


def test_western_text_without_a_declaration_is_recognized_and_reported() -> None:
    text, report = read(FRENCH.encode("cp1252"))
    assert (text, report.replaced_bytes, report.read_as) == (FRENCH, 0, "windows-1252")
    assert report.problem() == "f.txt: read as windows-1252"
    # Also where the first byte beyond ASCII comes long after the first block.
    late = "Plain words and nothing else.\n" * 9000
    assert read((late + FRENCH).encode("cp1252"))[0] == late + FRENCH


def test_an_uncertain_encoding_is_refused_by_name() -> None:
    with pytest.raises(CorpusError, match=r"may be windows-1252; set corpus\.encoding"):
        read("où? là? à l'hôtel; il y a; voilà".encode("cp1252"))


def test_utf_8_stays_utf_8_and_single_bytes_of_windows_1252_in_it_are_read() -> None:
    text, report = read(FRENCH.encode() + b"it\x92s a caf\xe9 \x96 cut \xc3 here" + b"\n")
    assert text == FRENCH + "it’s a café – cut \ufffd here\n"
    assert report.replaced_bytes == 1
    assert report.notes == {"bytes of windows-1252 among UTF-8 were read as such": 3}
    # In other scripts a single byte is what is left of a longer sequence.
    chinese = "中文没有问题。" * 9
    assert read(chinese.encode() + b" \xb8 a")[0] == chinese + " \ufffd a"


def test_surrogates_and_zeros_as_other_programs_write_them_in_utf_8() -> None:
    text, report = read("é".encode() * 9 + b"\xed\xa0\xbd\xed\xb8\x80 a\xc0\x80b")
    assert (text, report.replaced_bytes) == ("é" * 9 + "😀 a\0b", 0)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_wide_text_without_a_mark_is_read(encoding: str) -> None:
    text, report = read(FRENCH.encode(encoding))
    assert (text, report.read_as) == (FRENCH, encoding)


def test_a_zero_here_and_there_is_no_binary_file() -> None:
    assert read(b"words and more words " * 20 + b"a\0b")[0].endswith("a\0b")


def test_text_that_is_plainly_utf_8_is_read_so_whatever_is_declared_or_set() -> None:
    text, report = read(FRENCH.encode(), declared="iso-8859-1")
    assert (text, report.read_as) == (FRENCH, "UTF-8, which it plainly is, not iso-8859-1")
    assert read(FRENCH.encode(), encoding="latin-1")[0] == FRENCH
    assert read(FRENCH.encode("cp1252"), encoding="latin-1")[0] == FRENCH
    assert read(FRENCH.encode("cp1252"), declared="utf-8")[0] == FRENCH


def test_utf_7_is_named_and_escapes_of_japanese_mail_are_read() -> None:
    with pytest.raises(CorpusError, match=r"looks like utf-7; set corpus\.encoding"):
        read(("Der Müller geht über die Straße. " * 3).encode("utf-7"))
    japanese = "すべての人間は、生まれながらにして自由である。" * 3
    assert read(japanese.encode("iso-2022-jp"))[0] == japanese
    assert read(b"if a+b-c and d+efg-h: x += 1  " * 3)[0].startswith("if a+b-c")
