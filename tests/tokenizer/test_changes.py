"""What normalization changes is counted by script."""

from __future__ import annotations

from collections import Counter

import pytest

from maskling.tokenizer import pipeline
from maskling.tokenizer.changes import ScriptChanges, TextSample, count_changes
from maskling.tokenizer.settings import TokenizerSettings


def changes(text: str, **fields: object) -> dict[str, ScriptChanges]:
    normalizer = pipeline.normalizer(TokenizerSettings(**fields))
    return {one.script: one for one in count_changes(normalizer.normalize_str, Counter(text.split()))}


@pytest.mark.parametrize("dotless", [True, False])
@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_changes_of_case_and_form_are_none(kind: str, dotless: bool):
    text = "The İstanbul IŞIK ΤΗΣ ÉCOLE में パンダ مي‌خ Việt\u00adNam カ\u3099 한국어 中国 ＡＢ"
    for one in changes(text, kind=kind, dotless_i=dotless).values():
        assert one.changed == 0, one


def test_what_bert_removes_is_counted_by_hand():
    # में = म + े (Mn) + ं (Mn); कि = क + ि (Mc, kept); the joiner of می‌ goes; é loses its accent.
    found = changes("में में कि می\u200cخ café the", normalization="bert")
    assert found["Devanagari"] == ScriptChanges("Devanagari", characters=8, marks=4)
    assert found["Arabic"] == ScriptChanges("Arabic", characters=4, joiners=1)
    assert found["Latin"] == ScriptChanges("Latin", characters=8, marks=1)
    assert next(iter(found)) == "Devanagari"
    assert found["Devanagari"].share == 0.5


def test_letters_that_become_others_are_replaced():
    found = count_changes(lambda text: text.replace("ж", "z").replace("ы", ""), Counter({"жы": 3, "да": 1}))
    assert found == [ScriptChanges("Cyrillic", characters=8, letters=3, replaced=3)]


def test_a_sample_ends_at_its_number_of_characters():
    sample = TextSample(10)
    for text in ("one two ", "three", "four"):
        assert not sample.is_full
        sample.add(text)
        if sample.is_full:
            break
    assert sample.words == {"one": 1, "two": 1, "th": 1}
