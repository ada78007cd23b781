"""Answers scored slowly, as the SQuAD paper and the README of its 2.0 program say, and as CMRC 2018's paper does."""

from __future__ import annotations

import string


def squad_words(text: str) -> list[str]:
    """The words that count: lower case, no punctuation, no articles."""
    bare = "".join(character for character in text.lower() if character not in string.punctuation)
    # An article is a whole word; what is no letter, digit or "_" ends one, as "№" or "…" do inside "a…b".
    words, run = [], ""
    for character in [*bare, " "]:
        if character.isalnum() or character == "_":
            run += character
            continue
        words.append(" " if run in ("a", "an", "the") else run)
        words.append(character)
        run = ""
    return "".join(words).split()


def squad_exact(answers: list[str], guess: str, two: bool) -> float:
    """two: by the program of SQuAD 2.0."""
    return max(float(" ".join(squad_words(answer)) == " ".join(squad_words(guess))) for answer in kept(answers, two))


def squad_f1(answers: list[str], guess: str, two: bool) -> float:
    """The best word F1; two: by the program of SQuAD 2.0."""
    return max(_word_f1(squad_words(answer), squad_words(guess), two) for answer in kept(answers, two))


def kept(answers: list[str], two: bool) -> list[str]:
    """The answers a guess is held against."""
    return [answer for answer in answers if squad_words(answer)] or [""] if two else answers


def _word_f1(answer: list[str], guess: list[str], two: bool) -> float:
    if two and (not answer or not guess):
        return float(answer == guess)
    left, same = list(guess), 0
    for word in answer:
        if word in left:
            left.remove(word)
            same += 1
    if not same:
        return 0.0
    precision, recall = same / len(guess), same / len(answer)
    return 2 * precision * recall / (precision + recall)


def longest_common_run(one: list[str], other: list[str]) -> int:
    """Every run of `one`, looked for in `other`."""
    return max(
        (
            last - first
            for first in range(len(one))
            for last in range(first + 1, len(one) + 1)
            for place in range(len(other))
            if other[place : place + last - first] == one[first:last]
        ),
        default=0,
    )
