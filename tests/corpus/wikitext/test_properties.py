"""What holds for any wikitext: no error, no markup left of what is balanced, plain text byte for byte, linear time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.corpus.wikitext.language_tables import language_tables
from maskling.corpus.wikitext.marks import ANY_MARK
from maskling.corpus.wikitext.prose import to_prose
from maskling.corpus.wikitext.settings import WikiSettings

ENGLISH = language_tables("en")
TOKENS = (
    *("{{", "}}", "{{{", "[[", "]]", "{|\n", "\n|}", "\n{|", "|", "\n|-\n", "\n!", "<ref>", "</ref>", "<ref name=a/>"),
    *(
        "<nowiki>",
        "</nowiki>",
        "<!--",
        "-->",
        "'''",
        "''",
        "\n== ",
        " ==\n",
        "\n* ",
        "\n",
        "\n\n",
        "-{",
        "}-",
        "zh-cn:",
    ),
    *("[http://a.org ", "]", "[", "&amp;", "&lt;", "<sup>", "</sup>", "<div style='display:none'>", "</div>", "<br/>"),
    *(
        "File:",
        "Category:",
        "convert|",
        "lang|de|",
        "quote|",
        "(",
        ")",
        "（",
        "）",
        ";",
        ", ",
        "=",
        "__TOC__",
        "<b>",
        "<",
    ),
    *(
        "fox",
        " ran",
        "狐狸",
        "ثعلب",
        "лиса",
        "2",
        "\u0130",
        "\ufdd0",
        "\ufdd3",
        "\x00",
        "{{!}}",
        "#REDIRECT [[",
        "<table>",
    ),
)
# Kinds of markup that no reader of balanced wikitext ever sees.
LEFT = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{\||\|\}|</?ref|<!--|-->|''|-\{|\}-|\|thumb|Category:|File:")
# The pages of CORPUS checks and some more: what is opened and never closed, over and over.
HOSTILE = (
    *(
        "{{",
        "[[",
        "{|\n",
        "<ref>",
        "'",
        "{{a|[[b",
        "<nowiki>",
        "-{",
        "==",
        "[http://x ",
        "<math ",
        "<!--",
        "(",
        "&amp;",
    ),
    *("{{x}} ", "({{x}};", "({{x}})", "[[File:a|b\n\n", "\n{|\n|\n", "= {{x}} =\n", "<sup>", "\n'''", "{{convert|1|-|"),
    *(
        "}}",
        "]]",
        "<ref/>",
        "<table>",
        "<div style=display:none>",
        "\n<!-- -->",
        "-{zh:a;",
        "_",
        "{{!}}",
        "\n\n",
        "[[a]]",
    ),
)


def prose(wikitext: str) -> str:
    return to_prose(wikitext, ENGLISH, WikiSettings()).text


@given(st.lists(st.sampled_from(TOKENS) | st.text(max_size=5), max_size=60).map("".join))
def test_any_text_is_read_without_an_error_and_without_marks(wikitext: str) -> None:
    assert not ANY_MARK.search(prose(wikitext))


plain_line = st.text(
    st.characters(exclude_categories=("Cs", "Cn", "Cc", "Zl", "Zp"), exclude_characters="[]{}|<>&'=*#:;-_ "),
    min_size=1,
    max_size=30,
)
plain_text = st.lists(
    st.lists(st.lists(plain_line, min_size=1, max_size=4).map(" ".join), min_size=1, max_size=3).map("\n".join),
    min_size=1,
    max_size=4,
).map("\n\n".join)


@given(plain_text.filter(lambda text: all(line.strip() == line for line in text.split("\n"))))
def test_prose_without_markup_stays_byte_for_byte(text: str) -> None:
    assert prose(text) == text


words = st.lists(st.sampled_from(("fox", "ran", "狐狸", "лиса", "2", "(a)")), min_size=1, max_size=4).map(" ".join)
inline = st.recursive(
    words,
    lambda inner: st.one_of(
        inner.map("[[{}]]".format),
        st.tuples(words, inner).map(lambda both: f"[[{both[0]}|{both[1]}]]"),
        inner.map("[[File:a.jpg|thumb|{}]]".format),
        inner.map("[[Category:{}]]".format),
        inner.map("{{{{unknown|a={}|b}}}}".format),
        inner.map("{{{{nowrap|{}}}}}".format),
        inner.map("<ref>{}</ref>".format),
        inner.map("'''{}'''".format),
        inner.map("''{}''".format),
        inner.map("-{{zh-cn:{};zh-tw:x}}-".format),
        inner.map("[http://a.org {}]".format),
        inner.map("<!-- {} -->".format).filter(lambda text: text.count("<!--") == 1),
        st.tuples(inner, inner).map(" ".join),
    ),
    max_leaves=8,
)
# A reference within a reference is not balanced: the first closing tag ends the outer one.
balanced = inline.filter(lambda text: not re.search(r"<ref>(?:(?!</ref>).)*(?:<ref>|<!--)|<!--(?:(?!-->).)*<", text))
blocks = st.lists(
    st.one_of(
        balanced,
        balanced.map("* {}".format),
        balanced.map("== {} ==".format),
        balanced.map("{{|\n| {}\n|}}".format),
        balanced.map("{{{{Infobox\n| a = {}\n}}}}".format),
    ),
    min_size=1,
    max_size=6,
).map("\n".join)


@given(blocks)
def test_no_markup_is_left_of_balanced_wikitext(wikitext: str) -> None:
    assert not LEFT.search(prose(wikitext))


@given(blocks)
def test_letters_come_from_the_page_in_its_order(wikitext: str) -> None:
    found = iter(re.findall(r"[^\W\d_]", wikitext))
    assert all(letter in found for letter in re.findall(r"[^\W\d_]", prose(wikitext)))


@given(balanced, balanced)
def test_what_follows_something_that_is_not_closed_is_kept(before: str, after: str) -> None:
    for opened in (
        "{{x|y",
        "[[File:x|thumb|y",
        "{|\n| y",
        "<ref>y",
        "[http://x y",
        "-{y",
        "<!-- y",
        "<table><tr>",
        "<sup>",
    ):
        assert prose(f"{before}{opened}\n\n== Life ==\nThe end.\n\n{after}").find("The end.") >= 0


@pytest.mark.parametrize("piece", HOSTILE, ids=repr)
def test_a_hostile_page_is_read(piece: str) -> None:
    assert "The end." in prose(f"{piece * 20_000}\n\n== Life ==\nThe end.")


@pytest.mark.slow
@pytest.mark.parametrize("piece", HOSTILE, ids=repr)
def test_time_grows_with_the_length_of_a_hostile_page(piece: str) -> None:
    def seconds(repeats: int) -> float:
        page = piece * repeats
        best = float("inf")
        for _ in range(3):
            begin = time.process_time()
            prose(page)
            best = min(best, time.process_time() - begin)
        return best

    # Ten times the page; a quadratic scan would take a hundred times as long.
    assert seconds(200_000) < 30 * max(seconds(20_000), 0.005)
