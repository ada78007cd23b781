"""Answers are scored as SQuAD's and CMRC's programs do."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.metrics.squad import chinese_exact_match, chinese_f1, exact_match, f1, normalized, score_answers
from oracles.squad_counting import longest_common_run, squad_exact, squad_f1, squad_words

texts = st.lists(
    st.sampled_from(
        ["the", "a", "An", "cat", "Cat", "cats'", "sat", "on", "U.S.", "-", "…", "a–b", "über", "\n", "42"]
    ),
    max_size=6,
).map(" ".join)
answers = st.lists(texts, min_size=1, max_size=3)
chinese = st.text(alphabet="中国北京，。 ab1", max_size=8)


@given(answers=answers, guess=texts)
def test_scores_are_those_of_a_slow_count_by_the_rules_of_squad_2(answers, guess):
    assert normalized(guess) == " ".join(squad_words(guess))
    assert exact_match(answers, guess) == squad_exact(answers, guess, two=True)
    assert f1(answers, guess) == pytest.approx(squad_f1(answers, guess, two=True))


@given(answers=answers.filter(lambda some: all(map(squad_words, some))), guess=texts)
def test_where_every_answer_has_a_word_squad_1_counts_the_same(answers, guess):
    assert exact_match(answers, guess) == squad_exact(answers, guess, two=False)
    assert f1(answers, guess) == pytest.approx(squad_f1(answers, guess, two=False))


def test_some_sums_by_hand():
    assert exact_match(["The Cat."], "cat") == 1
    # Two words of three, and of the two there are: precision 2/3, recall 1.
    assert f1(["sat down", "the cat"], "a sat down there") == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))
    assert f1(["no no no"], "no no") == pytest.approx(0.8)


def test_no_answer_is_matched_by_no_guess_alone():
    assert (exact_match([], ""), f1([], "")) == (1, 1)
    assert (exact_match([], "cat"), f1([], "cat")) == (0, 0)
    assert (exact_match(["cat"], ""), f1(["cat"], "")) == (0, 0)
    assert (chinese_exact_match([], ""), chinese_f1([], "")) == (1, 1)
    assert (chinese_exact_match([], "猫"), chinese_f1(["猫"], "")) == (0, 0)


@given(answer=chinese, guess=chinese)
def test_chinese_is_scored_by_the_longest_run_of_characters_in_both(answer, guess):
    # No word of two letters here but those of a, b and 1, which belong together.
    def tokens(text):
        found: list[str] = []
        before = " "
        for character in text.strip().replace("，", "").replace("。", ""):
            if character.isascii() and character.isalnum() and before.isascii() and before.isalnum():
                found[-1] += character
            elif character != " ":
                found.append(character)
            before = character
        return found

    one, other = tokens(answer), tokens(guess)
    same = longest_common_run(one, other)
    if not one or not other:
        assert chinese_f1([answer], guess) == float(one == other)
    else:
        assert chinese_f1([answer], guess) == pytest.approx(2 * same / (len(one) + len(other)))


def test_chinese_by_hand():
    assert chinese_exact_match(["《红楼梦》"], "红楼梦") == 1
    # "北京大" is the longest run: 3 of 4 and of 5.
    assert chinese_f1(["北京大学"], "在北京大的") == pytest.approx(2 * 3 / 9)
    assert chinese_f1(["NFL 联盟"], "nfl联盟") == 1
    assert chinese_f1(["308分", "三百"], "308 分") == 1


def test_the_language_is_seen_from_the_answers():
    truth, guess = [["北京大学"], ["上海"], ["Paris"]], ["北京", "海", "paris"]
    scores = score_answers(truth, guess)
    assert scores == score_answers(truth, guess, chinese=True)
    assert scores.f1 == pytest.approx((2 * 2 / 6 + 2 / 3 + 1) / 3)
    assert scores.exact == pytest.approx(1 / 3)
    assert score_answers(truth, guess, chinese=False).f1 == pytest.approx(1 / 3)
    assert score_answers([["Paris"], []], ["in Paris", ""]).f1 == pytest.approx((2 / 3 + 1) / 2)


def test_no_questions_have_no_score():
    scores = score_answers([], [])
    assert math.isnan(scores.exact)
    assert math.isnan(scores.f1)
    assert scores.questions == 0
