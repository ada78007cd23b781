from __future__ import annotations

import textwrap
import unicodedata
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maskling.corpus import clean as clean_module
from maskling.corpus.clean import clean
from maskling.corpus.settings import CleanSettings
from maskling.corpus.wrapped_lines import unwrap

SETTINGS = CleanSettings()
ANY = st.one_of(
    st.text(), st.text(alphabet="a e\u0301\u200b\xad\n\r\t\x0c\x00\u2028\u2029\u3000\ufeff\xa0\x85\u1100\u1161")
)


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("  a \t b  \r\n  c ", "a b\nc"),
        ("one\n\n\n \n\ntwo", "one\n\ntwo"),
        ("page\fnext", "page\n\nnext"),
        ("cafe\u0301", "caf\xe9"),
        ("soft\xadhyphen zero\u200bwidth \ufeffmark", "softhyphen zero width mark"),
        ("bell\x07 escape\x1b[1m del\x7f", "bell escape[1m del"),
        ("e\u2060\u0301", "\xe9"),  # the mark meets its letter once the invisible sign is gone
        ("a\xa0b\u2003c\u3000d", "a b c d"),
        ("line\u2028line\u2029paragraph\x85line", "line\nline\n\nparagraph\nline"),
        ("half \ud800 pair", "half pair"),
        ("می\u200cخواهم 👨\u200d👩", "می\u200cخواهم 👨\u200d👩"),
        ("", ""),
        (" \n\t ", ""),
    ],
)
def test_hand_cleaned(dirty: str, expected: str) -> None:
    assert clean(dirty, SETTINGS) == expected


@given(text=ANY)
@example("A\ufeff\u0300")
def test_cleaning_twice_changes_nothing_and_letters_stay(text: str) -> None:
    once = clean(text, SETTINGS)
    assert clean(once, SETTINGS) == once
    assert letters(once) == letters(text.translate(clean_module._WINDOWS_1252))


def letters(text: str) -> list[str]:
    """Letters and digits without their marks, which may meet a letter only once something between them is gone."""
    return [c for c in unicodedata.normalize("NFD", text) if c.isalnum()]


@given(text=ANY)
def test_a_clean_text_has_no_double_space_no_trailing_space_and_no_control_character(text: str) -> None:
    text = clean(text, SETTINGS)
    assert "  " not in text
    assert "\n\n\n" not in text
    assert text == text.strip()
    assert all(line == line.strip() for line in text.split("\n"))
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in text if c != "\n")


def test_what_is_looked_for_is_never_printable() -> None:
    # One call of str.isprintable decides whether any of it is replaced.
    patterns = (
        clean_module._LINE_BREAKS,
        clean_module._PARAGRAPH_BREAKS,
        clean_module._SEPARATORS,
        clean_module._INVISIBLE,
        clean_module._SPACES,
    )
    missed = [
        hex(code)
        for code in range(0x110000)
        if chr(code).isprintable() and chr(code) != " " and any(pattern.fullmatch(chr(code)) for pattern in patterns)
    ]
    assert missed == []


def test_normal_forms() -> None:
    assert clean("ﬁne Ａ①", CleanSettings(normal_form="NFKC")) == "fine A1"
    assert clean("cafe\u0301", CleanSettings(normal_form="none")) == "cafe\u0301"


def test_mojibake_is_mended_on_request_only() -> None:
    assert clean("schÃ¶n &amp; gut", SETTINGS) == "schÃ¶n &amp; gut"
    assert clean("schÃ¶n &amp; gut “q”", CleanSettings(fix_mojibake=True)) == "schön &amp; gut “q”"


WORDS = st.lists(st.text(alphabet="abcdefghijklmn", min_size=3, max_size=11), min_size=120, max_size=200)


@given(words=WORDS, width=st.integers(50, 95))
def test_what_textwrap_wrapped_comes_back(words: list[str], width: int) -> None:
    paragraph = " ".join(word + "." * (number % 9 == 8) for number, word in enumerate(words))
    assert unwrap(textwrap.fill(paragraph, width)) == paragraph


def test_paragraphs_headings_and_short_lines_stay_apart() -> None:
    body = "It was the best of times and it was the worst of times, which nobody could deny at that moment. " * 8
    wrapped = textwrap.fill(body.strip(), 70)
    text = f"CHAPTER I\n\n{wrapped}\n\n- a list\n- of things\n\n{wrapped}"
    assert unwrap(text) == f"CHAPTER I\n\n{body.strip()}\n\n- a list\n- of things\n\n{body.strip()}"


