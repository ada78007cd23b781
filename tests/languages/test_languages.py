"""Default settings in many languages and domains: nothing is lost, little is unknown, the mask rate is met."""

from __future__ import annotations

from pathlib import Path

import pytest

from languages.measuring import RATE, measure
from languages.table import table
from languages.texts import Sample, domains, languages
from maskling.tokenizer.settings import TokenizerSettings

PAGE = Path(__file__).parents[2] / "docs" / "explain" / "languages.md"
SAMPLES = {sample.name: sample for sample in (*languages(), *domains())}
KINDS = ("wordpiece", "bpe", "unigram")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_default_settings_lose_nothing_and_meet_the_mask_rate(sample: Sample, kind: str):
    measured = measure(sample, TokenizerSettings(kind=kind))
    assert measured.kept == 1
    assert measured.unknown < 0.005
    for masking, rate in measured.rates.items():
        assert abs(rate - RATE) < 0.01, masking


def test_the_page_has_the_measured_table():
    assert table() in PAGE.read_text(encoding="utf-8")
