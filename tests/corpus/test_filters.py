from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.corpus.filters import REASONS, rejection
from maskling.corpus.settings import FilterSettings

PROSE = "The quick brown fox jumps over the lazy dog while seven other animals look on from the hill nearby. "
DEFAULTS = FilterSettings()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "too_short"),
        ("x" * 19, "too_short"),
        ("a " * 19, "too_short"),
        ("Nineteen letters by far enough", None),
        ("春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。", None),
        ("你" * 20, None),  # too few words to call it repetition
        (PROSE, None),
        ("\n".join(f"The {i}th of them met number {i * i} in the {i + 7}th year" for i in range(30)), None),
        ("\n".join([PROSE] * 3), "repeated_lines"),
        ("buy it now " * 40, "repeated_words"),
        ("哈哈哈哈" * 40, "repeated_words"),
        ("The cat sat on the mat once again. " * 90, "repeated_words"),
        ("0123 4567 89.5 | 77 % " * 3, "not_alphabetic"),
        ("+-+-+-+-+-+-+-+-+-+-+-+-+-+-", "not_alphabetic"),
        ("हिन्दी में लिखा हुआ एक छोटा सा वाक्य", None),
        ("สวัสดีครับ ผมชื่อสมชาย ยินดีที่ได้รู้จัก", None),
    ],
)
def test_reasons(text: str, reason: str | None) -> None:
    assert rejection(text, DEFAULTS) == reason
    assert reason is None or reason in REASONS


@pytest.mark.parametrize(
    ("text", "loose"),
    [
        ("short", FilterSettings(min_characters=0)),
        ("\n".join([PROSE] * 3), FilterSettings(max_repeated_lines=1, max_repeated_words=1)),
        ("buy it now " * 40, FilterSettings(max_repeated_words=1)),
        ("0123 4567 89.5 | 77 % " * 3, FilterSettings(min_alphabetic=0)),
    ],
)
def test_each_filter_can_be_switched_off(text: str, loose: FilterSettings) -> None:
    assert rejection(text, DEFAULTS) is not None
    assert rejection(text, loose) is None


@given(
    text=st.one_of(
        st.text(min_size=1), st.text(alphabet="ab1. \t\x1c\x85\u2003é你ि\ud800", min_size=1), st.text(alphabet="aé1+ ")
    )
)
def test_letters_are_counted_among_what_is_visible(text: str) -> None:
    visible = [character for character in text if not character.isspace()]
    letters = [one for one in visible if one.isalpha() or unicodedata.category(one)[0] == "M"]
    loose = FilterSettings(min_characters=0, max_repeated_lines=1, max_repeated_words=1)
    few = bool(text) and len(letters) / max(1, len(visible)) < loose.min_alphabetic
    assert (rejection(text, loose) == "not_alphabetic") == few


def test_words_that_come_again_in_another_order_are_no_repetition() -> None:
    # Every pair stands there many times, and next to no run of five twice.
    drawn = random.Random(0)
    text = " ".join(drawn.choice(["fox", "dog", "cat", "hen", "cow", "pig", "owl", "bee"]) for _ in range(600))
    assert rejection(text, DEFAULTS) is None
    assert rejection(f"{text} {text} {text}", DEFAULTS) == "repeated_words"


def test_an_empty_text_is_refused_whatever_the_settings() -> None:
    assert rejection("", FilterSettings(min_characters=0, min_alphabetic=0)) == "too_short"


# A profile, and what it is for: lines of social media, molecules, log lines, sequences, code.
@pytest.mark.parametrize(
    ("profile", "text"),
    [
        ("lines", "ok!"),
        ("lines", "CCO"),
        ("lines", "CC(=O)Oc1ccccc1C(=O)O"),
        ("lines", "2024-09-14 12:52:01,123 0x9a 10.250.42.30:5076"),
        ("lines", "Ọjọ́ dára"),
        ("lines", " ".join(["ATTATT"] * 60)),
        ("code", "for i, x in enumerate([1, 2]):\n    y[i] += (x * 8) % 3"),
        ("none", "1"),
    ],
)
def test_profiles_keep_what_they_are_for_and_prose_does_not(profile: str, text: str) -> None:
    assert rejection(text, FilterSettings.model_validate({"profile": profile})) is None
    assert profile == "code" or "c1" in text or rejection(text, DEFAULTS) is not None


def test_a_limit_that_is_set_takes_precedence_over_the_profile() -> None:
    settings = FilterSettings.model_validate({"profile": "lines", "min_characters": 5})
    assert (settings.min_characters, settings.min_alphabetic) == (5, 0.0)
    assert FilterSettings.model_validate(settings.model_dump()) == settings
    assert FilterSettings() == FilterSettings(profile="prose")
