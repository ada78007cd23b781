from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.corpus.clean import unwrap

WORDS = st.lists(st.text(alphabet="abcdefghijklmn", min_size=3, max_size=11), min_size=120, max_size=200)


@given(words=WORDS, width=st.integers(50, 95))
def test_what_textwrap_wrapped_comes_back(words: list[str], width: int) -> None:
    paragraph = " ".join(words)
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
