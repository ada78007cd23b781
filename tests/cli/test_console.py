"""Printed text stays on its line, in its columns and on its stream."""

from __future__ import annotations

import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.cli.format import byte_size, duration, size, table
from maskling.console import Console, agreeing, bar_line, columns_of, counted, printable


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    return Terminal()


@given(text=st.text(), share=st.none() | st.floats(0, 1), width=st.integers(1, 200))
def test_a_bar_fits_its_terminal(text: str, share: float | None, width: int):
    assert columns_of(bar_line(text, share, width)) <= width


def test_without_room_the_bar_is_dropped_first_then_the_fields_before_the_last():
    text = "step 5/20   loss 4.8   12,400 tok/s   18m left"
    assert bar_line(text, 0.25, 100) == f" 25%  {'━' * 6}{'─' * 18}  {text}"
    assert bar_line(text, 0.25, 60) == f" 25%  {text}"
    assert bar_line(text, 0.25, 40) == " 25%  step 5/20   loss 4.8   18m left"
    assert bar_line(text, 0.25, 24) == " 25%  step 5/20   18m left"[:24]


@given(text=st.text())
def test_printable_text_has_no_control_characters_but_tabs(text: str):
    assert all(character == "\t" or ord(character) >= 32 for character in printable(text))
    assert "\n" not in printable(text)


def test_control_characters_are_written_out():
    assert printable("a\nb\x1b[31m\tc\x9b") == "a\\nb\\x1b[31m\tc\\x9b"


def test_columns_line_up_and_numbers_are_right_aligned_in_any_script():
    rows = [["的", "5.1%", "x"], ["word", "10.2%", "-"], ["é", "3%", ""]]
    assert table(rows) == ["  的     5.1%  x", "  word  10.2%  -", "  é        3%"]
    assert len({columns_of(line[: line.index("%") + 1]) for line in table(rows)}) == 1
    assert table([]) == []


def test_a_heading_does_not_make_its_column_left_aligned():
    assert table([["step", "loss"], ["5", "10.25"]], heads=True) == ["  step   loss", "     5  10.25"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (size(999), "999"),
        (size(999_960), "1 M"),
        (size(12_345_678), "12.3 M"),
        (byte_size(41), "41 B"),
        (byte_size(1_310_000), "1.31 MB"),
        (counted(1, "document"), "1 document"),
        (counted(12_000, "document"), "12,000 documents"),
        (duration(4.2), "4s"),
        (duration(125), "2m 05s"),
        (duration(3725), "1h 02m"),
    ],
)
def test_sizes_counts_and_durations_are_readable(said: str, expected: str):
    assert said == expected


def test_a_log_has_plain_lines_at_most_one_every_few_seconds():
    log = io.StringIO()
    console = Console(err=log, every_seconds=3600)
    for step in range(1, 51):
        console.progress(f"step {step}/50", step, 50, last=step == 50)
    assert log.getvalue() == "  2%  step 1/50\n100%  step 50/50\n"


def test_on_a_terminal_the_bar_is_redrawn_below_the_notes_and_gone_at_the_end(terminal: Terminal):
    console = Console(err=terminal, out=terminal)
    console.progress("reading", 5, 10)
    console.note("a note")
    console.clear()
    *_, last = terminal.getvalue().split("\r\x1b[K")
    assert last == ""
    shown = terminal.getvalue().split("\r\x1b[K")
    assert shown[1] == shown[3] == " 50%  ━━━━━━━━━━━━────────────  reading"
    assert shown[2] == "a note\n"


def test_work_of_unknown_length_is_shown_on_a_terminal_and_not_in_a_log(terminal: Terminal):
    console, log = Console(err=terminal), io.StringIO()
    console.progress("step 1", 1, 4)
    console.doing("measuring")
    assert terminal.getvalue().endswith("measuring")
    console.clear()
    assert terminal.getvalue().endswith("\r\x1b[K")
    Console(err=log).doing("measuring")
    assert log.getvalue() == ""


def test_an_error_erases_the_bar_of_another_console(terminal: Terminal):
    Console(err=terminal).progress("reading", 5, 10)
    Console(err=terminal).error("the disk is full")
    assert terminal.getvalue().endswith("\r\x1b[Kerror: the disk is full\n")


def test_a_terminal_without_unicode_gets_a_plain_bar(terminal: Terminal):
    terminal.encoding = "ascii"
    Console(err=terminal).progress("reading", 5, 10)
    assert terminal.getvalue().isascii()


def test_json_is_printed_only_when_asked_for_and_then_alone():
    out, err = io.StringIO(), io.StringIO()
    console = Console(as_json=True, out=out, err=err)
    console.result("for a person")
    console.note("a note")
    console.data({"loss": math.nan, "perplexity": math.inf, "inside": [1.5, (2, -math.inf)], "text": "中"})
    assert json.loads(out.getvalue()) == {"loss": None, "perplexity": None, "inside": [1.5, [2, None]], "text": "中"}
    assert err.getvalue() == "a note\n"
    out = io.StringIO()
    Console(out=out, err=err).data({"a": 1})
    assert out.getvalue() == ""


def test_only_rank_0_prints(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "1")
    out = io.StringIO()
    console = Console(as_json=True, out=out, err=out)
    console.data({"a": 1})
    console.note("a")
    console.warn("b")
    console.error("c")
    console.progress("d", 1, 2)
    console.stopped()
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("count", "phrase", "expected"),
    [
        (1, "bytes were not valid text and were replaced", "1 byte was not valid text and was replaced"),
        (2000, "bytes were not valid text", "2,000 bytes were not valid text"),
        (1, "lines repeat the header and are left out", "1 line repeats the header and is left out"),
        (1, "documents have no text (null or an empty list)", "1 document has no text (null or an empty list)"),
        (0, "texts", "0 texts"),
        (1, "texts", "1 text"),
    ],
)
def test_a_count_and_its_verb_agree(count: int, phrase: str, expected: str):
    assert agreeing(count, phrase) == expected
