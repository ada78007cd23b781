from __future__ import annotations

from typing import Any

import pytest

from maskling.corpus.readers.html import visible_text

PAGE = """<!DOCTYPE html><html><head><title>No</title><style>p {x: y}</style>
<script>var no = "<p>no</p>";</script></head>
<body><nav><a href="/">No menu</a></nav><h1>A  heading</h1>
<p>One <b>bold</b> and
<a href="x">linked</a> word&nbsp;&amp; more.<br>New line.</p><!-- no comment -->
<ul><li>first</li><li>second <i>item</i></li></ul>
<table><tr><td>cell</td><td>other</td></tr><tr><td>low</td></tr></table>
<pre>keep
  this</pre><script>no()</script><svg><text>no</text></svg><noscript>no</noscript>end</body></html>"""
EXPECTED = """A heading

One bold and linked word\xa0& more.
New line.

first

second item

cell other

low

keep
  this

end"""


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_what_a_reader_sees_and_nothing_else_in_blocks_of_any_size(step: int) -> None:
    assert visible_text(PAGE[i : i + step] for i in range(0, len(PAGE), step)) == EXPECTED


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<head><title>no</title><p>head was never closed", "head was never closed"),
        ("<p>one<p>two<div>three", "one\n\ntwo\n\nthree"),
        ("<nav>no<nav>no</nav>no</nav>yes", "yes"),
        ("<script/>yes<p/>also", "yes\n\nalso"),
        ("a </b></p></div> b", "a\n\nb"),
        ("1 < 2 & 3 &lt; 4 &#x4e2d; &copy", "1 < 2 & 3 < 4 中 ©"),
        ("plain", "plain"),
        ("", ""),
        ("<p>bro<b>ken</b></p>", "broken"),
    ],
)
def test_broken_and_odd_pages(html: str, expected: str) -> None:
    assert visible_text([html]) == expected


def test_a_page_names_its_encoding(read_file: Any) -> None:
    page = '<html><head><meta charset="gb2312"></head><body><p>中文网页</p></body></html>'
    documents, _ = read_file("a.html", page.encode("gbk"))
    assert [(d.id, d.text) for d in documents] == [("a.html", "中文网页")]
    assert read_file("a.htm", page.replace("gb2312", "nonsense").encode())[0][0].text == "中文网页"
    assert read_file("a.htm", page.encode("utf-16"))[0][0].text == "中文网页"


def test_a_page_without_text_is_reported(read_file: Any) -> None:
    documents, report = read_file("a.html", b"<html><script>x</script></html>")
    assert documents == []
    assert "has no text" in report.problems()[0]
