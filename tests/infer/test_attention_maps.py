"""Attention maps and layer states are those of transformers, and taking them changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from commands import Said
from maskling.cli.main import run
from maskling.errors import SettingsError
from maskling.exporting.cards import CardFacts
from maskling.exporting.folder import export_model
from maskling.infer import attention_maps
from maskling.infer.model import Model, load
from maskling.model.attention import AttentionPattern
from maskling.model.device import pick_device
from small_models import bert, byte_level, modern, roberta, wordpiece

transformers = pytest.importorskip("transformers")

# Longer than the six tokens that the local layers of `modern` see.
TEXT = "The quick brown fox jumps over the lazy dog, the dog sees a souvenir."


@pytest.mark.parametrize(
    ("make_tokenizer", "make_module"),
    [(wordpiece, bert), (byte_level, roberta), (wordpiece, modern)],
    ids=["bert", "roberta", "modern"],
)
def test_maps_and_states_are_those_of_transformers(make_tokenizer, make_module, tmp_path: Path):
    tokenizer = make_tokenizer(tmp_path / "vocabulary")
    export_model(make_module(tokenizer), tokenizer, tmp_path / "model", CardFacts())
    peer = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "model", attn_implementation="eager").eval()
    encode = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    text = f"{TEXT[:-1]} of {tokenizer.mask_token}."
    encoded = encode(text, return_tensors="pt")
    with torch.no_grad():
        theirs = peer(**encoded, output_attentions=True, output_hidden_states=True)
    model = load(tmp_path / "model", device="cpu")
    maps, states = model.attention(text), model.layers(text)
    assert list(maps.tokens) == encode.convert_ids_to_tokens(encoded["input_ids"][0])
    assert maps.weights.dtype == states.dtype == np.float32
    expected = torch.cat(theirs.attentions).numpy()
    assert maps.weights.shape == expected.shape
    np.testing.assert_allclose(maps.weights, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(maps.weights.sum(-1), 1, rtol=1e-5)
    expected = torch.cat(theirs.hidden_states).numpy()
    assert states.shape == expected.shape
    np.testing.assert_allclose(states, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert not maps.cut


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    tokenizer = wordpiece(tmp_path_factory.mktemp("wordpiece"))
    return Model(modern(tokenizer), tokenizer, pick_device("cpu", "fp32"), 40)


def test_local_layers_see_their_window_only(model: Model):
    weights = model.attention(TEXT).weights
    distance = np.abs(np.subtract.outer(np.arange(weights.shape[2]), np.arange(weights.shape[2])))
    assert not weights[1:3][..., distance > 3].any()
    assert weights[0][..., distance > 3].any()


def test_looking_changes_nothing(model: Model):
    ids = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])
    visible = AttentionPattern.from_attention_mask(ids > 0)
    positions = torch.arange(5).expand(2, 5)
    for training in (False, True):
        with torch.set_grad_enabled(training):
            plain = model.module(ids, positions, None, visible)
            visible.maps = []
            watched = model.module(ids, positions, None, visible)
        assert torch.equal(plain, watched)
        assert [tuple(layer.shape) for layer in visible.maps] == [(2, 3, 5, 5)] * 4
        assert not visible.maps[0][1, :, :3, 3:].any()  # padding is seen by no token
        visible.maps = None


def test_each_layer_can_be_pooled(model: Model):
    states = model.layers(TEXT)
    for layer in (0, 1, 3, 4, -1, -2, -5):
        np.testing.assert_allclose(model.embed(TEXT, layer=layer), states[layer].mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.embed(TEXT, layer=4), model.embed(TEXT))
    for layer in (5, -6):
        with pytest.raises(SettingsError, match="this model has layers 1 to 4"):
            model.embed(TEXT, layer=layer)


def test_the_summary_is_of_the_maps(model: Model):
    maps = model.attention("the fox sees")
    heads = maps.summary()
    assert [(head["layer"], head["head"]) for head in heads] == [
        (layer, head) for layer in range(4) for head in range(3)
    ]
    for head in heads:
        own = maps.weights[int(head["layer"]), int(head["head"])].astype(float)
        n = len(own)
        assert head["itself"] == pytest.approx(sum(own[i, i] for i in range(n)) / n, rel=1e-5)
        assert head["before"] == pytest.approx(sum(own[i, i - 1] for i in range(1, n)) / n, rel=1e-5)
        assert head["after"] == pytest.approx(sum(own[i, i + 1] for i in range(n - 1)) / n, rel=1e-5)
        assert head["first"] == pytest.approx(own[:, 0].mean(), rel=1e-5)
        assert head["last"] == pytest.approx(own[:, -1].mean(), rel=1e-5)
        assert head["entropy"] == pytest.approx(-(own * np.log(own + 1e-30)).sum() / n, rel=1e-4)


def test_a_text_that_is_too_long_is_cut_and_that_is_said(model: Model, monkeypatch: pytest.MonkeyPatch):
    with pytest.warns(UserWarning, match="longer than the 40 tokens"):
        assert model.attention("fox " * 50).weights.shape == (4, 3, 40, 40)
    with pytest.warns(UserWarning, match="longer than the 40 tokens"):
        assert model.layers("fox " * 50).shape == (5, 40, 24)
    monkeypatch.setattr(attention_maps, "_MAX_BYTES", 4 * 4 * 3 * 5 * 5 - 1)
    with pytest.raises(SettingsError, match="attention maps of 5 tokens would take"):
        model.attention("the fox sees")


def test_the_command_writes_what_python_gives(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    tokenizer = wordpiece(tmp_path / "vocabulary")
    export_model(bert(tokenizer), tokenizer, tmp_path / "model", CardFacts())
    out = tmp_path / "maps.npz"
    said = Said(run(["attention", str(tmp_path / "model"), TEXT, "--out", str(out), "--json"]), *capsys.readouterr())
    assert said.code == 0
    maps = load(tmp_path / "model").attention(TEXT)
    with np.load(out) as written:
        np.testing.assert_array_equal(written["weights"], maps.weights)
        assert written["tokens"].tolist() == list(maps.tokens)
    assert json.loads(said.out)["heads"] == maps.summary()
    assert run(["attention", str(tmp_path / "model"), TEXT]) == 0
    assert "entropy" in capsys.readouterr().out
    assert run(["attention", str(tmp_path / "model"), TEXT, "--out", str(tmp_path)]) == 2
