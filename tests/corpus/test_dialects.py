"""Tables as other programs write them are read right, or the row is named: never half a row."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskling.corpus.document import Source
from maskling.corpus.opening import FileReport
from maskling.corpus.readers.csv import read_csv, read_tsv
from maskling.corpus.settings import CorpusSettings
from maskling.errors import CorpusError


def texts(read_file: Any, name: str, content: str, **settings: Any) -> tuple[list[str], list[str]]:
    documents, report = read_file(name, content.encode(), **settings)
    return [document.text for document in documents], report.problems()


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_the_delimiter_is_found(read_file: Any, name: str, mark: str) -> None:
    rows = "".join(f'{i}{mark}"One, two; three | four {i}"\n' for i in range(7))
    assert texts(read_file, name, f"id{mark}text\n{rows}") == ([f"One, two; three | four {i}" for i in range(7)], [])


def test_the_delimiter_is_the_one_with_which_the_header_has_the_field(read_file: Any) -> None:
    content = "id;price,eur;text\n1;2,50;Good, and cheap\n2;3,50;Good, but dear\n"
    assert texts(read_file, "a.csv", content) == (["Good, and cheap", "Good, but dear"], [])


def test_the_delimiter_of_a_table_without_header_is_the_one_with_equal_rows(read_file: Any) -> None:
    content = "1|One, two\n2|Three, four, five\n3|Six\n"
    assert texts(read_file, "a.csv", content, text_field="1") == (["One, two", "Three, four, five", "Six"], [])


def test_the_delimiter_of_the_settings_is_used(read_file: Any) -> None:
    content = "a~text\n1~x,y\n"
    assert texts(read_file, "a.csv", content, csv={"delimiter": "~"}) == (["x,y"], [])
    for tab in ("tab", "\\t", "\t"):
        assert texts(read_file, "a.csv", "a\ttext\n1\tx,y\n", csv={"delimiter": tab}) == (["x,y"], [])
    with pytest.raises(ValueError, match="one character"):
        CorpusSettings(csv={"delimiter": "ab"})  # type: ignore[arg-type]


def test_one_column_may_hold_every_character(read_file: Any) -> None:
    content = 'text\nHello, world; a | b\n"Quoted, ""so"" and\non two lines"\n'
    assert texts(read_file, "a.csv", content) == (["Hello, world; a | b", 'Quoted, "so" and\non two lines'], [])


def test_cells_too_many_are_a_fault_of_their_row(read_file: Any) -> None:
    content = 'id,text\n1,The river was calm, the wind was north\n2,"quoted, right"\n3,plain\n'
    found, problems = texts(read_file, "a.csv", content)
    assert found == ["quoted, right", "plain"]
    assert "line 2 has 3 columns, and the table has 2; put quotes around cells that hold ','" in problems[0]
    with pytest.raises(CorpusError, match="line 2 has 3 columns"):
        texts(read_file, "a.csv", content, on_bad_file="stop")


def test_cells_too_few_are_a_fault_and_empty_ones_at_the_end_are_none(read_file: Any) -> None:
    found, problems = texts(read_file, "a.csv", "id,text,note\n1,first half\nsecond half,x\n2,whole,y,,\n3,end,\n")
    assert found == ["whole", "end"]
    assert "line 2 has 2 columns, and the table has 3 (and 1 more like it)" in problems[0]


def test_backslash_quotes(read_file: Any) -> None:
    rows = "".join(f'{i},"He said \\"the fox {i}\\" and left, quickly."\n' for i in range(5))
    found, problems = texts(read_file, "a.csv", f"id,text\n{rows}")
    assert (found, problems) == ([f'He said "the fox {i}" and left, quickly.' for i in range(5)], [])


def test_of_backslashes_only_those_that_escape_go(read_file: Any) -> None:
    content = 'id,text\n1,"a \\"b\\", C:\\new\\\\x"\n2,\\N\n3,"two\\\nlines"\n'
    found, _ = texts(read_file, "a.csv", content)
    assert found == ['a "b", C:\\new\\x', "", "two\nlines"]
    # Without backslashed quotes a backslash is an ordinary character.
    assert texts(read_file, "a.csv", 'id,text\n1,"C:\\new"\n2,"\\alpha, \\beta"\n')[0] == ["C:\\new", "\\alpha, \\beta"]
    assert texts(read_file, "a.csv", 'id,text\n1,"C:\\"\n2,"D:\\"\n')[0] == ["C:\\", "D:\\"]


def test_a_late_backslash_quote_is_named(read_file: Any) -> None:
    rows = "".join(f'{i},"plain text {i}"\n' for i in range(40_000))
    found, problems = texts(read_file, "a.csv", f'id,text\n{rows}9,"He \\"said\\", so"\n10,"good"\n')
    assert (len(found), found[-1]) == (40_001, "good")
    assert "line 40,002 has a quote inside a cell that is neither doubled nor escaped" in problems[0]
    found, problems = texts(read_file, "a.csv", 'id,text\n9,"He \\"said\\", so"\n', csv={"escape": "\\"})
    assert (found, problems) == (['He "said", so'], [])


def test_tsv_of_pandas_has_quotes_and_line_breaks(read_file: Any) -> None:
    rows = [(i, f'First line {i}.\nSecond "line" {i}.' if i % 2 else f"Plain {i}") for i in range(9)]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter="\t", lineterminator="\n").writerows([("id", "text"), *rows])
    assert texts(read_file, "a.tsv", buffer.getvalue()) == ([text for _, text in rows], [])


@pytest.mark.parametrize("cell", ['"Hello" she said', '5" pipe', '"open', 'say "hi"', '"whole"'])
def test_tsv_without_quoting_keeps_every_quote(read_file: Any, cell: str) -> None:
    assert texts(read_file, "a.tsv", f"label\ttext\n1\tfirst\n0\t{cell}\n1\tlast\n") == (["first", cell, "last"], [])


def test_tsv_whose_quoted_cell_goes_on_is_no_half_row(read_file: Any) -> None:
    content = 'id\ttext\n0\t"Hello" she said\n1\t"one line\nand another"\n2\tlast\n'
    found, problems = texts(read_file, "a.tsv", content)
    assert found == ['"Hello" she said', "last"]
    assert "line 3 begins a cell with a quote and goes on in the next line (and 1 more like it)" in problems[0]


def test_a_quote_that_is_not_closed_loses_its_row_alone(read_file: Any) -> None:
    rows = [f"{i},The river was calm on day {i}\n" for i in range(50)]
    rows[9] = '9,"The river was calm on day 9\n'
    found, problems = texts(read_file, "a.csv", "id,text\n" + "".join(rows))
    assert found == [f"The river was calm on day {i}" for i in range(50) if i != 9]
    assert "line 11 opens a quote that is not closed: the following lines look like rows" in problems[0]
    rows[12] = '12,"quoted"\n'
    found, problems = texts(read_file, "a.csv", "id,text\n" + "".join(rows))
    assert len(found) == 49
    assert "line 11 has a quote inside a cell" in problems[0]


def test_a_cell_of_many_lines_is_one_document(read_file: Any) -> None:
    poem = "\n".join(f"Line {i}, of the poem" if i % 3 else f"A line {i}" for i in range(200))
    assert texts(read_file, "a.csv", f'id,text\n1,"{poem}"\n2,short\n') == ([poem, "short"], [])
    assert texts(read_file, "a.csv", f'id,text\n1,"{poem}"\n2,short\n'.replace("\n", "\r\n")) == ([poem, "short"], [])


def test_a_malformed_cell_of_many_lines_is_left_out_whole(read_file: Any) -> None:
    rows = "".join(f'{i},"good {i}"\n' for i in range(20))
    content = f'id,text\n1,"first\nhe said "yes", and left\nthe end", it was\n{rows}'
    found, problems = texts(read_file, "a.csv", content)
    assert found == [f"good {i}" for i in range(20)]
    assert "line 2 has a quote inside a cell" in problems[0]


def test_the_header(read_file: Any) -> None:
    assert texts(read_file, "a.csv", "\ufeffid,text\n1,x\n\ufeffid,text\n2,y\n")[0] == ["x", "y"]
    assert "1 line repeats the header" in texts(read_file, "a.csv", "id,text\n1,x\nid,text\n")[1][0]
    assert "several columns named 'text'" in texts(read_file, "a.csv", "text,text\na,b\n")[1][0]
    assert (
        "has no field 'text'; its fields: 1, One; set corpus.text_field (to its index, from 0, if"
        in (texts(read_file, "a.csv", "1,One\n2,Two\n")[1][0])
    )
    assert texts(read_file, "a.csv", '"id","text"\n"1","x"\n') == (["x"], [])


def test_several_columns_are_joined_and_an_empty_id_is_the_line(read_file: Any) -> None:
    content = b"id,title,text\n7,One,First\n,,Second\n"
    documents, _ = read_file("a.csv", content, text_field="title,text", id_field="id")
    assert [(d.id, d.text) for d in documents] == [("7", "One\n\nFirst"), ("a.csv:3", "Second")]
    documents, _ = read_file("a.csv", content.partition(b"\n")[2], text_field=["1", "2"], id_field="0")
    assert [(d.id, d.text) for d in documents] == [("7", "One\n\nFirst"), ("a.csv:2", "Second")]


def test_zero_characters_and_long_fields(read_file: Any) -> None:
    content = "id,text\n1," + "x" * 300_000 + "\n2,a\0b\n"
    assert [len(text) for text in texts(read_file, "a.csv", content)[0]] == [300_000, 3]


CELLS = st.text(alphabet="a b\",;\t|\n'é\\", max_size=12)


@settings(max_examples=200)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS.filter(lambda text: "\\N" not in text)), min_size=2, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_what_the_library_writes_in_a_given_dialect_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str, quoting: Any
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, quoting=quoting).writerows([("n", "text"), *rows])
    path.write_bytes(buffer.getvalue().encode())
    how = CorpusSettings(csv={"delimiter": delimiter, "quote": '"', "escape": "none"})  # type: ignore[arg-type]
    for reader in (read_csv, read_tsv):
        report = FileReport("")
        assert [d.text for d in reader(Source(str(path)), how, report)] == [text for _, text in rows]
        assert not report.num_faults


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "\ufeffSEP=;", "sep=;;"])
def test_the_line_that_names_the_delimiter_for_excel_is_no_row(read_file: Any, first: str) -> None:
    content = f'{first}\r\nid;text\r\n1;"a, b; c"\r\n2;two, three\r\n3;x;y\r\n'
    found, problems = texts(read_file, "a.csv", content)
    assert found == ["a, b; c", "two, three"]
    assert "line 5 has 3 columns" in problems[0]
    assert texts(read_file, "a.csv", "sep=\t\nid\ttext\n1\ta;b;c\n") == (["a;b;c"], [])


def test_a_space_before_a_quoted_cell_is_no_part_of_it(read_file: Any) -> None:
    content = 'id, text, n\n1, "a, b and ""c""", 3\n2, "plain", 4\n3, bare "d" e, 5\n'
    assert texts(read_file, "a.csv", content) == (['a, b and "c"', "plain", 'bare "d" e'], [])
    # What looks like it within a cell is not: here the cells are ', ' and ','.
    how = {"csv": {"delimiter": ",", "quote": '"', "escape": "none"}}
    assert texts(read_file, "a.csv", 'n,text\n, \n", ",","\n', **how)[0] == [" ", ","]
    # One column of text in which quotes follow commas is as it was.
    assert texts(read_file, "a.csv", 'text\t n\nHe said, "yes", and left\t1\n') == (['He said, "yes", and left'], [])
