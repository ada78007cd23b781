from __future__ import annotations

import io
from typing import Any

import pytest

from maskling.corpus.readers.markdown import strip_markdown


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("# Title #\n\nA *soft*\nwrapped **line** with `code *x*`.", "Title\n\nA soft wrapped line with code *x*."),
        ("Title\n=====\nText\n---\nMore", "Title\n\nText\n\nMore"),
        (
            'See [the docs](http://x.y/z_(a) "t") and ![a cat](c.png), <https://a.b>.',
            "See the docs and a cat, https://a.b.",
        ),
        ("A [ref][1] and [^2] note.\n\n[1]: http://x\n[^2]: The note.", "A ref and  note.\n\nThe note."),
        ("- one\n- [x] two\n  more of two\n1. three", "one\ntwo more of two\nthree"),
        ("> quoted *text*\n> goes on\n\nout", "quoted text goes on\n\nout"),
        ("a\n\n```python\ndef f(x):\n    return *x*\n```\n\nb", "a\n\ndef f(x):\n    return *x*\n\nb"),
        ("~~~\n```\n~~~\nafter", "```\n\nafter"),
        ("| a | b |\n|---|:-:|\n| 1 | **2** |\nend", "a b\n1 2\nend"),
        ("---\ntitle: no\n---\nText", "Text"),
        ("---\nnot front matter, a rule above", "not front matter, a rule above"),
        ("x <b>bold</b> <!-- no --> &amp; y\\*z\\_", "x bold & y*z_"),
        ("snake_case_name and 2 * 3 * 4 and __init__ stay", "snake_case_name and 2 * 3 * 4 and init stay"),
        ("~~gone~~ _em_ ***both***", "gone em both"),
        ("", ""),
    ],
)
def test_marks_go_and_words_stay(markdown: str, expected: str) -> None:
    assert strip_markdown(io.StringIO(markdown)) == expected


def test_a_file_is_a_document(read_file: Any) -> None:
    documents, _ = read_file("a.md", "# Ein Titel\n\nWörter".encode())
    assert [(d.id, d.text) for d in documents] == [("a.md", "Ein Titel\n\nWörter")]


@pytest.mark.parametrize("unit", ["[", "*a", "`", "![", "<", "_ ", "[a](", "> ", "\\"])
def test_hostile_lines_end(unit: str) -> None:
    assert isinstance(strip_markdown([unit * 20_000]), str)
