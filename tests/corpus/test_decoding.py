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