@pytest.mark.parametrize(
    "text",
    [
        "Two roads diverged in a yellow wood,\nAnd sorry I could not travel both\nAnd be one traveler, long I stood\n"
        "And looked down one as far as I could\nTo where it bent in the undergrowth;\nThen took the other, as fair",
        "春眠不觉晓，\n处处闻啼鸟。\n夜来风雨声，\n花落知多少。\n床前明月光，\n疑是地上霜。",
        "\n".join(["白日依山盡黃河入海流欲窮千里目更上一層樓白日依山盡黃河入海流欲窮千里目更上一層樓白日依山盡"] * 8),
        "name, age\nAnn, 3\nBob, 5\nCarl, 6\nDora, 7\nEve, 9",
        "A long line that is a paragraph by itself, as editors that do not wrap write it, wider than any page.\n" * 6,
        "one line",
        "",
    ],
)
def test_verse_tables_and_unwrapped_text_stay_as_they_are(text: str) -> None:
    assert unwrap(text) == text


def cleaned(text: str, **settings: object) -> tuple[str, dict[str, int]]:
    changes: Counter[str] = Counter()
    text = clean(text, CleanSettings.model_validate(settings), changes=changes)
    return text, {kind: count for kind, count in changes.items() if count}


def test_c1_characters_are_letters_and_marks_of_windows_1252() -> None:
    text, changes = cleaned("It\x92s a day\x97and \x93we\x94 wait\x85 x\x81y")
    assert text == "It’s a day—and “we” wait… x y"
    assert changes == {"C1 characters read as windows-1252": 6}
    assert cleaned("one line\x85another line") == ("one line\nanother line", {})


def test_zero_width_spaces_and_separators_are_spaces_and_are_counted() -> None:
    text, changes = cleaned("មនុស្ស\u200bទាំងអស់\u200bកើត a\0b\x1fc\ufeff")
    assert text == "មនុស្ស ទាំងអស់ កើត a b c"
    assert changes == {"zero-width spaces and separators written as spaces": 4, "invisible characters removed": 1}


def test_white_space_and_invisible_characters_are_kept_on_request() -> None:
    code = "def f(x):\n    if x > 0:\n\treturn  {\n\n\n            }"
    assert cleaned(f"\n{code}\n\n", spaces="keep") == (code, {})
    assert cleaned("    indented\n  less", spaces="keep")[0] == "    indented\n  less"
    assert cleaned(" \n\t ", spaces="keep")[0] == ""
    assert cleaned("a\u200bb\x92\xadc", invisible="keep") == ("a\u200bb\x92\xadc", {})


@pytest.mark.parametrize(
    "lines",
    [
        [
            f"2024-09-14 12:52:{number:02d},123 ERROR [blk_43115687{number}] /10.250.42.30 received"
            for number in range(12)
        ],
        [f"the {number} grey geese flew over the long river and far away to sea" for number in range(10, 20)],
        ["ACGTACGGTTACGTACGGTTACGTACGGTTACGTACGGTTACGTACGGTTAACC"] * 9,
        [f"Every line {number} is a whole sentence of nearly equal length here." for number in range(10, 20)],
    ],
)
def test_records_and_sentences_of_one_width_are_no_wrapped_prose(lines: list[str]) -> None:
    assert unwrap("\n".join(lines)) == "\n".join(lines)


def test_words_hyphenated_at_a_line_end_are_whole_again() -> None:
    text = (
        "The old garden lies beyond the well-known house, and its gar-\n"
        "den wall was built in the year of the great storm. The con-\n"
        "dition of the wall is poor, and nobody has seen the well-\n"
        "known gardener since. There is a house far away, and a far-\n"
        "away sea. The wind blows over it and the long night falls\n"
        "on all of them."
    )
    changes: Counter[str] = Counter()
    joined = unwrap(text, changes)
    assert "its garden wall" in joined
    assert "The condition of" in joined
    assert "the well-known gardener" in joined
    assert "a far-away sea" in joined
    assert changes == {"wrapped lines joined": 5, "hyphenated words joined": 2}
    assert cleaned("gar\xad\nden")[0] == "garden"
