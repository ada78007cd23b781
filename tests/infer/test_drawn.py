"""Results draw themselves in notebooks: all text escaped, the numbers those of the result, nothing empty crashes."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskling.drawing import attention_map, attention_overview, bars, line_chart, marked, png, progress_bar
from maskling.errors import SettingsError
from maskling.infer.attention_maps import AttentionMaps
from maskling.infer.results import (
    Answered,
    Entity,
    Filled,
    FilledMasks,
    FilledTogether,
    Label,
    Labels,
    Span,
    Tagged,
    Together,
    Word,
)
from maskling.infer.score import ScoredText
from small_models import wordpiece

EVIL = """<script>alert('1')</script><img src=x onerror="x()"> & "quotes" '"""
TAGS = {"div", "span", "mark", "small", "pre", "b", "svg", "text", "image", "polyline", "circle", "path", "line"}
ATTRIBUTES = re.compile(r"on\w+|src|srcdoc|formaction")


class Read(HTMLParser):
    """The text of a drawing; fails on any tag or attribute that a drawing does not use."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text, self.open = "", list[str]()
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        for name, value in attrs:
            assert not ATTRIBUTES.fullmatch(name)
            assert name != "href" or (value or "").startswith("data:image/png;base64,")
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def filled(word: str, probability: float = 0.25) -> Filled:
    return Filled(word, (word,), (7,), probability, f"A {word}.")


def maps(tokens: tuple[str, ...], layers: int = 2, heads: int = 3) -> AttentionMaps:
    weights = np.random.default_rng(0).random((layers, heads, len(tokens), len(tokens)), dtype=np.float32)
    return AttentionMaps(tokens, weights / weights.sum(-1, keepdims=True))


EVIL_RESULTS = [
    FilledMasks(EVIL, ((filled(EVIL),), (filled("b"),))),
    FilledTogether(EVIL, (Together((EVIL,), ((7,),), 0.5, EVIL),)),
    Label(EVIL, 0.9, {EVIL: 0.9, "other": 0.1}),
    Labels((EVIL,), {EVIL: 0.9}),
    Tagged(EVIL, (Word(EVIL, EVIL, 0.9, 0, len(EVIL)),), (Entity(EVIL, EVIL, 0.9, 0, len(EVIL)),)),
    Tagged(EVIL, (Word(EVIL, "NOUN", 0.9, 0, len(EVIL)),)),
    Answered(EVIL, 0, len(EVIL), 0.9, best=(Span(EVIL, 0, len(EVIL), 0.9),)),
    maps((EVIL[:14], "b", "c")),
]


@pytest.mark.parametrize("result", EVIL_RESULTS, ids=lambda one: type(one).__name__)
def test_text_is_escaped_and_shown_as_it_is(result: Any):
    read = Read(result._repr_html_())
    assert (EVIL[:14] if isinstance(result, AttentionMaps) else EVIL) in read.text


EMPTY_RESULTS = [
    (FilledMasks("no mask here", ()), "no masks"),
    (FilledMasks("", ((),)), ""),
    (FilledTogether("none", ()), "no fillings"),
    (Labels((), {"a": 0.1}), "No label"),
    (Labels((), {}), "No label"),
    (Tagged("", ()), "no words"),
    (Tagged("Plain words", (Word("Plain", "O", 0.9, 0, 5),)), "no entities"),
    (Answered("", 0, 0, 0.0, no_answer=0.75), "0.7500"),
    (Answered("", 0, 0, 0.0), "no answer"),
]


@pytest.mark.parametrize(("result", "said"), EMPTY_RESULTS)
def test_empty_answers_say_so(result: Any, said: str):
    assert said in Read(result._repr_html_()).text


def test_a_cut_text_says_so():
    whole, cut = (FilledMasks("A [MASK].", ((filled("b"),),), cut=cut)._repr_html_() for cut in (False, True))
    assert "longer than the model reads" in Read(cut).text
    assert "longer than the model reads" not in Read(whole).text


def test_a_score_shows_its_words_and_numbers(tmp_path: Path):
    tokenizer = wordpiece(tmp_path)
    ids = np.array(tokenizer.encode("the souvenir").ids, dtype=np.int32)
    assert len(ids) > 2  # the second word has several pieces
    starts = np.array([True, True] + [False] * (len(ids) - 2))
    values = np.array([-0.001, -2.0] + [-1.0] * (len(ids) - 2))
    text = Read(ScoredText("the souvenir", ids, starts, values, tokenizer)._repr_html_()).text
    assert f"souvenir{-2.0 - (len(ids) - 2):.2f}" in text
    assert "the0.00" in text  # not -0.00
    assert f"{len(ids)} tokens" in text
    empty = ScoredText("<b>", ids[:0], starts[:0], values[:0], tokenizer)
    assert Read(empty._repr_html_()).text == "<b>no tokens to score"
    impossible = ScoredText("the", ids[:1], starts[:1], np.array([-np.inf]), tokenizer)
    assert "-inf" in Read(impossible._repr_html_()).text


def test_bars_are_as_long_as_their_shares():
    drawn = bars([("a", 0.25, ""), ("b", 1.5, ""), ("c", float("nan"), ""), ("d", -1, "")])
    assert re.findall(r"\) ([\d.]+)%,transparent", drawn) == ["25.0", "100.0", "0.0", "0.0"]
    assert "width:50.0%" in progress_bar(0.5, "half")
    assert "width" not in progress_bar(None, "unknown")


def test_spans_are_marked_at_their_characters_once():
    # An emoji is one character here, two units in a browser.
    text = "😀 Ann met Bob Stone"
    drawn = marked(text, [(10, 19, "PER"), (2, 5, "PER"), (10, 13, "LOC"), (0, 0, "EMPTY")])
    assert re.findall(r"<mark[^>]*>([^<]*)<small[^>]*>(\w+)</small></mark>", drawn) == [("Ann", "PER"), ("Bob", "LOC")]
    assert Read(drawn).text == "😀 AnnPER met BobLOC Stone"


def test_a_kind_has_the_same_colour_in_every_drawing_and_no_two_share_one():
    def colours(*kinds: str) -> list[str]:
        return re.findall(r"background:(rgba[^;]*)", marked("abcdef", [(i, i + 1, one) for i, one in enumerate(kinds)]))

    assert len(set(colours("PER", "LOC", "ORG", "MISC", "DATE", "TIME"))) == 6
    assert len(colours(*"ABCDEFG"[:6])) == 6
    assert colours("PER") == colours("PER", "PER")[:1]


def decoded(source: bytes) -> np.ndarray:
    image = pytest.importorskip("PIL.Image")
    return np.asarray(image.open(io.BytesIO(source)).convert("RGBA"))[..., 3]


def pictures(drawn: str) -> list[np.ndarray]:
    return [decoded(base64.b64decode(found)) for found in re.findall(r"base64,([^\"]+)\"", drawn)]


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (4, 8), (67, 31)])
def test_pictures_have_the_strengths_as_opacity(shape: tuple[int, int]):
    strengths = np.random.default_rng(1).random(shape, dtype=np.float32)
    opacity = decoded(png(strengths))
    assert opacity.shape == shape
    assert np.abs(opacity / 255 - strengths).max() <= 1 / 16 + 1e-6
    edges = decoded(png(np.array([[np.nan, np.inf, -1, 2, 0]], dtype=np.float32)))
    assert edges.tolist() == [[0, 255, 0, 255, 0]]


def test_a_map_draws_the_head_that_is_asked_for():
    weights = np.zeros((2, 3, 5, 5), dtype=np.float32)
    weights[1, 2, 3, 1] = 1
    found = AttentionMaps(("[CLS]", "Ġa", "b", "c", "[SEP]"), weights)
    (picture,) = pictures(found.draw(1, 2).html)
    assert np.argwhere(picture).tolist() == [[3, 1]]
    (empty,) = pictures(found.draw(0, 2).html)
    assert not empty.any()
    (mean,) = pictures(found.draw().html)
    assert picture[3, 1] > mean[3, 1] > 0
    assert "Ġ" not in found.draw().html
    for layer, head, said in ((2, 0, "layers 0 to 1"), (0, 3, "heads 0 to 2"), (-1, None, "layer is -1")):
        with pytest.raises(SettingsError, match=said):
            found.draw(layer, head)
    assert repr(found.draw()) == "Drawing()"


def test_the_overview_of_a_large_model_and_a_long_text_stays_small_and_keeps_the_strongest():
    weights = np.zeros((12, 12, 512, 512), dtype=np.float32)
    weights[3, 7, 500, 20] = 1
    drawn = attention_overview(weights)
    (picture,) = pictures(drawn)
    assert picture.shape == (12 * 34, 12 * 34)
    ((row, column),) = np.argwhere(picture > 100).tolist()
    assert (row, column) == (3 * 34 + 500 // 16, 7 * 34 + 20 // 16)
    noisy = np.random.default_rng(0).random((12, 12, 64, 64), dtype=np.float32)
    assert len(attention_overview(noisy)) < 200_000
    assert attention_map(["x"] * 512, weights[0, 0]).count("<text") <= 80


def test_a_chart_draws_its_points_and_leaves_out_what_is_not_finite():
    drawn = line_chart("loss", {"training": [(0, 4.0), (50, float("nan")), (100, 2.0)]}, {"unigram": 3.0})
    ((x0, y0), (x1, y1)) = (pair.split(",") for pair in re.search(r'points="([^"]+)"', drawn)[1].split())
    assert float(x0) < float(x1)
    assert float(y0) < float(y1)  # a lower loss is further down
    level = float(re.search(r'd="M\S+ (\S+)H\S+" stroke-dasharray', drawn)[1])
    assert level == pytest.approx((float(y0) + float(y1)) / 2, abs=0.11)
    assert line_chart("loss", {"training": []}, {"unigram": 3.0}) == ""
    for flat in (0.0, 1.0, -2.5):
        Read(line_chart(EVIL, {EVIL: [(1, flat), (2, flat)]}))
    long = [(float(step), 1 / step) for step in range(1, 100_000)]
    assert len(line_chart("loss", {"training": long})) < 20_000
