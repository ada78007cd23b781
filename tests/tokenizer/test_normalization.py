"""What a new tokenizer makes of a text before it splits it: marks and joiners stay, other forms of a text are one."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given

from maskling.corpus.clean import clean
from maskling.corpus.settings import CleanSettings
from maskling.tokenizer import normalization, pipeline, pre_split
from maskling.tokenizer.segmentation import IDEOGRAPH
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.tokenizer.training import count_words, train_vocabulary
from oracles.nasty_text import nasty

KINDS = ["wordpiece", "bpe", "unigram"]
# Sentences of the Universal Declaration of Human Rights, article 1, and everyday ones; with marks of every kind.
SCRIPTS = {
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "Bengali": "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে।",
    "Tamil": "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்",
    "Malayalam": "മനുഷ്യരെല്ലാവരും തുല്യാവകാശങ്ങളോടും അന്തസ്സോടും",
    "Sinhala": "ශ්‍රී ලංකාව",
    "Thai": "วันนี้อากาศดีมาก มนุษย์ทั้งหลายเกิดมามีอิสระ",
    "Lao": "ມະນຸດທຸກຄົນເກີດມາມີກຽດສັກສີ",
    "Khmer": "មនុស្សទាំងអស់ កើតមកមានសេរីភាព",
    "Burmese": "လူတိုင်းသည် တူညီ လွတ်လပ်သော",
    "Tibetan": "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ",
    "Arabic": "يُولَدُ جَمِيعُ النَّاسِ أَحْرَارًا",
    "Hebrew": "כָּל בְּנֵי הָאָדָם נוֹלְדוּ",
    "Persian": "می‌خواهم کتاب‌ها را",
    "Japanese": "パンダはハンダと ガラス が",
    "Russian": "мой ёлка всё йод",
    "Yoruba": "ọkọ ọkọ̀ ọkọ́ oko",
    "Vietnamese": "mọi người sinh ra đều được tự do",
    "Korean": "모든 인간은 태어날 때부터",
    "emoji": "👨‍👩‍👧 ❤️",
}
NOT_TURKISH = CleanSettings(join_lines="never")


def trained(text: str, **fields: Any) -> Tokenizer:
    settings = TokenizerSettings(vocab_size=2000, min_count=1, **fields)
    return train_vocabulary(count_words([text], settings), settings)


def normal(text: str, **fields: Any) -> str:
    return pipeline.normalizer(TokenizerSettings(**fields)).normalize_str(text)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_letter_mark_and_joiner_comes_back(kind: str, script: str):
    text = unicodedata.normalize("NFC", SCRIPTS[script])
    tokenizer = trained(text, kind=kind)
    assert "".join(tokenizer.decode(tokenizer.encode(text).ids).split()) == "".join(text.split())


@pytest.mark.parametrize("kind", KINDS)
def test_different_words_stay_different(kind: str):
    tokenizer = trained("ọkọ ọkọ̀ ọkọ́ oko यहाँ में यह म می‌خواهم میخواهم", kind=kind)
    words = ["ọkọ", "ọkọ̀", "ọkọ́", "oko", "में", "म", "می‌خواهم", "میخواهم"]
    assert len({tuple(tokenizer.encode(word).ids.tolist()) for word in words}) == len(words)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("written", "clean_text"),
    [
        (unicodedata.normalize("NFD", "모든 인간은"), "모든 인간은"),
        (unicodedata.normalize("NFD", "Việt Nam ọkọ̀"), "Việt Nam ọkọ̀"),
        ("Việt\u00a0Nam", "Việt Nam"),
        ("\ufeffViệt Nam", "Việt Nam"),
        ("Việt\u200bNam", "Việt Nam"),
        ("Việt  \u3000 Nam", "Việt Nam"),
        ("Vi\u00adệt Nam", "Việt Nam"),
        ("Việt\u200e Nam\u202c", "Việt Nam"),
        ("Việt\tNam\r\n\r\n\r\nmọi", "Việt Nam\n\nmọi"),
        ("Việt Nam \n mọi", "Việt Nam\nmọi"),
    ],
)
def test_text_in_any_form_has_the_ids_of_the_clean_text(kind: str, written: str, clean_text: str):
    tokenizer = trained("모든 인간은 태어날 Việt Nam mọi ọkọ̀ người", kind=kind)
    expected = tokenizer.encode(clean_text)
    for special in (False, True):
        found = tokenizer.encode(written, special_in_text=special)
        assert found.ids.tolist() == expected.ids.tolist()
        assert tokenizer.special.unk not in found.ids
    assert tokenizer.encode(written).word_starts.tolist() == expected.word_starts.tolist()


@pytest.mark.parametrize("kind", KINDS)
@given(text=nasty)
def test_cleaning_first_changes_nothing(kind: Any, text: str):
    # Cleaning reads C1 characters as windows-1252, and writes these as spaces.
    text = re.sub("[\x80-\x84\x86-\x9f]", "", re.sub("[\x00\x1f\u200b]", " ", text))
    text = text.strip().encode("utf-8", "ignore").decode()
    # A space at either end is kept for byte-level BPE, which cleaning strips.
    once = normal(text, kind=kind).strip()
    assert normal(clean(text, NOT_TURKISH), kind=kind).split() == once.split()
    assert normal(once, kind=kind).split() == once.split()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("text", "dotless", "expected"),
    [
        ("İSTANBUL IŞIK ılık", True, "istanbul ışık ılık"),
        ("İSTANBUL ISLAND", False, "istanbul island"),
        ("I\u0307stanbul", True, "istanbul"),
        ("i\u0307stanbul", True, "istanbul"),
        ("DİYARBAKIR", True, "diyarbakır"),
    ],
)
def test_the_lower_case_of_i(kind: Any, text: str, dotless: bool, expected: str):
    assert normal(text, kind=kind, dotless_i=dotless) == expected


@pytest.mark.parametrize("text", ["ΤΗΣ ΟΔΥΣΣΕΑΣ ΣΟΦΙΑ Σ ΛΌΓΟΣ.", "ΣΊΣΥΦΟΣ", "J̌", "ẞ Ǆ", "ΆΣ (ΩΣ)"])
def test_lower_case_is_that_of_unicode(text: str):
    # Python has Unicode's rule for Σ, which looks at the whole word.
    expected = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    for kind in KINDS:
        assert normal(text, kind=kind, dotless_i=False) == expected


def test_stripping_on_request_removes_what_bert_removes():
    for text in ("naïve café", "में कि की", "วันนี้", "ガラス"):
        bert = normal(text, normalization="bert")
        assert normal(text, strip_accents=True) == bert
        marks = [c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) == "Mc"]
        assert all(mark in normal(text, kind="bpe", strip_accents=True) for mark in marks)


def test_the_lower_case_of_i_follows_the_language_and_else_the_text():
    settings = TokenizerSettings()
    assert normalization.for_language(settings, "tr").dotless_i is True
    assert normalization.for_language(settings, "az-Latn").dotless_i is True
    assert normalization.for_language(settings, "en").dotless_i is False
    assert normalization.for_language(settings, "auto").dotless_i is None
    turkish, english = "ılık ışık Isı IŞIK kızıl", "It is in this island, İstanbul, Ilık"
    for kind in KINDS:
        assert trained(turkish, kind=kind).folds_to_dotless_i
        assert not trained(english, kind=kind).folds_to_dotless_i
        assert not trained(english + turkish, kind=kind, dotless_i=False).folds_to_dotless_i


def test_every_normalizer_of_a_new_tokenizer_is_recognized():
    for kind in KINDS:
        for settings in (
            TokenizerSettings(kind=kind),
            TokenizerSettings(kind=kind, lowercase=False),
            TokenizerSettings(kind=kind, dotless_i=True, strip_accents=True, split_chinese=False),
        ):
            found = normalization.recognize(normalization.as_json(pipeline.normalizer(settings)), kind)
            assert found == normalization.Normalization.of(settings)


def test_no_split_is_where_marks_compose():
    # WordPiece text is split at these; NFC composes none of them with a mark but those that send a text whole.
    places = pre_split._ASCII_MARKS + pre_split._CHINESE_MARKS + "0123456789"
    for code in range(0x110000):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and chr(int(parts[0], 16) if "<" not in parts[0] else 0) in places:
            assert chr(int(parts[1], 16)) in pre_split.COMPOSING_MARKS


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"normalization": "bert", "kind": "bpe"}, "for the kind wordpiece"),
        ({"dotless_i": True, "lowercase": False}, "needs lowercase"),
        ({"special_tokens": ["[MASK]"]}, "special token of every vocabulary"),
        ({"special_tokens": ["a b"]}, "contains a space"),
        ({"special_tokens": [""]}, "empty"),
        ({"special_tokens": ["e\u0301"]}, "normalize"),
        ({"special_tokens": ["[URL]", "[URL]"]}, "twice"),
    ],
)
def test_settings_that_cannot_be_met(fields: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        TokenizerSettings(**fields)


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_cleaning_and_the_tokenizer_remove_and_split_at_the_same_characters(kind: Any):
    normalizer = pipeline.normalizer(TokenizerSettings(kind=kind, lowercase=False))
    # Cleaning reads C1 characters as windows-1252, which only text that was decoded wrongly needs.
    others = [chr(code) for code in range(0x10000) if not (0x80 <= code <= 0x9F or 0xD800 <= code <= 0xDFFF)]
    texts = [f"ab{character}cd" for character in others]
    differ = [text for text in texts if clean(text, CleanSettings()).split() != normalizer.normalize_str(text).split()]
    # WordPiece isolates Chinese characters, which cleaning does not.
    assert [text for text in differ if kind != "wordpiece" or not IDEOGRAPH.search(text)] == []
