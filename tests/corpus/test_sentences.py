from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.corpus.sentences import script_language, split_lines, split_sentences

TEXTS = st.one_of(
    st.text(),
    st.text(alphabet="ab. 。！？”\n\t\u3000你好A!?…\u2028\x85"),
    st.lists(
        st.sampled_from(["Mr. Smith went.", " ", "\n\n", "他说：“好！”", "\n", "e.g. this", "No?", "\r\n", "はい。"])
    ).map("".join),
)


@given(text=TEXTS, language=st.sampled_from(["auto", "en", "zh", "ja", "fr", "xx"]))
def test_sentences_joined_are_the_text_and_none_is_empty(text: str, language: str) -> None:
    for pieces in (split_sentences(text, language), split_lines(text)):
        assert "".join(pieces) == text
        assert all(pieces)


@given(text=TEXTS)
def test_white_space_belongs_to_the_sentence_after_it_and_line_breaks_end_sentences(text: str) -> None:
    pieces = split_sentences(text)
    for piece in pieces[:-1]:
        assert piece == piece.rstrip()
    for piece in pieces:
        if piece.strip():
            assert "\n" not in piece.strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello Mr. Smith. How are you?  Fine.", ["Hello Mr. Smith.", " How are you?", "  Fine."]),
        ("A title\n\nIt rains. It pours.", ["A title", "\n\nIt rains.", " It pours."]),
        (
            "See Fig. 3, e.g. the U.S. Army. Version 3.11.2 is out.",
            ["See Fig. 3, e.g. the U.S. Army.", " Version 3.11.2 is out."],
        ),
        ("One vs. Two is cf. Three. End.", ["One vs. Two is cf. Three.", " End."]),
        ("Ends here. \n ", ["Ends here. \n "]),
        (" \n", [" \n"]),
        ("", []),
        # sentencex alone leaves this one whole, because of the digit.
        ("他走了。3个人留下。", ["他走了。", "3个人留下。"]),
        ("“你好！”他说。然后……走了？！是", ["“你好！”", "他说。", "然后……", "走了？！", "是"]),
        ("これはペンです。そうですか？", ["これはペンです。", "そうですか？"]),
        ("你好。\nSee RFC 1035. It is short.", ["你好。", "\nSee RFC 1035.", " It is short."]),
    ],
)
def test_hand_cut_sentences(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


def test_pages_on_one_line_are_cut_as_paragraphs_are() -> None:
    sentence = 'Dr. Smith asked: "Is it (no. 3) in Fig. 2, e.g. here?"'
    assert split_sentences(f"{sentence} " * 2000) == [sentence, *[f" {sentence}"] * 1998, f" {sentence} "]


def test_quotation_marks_pages_apart_hold_nothing_together() -> None:
    text = 'He measured 5" pipes. ' + "It rains and it pours. " * 1000 + 'Then 6" pipes.'
    assert len(split_sentences(text)) > 900


@pytest.mark.parametrize("length", [3990, 4000, 4010, 30_000])
def test_a_long_line_that_does_not_end_is_one_sentence(length: int) -> None:
    text = f"{'ab ' * (length // 3)}end."
    assert split_sentences(f"{text} And so on.") == [text, " And so on."]


def test_french_abbreviations_and_those_of_the_user() -> None:
    assert split_sentences("Bonjour M. Dupont. Merci.", "fr") == ["Bonjour M. Dupont.", " Merci."]
    text = "The Zgr. Office is (Zgr. B) here. Yes."
    assert split_sentences(text, abbreviations=["Zgr."]) == ["The Zgr. Office is (Zgr. B) here.", " Yes."]
    assert len(split_sentences(text)) > 2


def test_script_decides_the_language() -> None:
    assert script_language("Just English with one 漢 sign in a long enough text.") == "en"
    assert script_language("《三国》是一本书 by Luo.") == "zh"
    assert script_language("これは本です") == "ja"
    assert script_language("Привет, мир") == "en"
    assert script_language("") == "en"


def test_lines_that_are_sentences_are_not_cut_further() -> None:
    assert split_lines("One. Two.\nThree\n") == ["One. Two.", "\nThree\n"]


@pytest.mark.parametrize("unit", ["word ", "a", ".", "。", "Yes. ", "他。", " ", "\n"])
def test_five_megabytes_on_one_line_are_cut_like_any_other_text(unit: str) -> None:
    text = unit * (5_000_000 // len(unit))
    # A splitter that takes quadratic time runs into the time limit of every test here.
    assert "".join(split_sentences(text)) == text
