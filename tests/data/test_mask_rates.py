"""Mask rates as measured on prepared folders, and what is said about scripts without spaces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from maskling.data import mask_rates
from maskling.data.examples import MaskRate
from maskling.data.manifest import Manifest, load_manifest
from maskling.data.prepare.events import Prepared
from maskling.data.shards import open_shards
from maskling.errors import DataError
from maskling.tokenizer import segmentation
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.prepared_data import PreparedData
from tiny_corpus import jsonl, prepared, settings, texts

THAI = ["มนุษย์", "ทั้งหลาย", "เกิด", "มา", "อิสระ", "และ", "เสมอ", "กัน", "ใน", "เกียรติศักดิ์", "สิทธิ", "ต่าง", "มโนธรรม"]


def thai(count: int) -> list[str]:
    draw = np.random.default_rng(0)
    return ["".join(draw.choice(THAI, 30)) for _ in range(count)]


def made(tmp_path: Path, documents: list[str], **tokenizer: object) -> Prepared:
    fields = {"kind": "unigram", "strip_accents": False, "vocab_size": 200} | tokenizer
    tmp_path.mkdir(exist_ok=True)
    return prepared(jsonl(tmp_path / "a.jsonl", documents), tmp_path / "out", settings(tokenizer=fields))


def rates_of(done: Prepared) -> mask_rates.MaskRates:
    shards = open_shards(done.folder)
    found = mask_rates.measure(shards, Tokenizer.load(shards.tokenizer_folder))
    assert found is not None
    return found


@pytest.mark.parametrize("words", ["spaces", "icu"])
def test_the_rate_of_text_without_spaces_is_met_with_and_without_a_dictionary(tmp_path: Path, words: str):
    if words == "icu":
        pytest.importorskip("icu4py")
    done = made(tmp_path, thai(60), words=words)
    rates = rates_of(done)
    assert list(rates.of_kind) == ["token", "word", "span", "ngram"]
    assert all(abs(rate.met - 0.15) < 0.01 for rate in rates.of_kind.values()), rates.line
    assert not rates.warnings
    assert (rates.tokens_per_word > 10) == (words == "spaces")


def test_the_event_of_a_prepared_folder_has_the_rates_and_warns_where_they_are_not_met(tmp_path: Path):
    done = made(tmp_path / "a", thai(60), words="spaces")
    assert done.mask_rates == rates_of(done)
    assert not [line for line in done.warnings() if "mask rate" in line]
    short = made(tmp_path / "b", [text[:3] for text in texts(200)])
    assert short.mask_rates is not None
    assert short.mask_rates.warnings
    assert short.mask_rates.warnings[0] in short.warnings()


def test_a_script_without_a_dictionary_is_told_in_one_line(tmp_path: Path):
    lines = made(tmp_path, thai(20), words="spaces").warnings()
    told = [line for line in lines if "Thai" in line]
    assert len(told) == 1
    assert "100% of the text is Thai" in told[0]
    assert "pip install 'maskling[words]'" in told[0]
    assert "tokenizer.words = 'spaces'" in told[0]


def test_a_plain_install_warns_of_chinese_by_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(segmentation, "_installed", lambda _: False)
    documents = [text + "。我来到北京清华大学" * 9 for text in texts(8)]
    told = [line for line in made(tmp_path, documents).warnings() if "Chinese" in line]
    assert len(told) == 1
    assert "each character counts as a word" in told[0]


def test_the_manifest_names_the_segmenter_and_its_version(tmp_path: Path):
    icu4py = pytest.importorskip("icu4py")
    done = made(tmp_path, thai(20), words="icu")
    assert icu4py is not None
    note = done.manifest.scripts["Thai"]
    assert note.characters == sum(map(len, thai(20)))
    assert note.segmenter is not None
    assert note.segmenter.startswith("icu4py ")
    assert "ICU" in note.segmenter
    assert not [line for line in done.warnings() if "Thai" in line]
    assert "Chinese" not in done.manifest.scripts


def test_a_folder_opens_with_its_own_rules_whatever_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("icu4py")
    folder = made(tmp_path, thai(20), words="spaces", chinese_words="characters").folder
    assert PreparedData.open(folder).tokenizer.words == segmentation.WordRules("characters", "spaces")
    other = made(tmp_path / "b", thai(20), words="icu").folder
    monkeypatch.setattr(segmentation, "_installed", lambda _: False)
    assert PreparedData.open(other).tokenizer.words.others == "icu"


def test_old_manifests_say_nothing_of_other_scripts_than_chinese(tmp_path: Path):
    folder = made(tmp_path, texts(10)).folder
    tree = load_manifest(folder).model_dump(mode="json")
    del tree["scripts"], tree["made_from"]["settings"]["tokenizer"]["words"]
    tree["made_from"]["settings"]["tokenizer"]["chinese_words"] = "jieba"
    assert Manifest.model_validate_json(json.dumps(tree)).word_rules == ("jieba", "spaces")


def test_a_rate_that_is_off_is_told_with_the_reason():
    fair = MaskRate(asked=0.15, met=0.155, tokens_per_word=1.5, tokens_per_example=100)
    short = MaskRate(asked=0.15, met=0.25, tokens_per_word=1.0, tokens_per_example=4.0)
    assert mask_rates.warning({"token": fair}) is None
    line = mask_rates.warning({"token": fair, "word": short})
    assert line is not None
    assert "not the 15.0% asked for, but word 25.0%" in line
    assert "4.0 tokens on average" in line


def test_lines_of_few_tokens_are_told(tmp_path: Path):
    draw = np.random.default_rng(0)
    lines = [" ".join(draw.choice(["alpha", "beta", "gamma", "delta", "epsilon"], 4)) for _ in range(200)]
    rates = rates_of(made(tmp_path, lines, kind="wordpiece"))
    assert rates.of_kind["token"].met > 0.2
    assert len(rates.warnings) == 1


def test_a_folder_without_an_example_has_no_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    done = made(tmp_path, texts(4))

    def nothing(*_: object) -> None:
        raise DataError("no text")

    monkeypatch.setattr(mask_rates.SinglePairing, "plan", nothing)
    shards = open_shards(done.folder)
    assert mask_rates.measure(shards, Tokenizer.load(shards.tokenizer_folder)) is None
