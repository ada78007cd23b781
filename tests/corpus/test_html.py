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


@pytest.mark.parametrize(
    "name",
    [
        *("button", "svg", "math", "nav", "header", "aside", "select", "textarea", "iframe", "noscript", "template"),
        *("title", "canvas", "object", "audio", "video"),
    ],
)
def test_an_element_that_is_left_open_does_not_swallow_the_page(name: str) -> None:
    text = visible_text([f"<html><body><p>Before.<{name} class='x'>Click<p>After.<h2>Heading</h2><p>The last."])
    assert text.split("\n\n")[-3:] == ["After.", "Heading", "The last."]
    assert text.startswith("Before.")
    # Closed, most of them are dropped, and the rest of the page stays as it was.
    assert visible_text([f"<body><p>Before.</p><{name}>x</{name}><p>The last."]).endswith("The last.")


def test_a_script_that_is_left_open_is_reported_as_the_empty_page_that_it_is() -> None:
    assert visible_text(["<p>Before.<script>x()<p>After."]) == "Before."


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp>字<rt>ji</ruby>です", "漢字です"),
        ("<ruby><rb>漢<rt>kan</ruby>", "漢"),
        (
            "<p>seen<p hidden>no<p style='color:red; DISPLAY : none'>no<div hidden=until-found>found</div>",
            "seen\n\nfound",
        ),
        ("<body style='display:none'><p>shown by a script", "shown by a script"),
        ("<table><tr><td>a<td>b<tr><th>c</table>", "a b\n\nc"),
        ("<pre>\n  x\n\ty</pre>", "x\n\ty"),
        ("&amp;lt;b&amp;gt; &#x92; caf&eacute", "&lt;b&gt; ’ café"),
        ("<!--[if IE]>no<![endif]-->yes<![CDATA[no]]>", "yes"),
        ("<title/><script src=x /><p>yes<iframe/>also", "yesalso"),
        ("<div>" * 30_000 + "deep", "deep"),
    ],
)
def test_what_browsers_show(html: str, expected: str) -> None:
    assert visible_text([html]) == expected


def test_what_is_dropped_is_counted_and_a_page_that_is_mostly_dropped_is_named(read_file: Any) -> None:
    documents, report = read_file("a.html", b"<p>Text.</p><nav>Home</nav><p hidden>a b</p>")
    assert documents[0].text == "Text."
    assert report.files[0].notes == {
        "characters in <nav> were left out": 4,
        "characters in hidden elements were left out": 2,
    }
    _, report = read_file("a.html", b"<p>Text.</p><div style='display:none'>" + b"words " * 100)
    assert "99% of its text was left out, most of it in hidden elements" in report.problems()[0]


@pytest.mark.parametrize(
    ("label", "codec", "text"),
    [
        ("iso-8859-1", "cp1252", "“I don’t know” — 5€"),
        ("us-ascii", "cp1252", "She said: “no”"),
        ("gb2312", "gb18030", "朱镕基总理，喆"),
        ("Shift_JIS", "cp932", "①㈱髙﨑～Ⅲ№"),
        ("x-sjis", "cp932", "東京の森"),
        ("euc-kr", "cp949", "펲똠햏"),
        ("big5", "big5hkscs", "啫喱嘢"),
        ("tis-620", "cp874", "“สวัสดี”"),
        ("utf-16", "utf-8", "Où est l’été?"),
    ],
)
def test_labels_mean_what_they_mean_to_a_browser(read_file: Any, label: str, codec: str, text: str) -> None:
    page = f'<html><head><!-- <meta charset="koi8-r"> --><meta charset="{label}"></head><body>{text}'
    documents, report = read_file("a.html", page.encode(codec))
    assert (documents[0].text, report.replaced_bytes) == (text, 0)
    xml = f'<?xml version="1.0" encoding="{label}"?><html><body>{text}</body></html>'
    assert read_file("a.xhtml", xml.encode(codec))[0][0].text == text


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("windows-1251", "Все люди рождаются свободными и равными в своём достоинстве и правах."),
        ("windows-1253", "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια."),
        ("gb18030", "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"),
    ],
)
def test_a_page_in_another_alphabet_than_it_declares_is_read_as_what_it_is(
    read_file: Any, encoding: str, text: str
) -> None:
    page = f'<meta charset="iso-8859-1"><script>var x = "some code of the page";</script><p>{text}</p>'
    documents, report = read_file("a.html", page.encode(encoding))
    assert documents[0].text == text
    assert f"read as {encoding}, which it plainly is, not windows-1252" in report.problems()[0]


def test_a_western_page_is_read_as_it_declares(read_file: Any) -> None:
    text = "Größe, Öl und Äpfel: À l’été, où naïve élève déjà vu à côté; señor, ¿qué? ÄÖÜ"
    documents, report = read_file("a.html", f'<meta charset="iso-8859-1"><p>{text}'.encode("cp1252"))
    assert (documents[0].text, report.problems()) == (text, [])
