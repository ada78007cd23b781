"""A graph says what the model says that it was made from: to onnxruntime, and through maskling; or it is not there."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from maskling.cli.main import run
from maskling.errors import MissingExtra, ModelError, SettingsError
from maskling.exporting import onnx as export_onnx_file
from maskling.exporting.cards import CardFacts, TaskFacts
from maskling.exporting.folder import export_model, export_task_model
from maskling.exporting.onnx import export_onnx
from maskling.infer.model import load
from maskling.model.attention import AttentionPattern
from maskling.model.masked_lm import MaskedLM
from maskling.model.tasks.config import HeadConfig
from maskling.model.tasks.model import new_task_model
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.export_run import export_folder
from small_models import bert, byte_level, modern, roberta, wordpiece

onnxruntime = pytest.importorskip("onnxruntime")
transformers = pytest.importorskip("transformers")

KINDS: dict[str, tuple[Callable[[Path], Tokenizer], Callable[[Tokenizer], MaskedLM]]] = {
    "bert": (wordpiece, bert),
    "roberta": (byte_level, roberta),
    "modern": (wordpiece, modern),
    "pair": (wordpiece, lambda tokenizer: bert(tokenizer, pair_head=True)),
}
TEXTS = ["The quick brown fox jumps over the lazy dog.", "A souvenir!", "foxing, of the dog of the dog of a gift"]
MASKED = ["the quick [MASK] fox sees a [MASK].", "[MASK]"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with BERT in model/ and its graph in onnx/. Not to be written to."""
    return exported("bert", tmp_path_factory.mktemp("made"))


def exported(kind: str, folder: Path, **how: bool) -> Path:
    make_tokenizer, make_module = KINDS[kind]
    tokenizer = make_tokenizer(folder / "vocabulary")
    export_model(make_module(tokenizer), tokenizer, folder / "model", CardFacts(name="Mine", seq_length=40))
    export_onnx(folder / "model", folder / "onnx", **how)
    return folder


def check_the_same_answers(folder: Path) -> None:
    model, onnx = load(folder / "model", device="cpu"), load(folder / "onnx")
    assert onnx.max_length == model.max_length == 40
    assert "onnxruntime" in onnx.compute.description
    for joint in (False, True):
        for one, other in zip(model.fill(MASKED, joint=joint), onnx.fill(MASKED, joint=joint), strict=True):
            first, second = one.as_dict(), other.as_dict()
            assert first.keys() == second.keys()
            assert [row[-1] for row in one.rows()] == [row[-1] for row in other.rows()]
    for pooling in ("mean", "cls"):
        np.testing.assert_allclose(onnx.embed(TEXTS, pooling), model.embed(TEXTS, pooling), rtol=1e-4, atol=1e-4)
    for one, other in zip(model.score(TEXTS), onnx.score(TEXTS), strict=True):
        assert other.total == pytest.approx(one.total, rel=1e-4)
    assert onnx.module.num_parameters() == sum(parameter.numel() for parameter in model.module.parameters()) - (
        2 * 24 + 2 + 24 * 24 + 24 if model.module.config.pair_head else 0
    )


def check_against_transformers(folder: Path) -> None:
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(folder / "model").eval()
    encoded = transformers.AutoTokenizer.from_pretrained(folder / "onnx")(TEXTS, padding=True, return_tensors="pt")
    session = onnxruntime.InferenceSession(folder / "onnx" / "onnx" / "model.onnx")
    assert {one.name for one in session.get_inputs()} == set(encoded)
    assert [one.name for one in session.get_outputs()] == ["logits", "last_hidden_state"]
    logits, hidden = session.run(None, {name: tensor.numpy() for name, tensor in encoded.items()})
    with torch.no_grad():
        expected = theirs(**encoded, output_hidden_states=True)
    real = encoded["attention_mask"].bool().numpy()
    assert not real.all()
    np.testing.assert_allclose(logits[real], expected.logits.numpy()[real], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(hidden[real], expected.hidden_states[-1].numpy()[real], rtol=1e-4, atol=1e-4)


def test_the_graph_gives_what_transformers_gives_for_padded_texts(made: Path) -> None:
    check_against_transformers(made)


def test_maskling_answers_from_the_graph_as_from_the_model(made: Path) -> None:
    check_the_same_answers(made)


def test_examples_that_share_a_row_do_not_see_each_other(made: Path) -> None:
    model, onnx = load(made / "model", device="cpu").module, load(made / "onnx").module
    examples = torch.tensor([[0] * 5 + [1] * 9 + [2] * 3 + [-1] * 2, [0] * 19, [-1] * 19, [0] * 2 + [1] * 17])
    positions = torch.tensor([[*range(5), *range(9), *range(3), 0, 0], [*range(19)], [0] * 19, [0, 1, *range(17)]])
    ids = torch.randint(0, model.config.vocab_size, examples.shape, generator=torch.Generator().manual_seed(5))
    types = (positions > 2).long()
    pattern = AttentionPattern.from_example_ids(examples)
    with torch.no_grad():
        expected, found = (one(ids, positions, types, pattern) for one in (model, onnx))
    real = examples >= 0
    torch.testing.assert_close(found[real], expected[real], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(onnx.predict(found[0, 3:7]), model.predict(expected[0, 3:7]), rtol=1e-4, atol=1e-4)


def test_the_folder_holds_its_weights_once_and_no_path_of_this_machine(made: Path) -> None:
    graphs = made / "onnx" / "onnx"
    weights = sum(p.numel() * 4 for p in load(made / "model", device="cpu").module.parameters())
    sizes = {path.name: path.stat().st_size for path in graphs.iterdir()}
    assert sizes.keys() == {"model.onnx", "encoder.onnx_part", "head.onnx_part"}
    assert weights < sizes["model.onnx"] < weights + 60_000
    for path in (made / "onnx").rglob("*"):
        if path.is_file():
            assert b"/src/maskling/" not in path.read_bytes(), path
    card = (made / "onnx" / "README.md").read_text()
    assert "transformers.js" in card
    assert "Not measured." in card
    config = json.loads((made / "onnx" / "config.json").read_text())
    assert config["architectures"] == ["BertForMaskedLM"]


def test_parts_of_another_graph_are_refused(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "onnx", tmp_path / "onnx")
    whole = tmp_path / "onnx" / "onnx" / "model.onnx"
    raw = bytearray(whole.read_bytes())
    raw[len(raw) // 2] ^= 1
    whole.write_bytes(raw)
    with pytest.raises(ModelError, match="was not made from the model"):
        load(tmp_path / "onnx")
    (whole.parent / "encoder.onnx_part").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="damaged or not supported"):
        load(tmp_path / "onnx")
    (whole.parent / "encoder.onnx_part").unlink()
    with pytest.raises(ModelError, match=r"has model\.onnx but no encoder\.onnx_part"):
        load(tmp_path / "onnx")


def test_what_a_graph_cannot_do_is_said(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="runs on the CPU"):
        load(made / "onnx", device="cuda")
    with pytest.raises(SettingsError, match="not on bf16"):
        load(made / "onnx", dtype="bf16")
    with pytest.raises(ModelError, match="already ONNX"):
        export_onnx(made / "onnx", made / "again")
    with pytest.raises(ModelError, match="for inference only"):
        load(made / "onnx").module.hf_names()
    for package, call in (
        ("onnxruntime", lambda: load(made / "onnx")),
        ("onnxscript", lambda: export_onnx(made / "model", made / "again")),
    ):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtra, match=r"pip install 'maskling\[onnx\]'"):
            call()
        monkeypatch.undo()
    assert not (made / "again").exists()


def test_a_graph_that_differs_from_the_model_is_not_written(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiled(graph: torch.nn.Module, path: Path, _: str) -> None:
        shutil.copy(made / "onnx" / "onnx" / "model.onnx", path)
        with torch.no_grad():
            graph.module.word.weight.mul_(1.01)

    monkeypatch.setattr(export_onnx_file, "write_graph", spoiled)
    with pytest.raises(ModelError, match=r"its logits differed by .* than 0.0001"):
        export_onnx(made / "model", made / "other")
    assert {path.name for path in made.iterdir()} == {"vocabulary", "model", "onnx"}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--int8"], "--int8 needs --format onnx"),
        (["--format", "onnx", "--step", "2"], "--step needs --format hf"),
        (["--format", "tflite"], "'tflite' is not one of hf, onnx"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    made: Path, tmp_path: Path, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", str(made / "model"), "--out", str(tmp_path / "out"), *words]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bert"])
def test_every_family_answers_the_same(kind: str, tmp_path: Path) -> None:
    folder = exported(kind, tmp_path)
    check_the_same_answers(folder)
    check_against_transformers(folder)


@pytest.mark.slow
def test_int8_is_small_and_answers_nearly_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = wordpiece(tmp_path / "vocabulary")
    export_model(modern(tokenizer), tokenizer, tmp_path / "model", CardFacts())
    out = tmp_path / "small"
    assert run(["export", str(tmp_path / "model"), "--format", "onnx", "--int8", "--out", str(out), "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert 0.8 <= found["agreement"] <= 1
    assert "Warning" not in said.err
    assert "torchvision" not in said.err
    assert {path.name for path in (out / "onnx").iterdir()} == {
        "model_quantized.onnx", "encoder_quantized.onnx_part", "head_quantized.onnx_part",
    }  # fmt: skip
    one, other = load(tmp_path / "model", device="cpu"), load(out)
    first, second = one.embed(TEXTS, normalize=True), other.embed(TEXTS, normalize=True)
    assert (first * second).sum(1).min() > 0.98
    assert not np.allclose(first, second, atol=1e-6)
    assert f"{100 * found['agreement']:.1f}% of its answers" in (out / "README.md").read_text()


@pytest.mark.slow
def test_an_encoder_alone_gives_its_states(tmp_path: Path) -> None:
    tokenizer = wordpiece(tmp_path / "vocabulary")
    export_model(bert(tokenizer), tokenizer, tmp_path / "model", CardFacts())
    transformers.BertModel.from_pretrained(tmp_path / "model").save_pretrained(tmp_path / "encoder")
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tmp_path / "model" / name, tmp_path / "encoder" / name)
    export_onnx(tmp_path / "encoder", tmp_path / "onnx")
    one, other = load(tmp_path / "encoder", device="cpu"), load(tmp_path / "onnx")
    np.testing.assert_allclose(other.embed(TEXTS), one.embed(TEXTS), rtol=1e-4, atol=1e-4)
    with pytest.raises(ModelError, match="no masked-token head"):
        other.fill(MASKED)
    assert json.loads((tmp_path / "onnx" / "config.json").read_text())["architectures"] == ["BertModel"]


HEADS = {
    "classify": (HeadConfig("classify", ("bad", "good", "so so")), ["the quick fox", ("a dog", "the lazy dog sees")]),
    "regress": (HeadConfig("regress", ("score",), pooling="mean"), ["the quick fox", "a gift"]),
    "tag": (HeadConfig("tag", ("O", "B-X", "I-X")), [("the", "souvenir", "sees"), "A fox jumps over Paris"]),
    "answer": (HeadConfig("answer", ("start", "end")), [("who jumps?", "the fox jumps over the dog")]),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "modern"])
@pytest.mark.parametrize("kind", HEADS)
def test_a_task_is_answered_the_same(kind: str, family: str, tmp_path: Path) -> None:
    make_tokenizer, make_module = KINDS[family]
    tokenizer = make_tokenizer(tmp_path / "vocabulary")
    head, asked = HEADS[kind]
    model = new_task_model(make_module(tokenizer).config, head, seed=3).eval()
    export_task_model(model, tokenizer, tmp_path / "model", TaskFacts())
    export_onnx(tmp_path / "model", tmp_path / "onnx")
    one, other = load(tmp_path / "model", device="cpu"), load(tmp_path / "onnx")
    for first, second in zip(one.predict(list(asked)), other.predict(list(asked)), strict=True):
        assert_close(first.as_dict(), second.as_dict())
    with pytest.raises(ModelError, match="predictions of its task only"):
        other.embed("a fox")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "words"), [("regress", "a correlation of"), ("answer", "% of its answers")])
def test_int8_is_taken_for_the_same_model_and_refused_for_another(
    kind: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = wordpiece(tmp_path / "vocabulary")
    # Wide enough for rounding to swap scores, and places, that are nearly alike: of 16 texts 8 kept their rank, and 12
    # their best place.
    config = bert(tokenizer).config.model_copy(update={"hidden_size": 96, "intermediate_size": 160})
    for seed in (3, 4):
        model = new_task_model(config, HEADS[kind][0], seed).eval()
        export_task_model(model, tokenizer, tmp_path / f"model{seed}", TaskFacts())
    done = export_onnx(tmp_path / "model3", tmp_path / "small", int8=True)
    assert done.agreement is not None
    assert 0.9 < done.agreement.value <= 1
    assert words in done.agreement.words
    assert f"In int8 {done.agreement.words}" in (tmp_path / "small" / "README.md").read_text()
    broken = tmp_path / "small" / "onnx" / "model_quantized.onnx"
    monkeypatch.setattr(export_onnx_file, "write_int8", lambda _, out: shutil.copy(broken, out))
    with pytest.raises(ModelError, match=f"in int8 .*{words}.* do not bear rounding"):
        export_onnx(tmp_path / "model4", tmp_path / "other", int8=True)
    assert not (tmp_path / "other").exists()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its name from there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture
def shelf(made: Path, tmp_path: Path) -> Path:
    """A folder with the weights of a model, and beside it in other/ those of another one of the same shape."""
    shutil.copytree(made / "model", tmp_path / "out")
    module = load(made / "model", device="cpu").module
    with torch.no_grad():
        module.word.weight[7] += 0.5
    export_model(module, load(made / "model").tokenizer, tmp_path / "other", CardFacts(name="Mine", seq_length=40))
    return tmp_path


def test_a_graph_is_added_to_the_weights_of_its_model_and_nothing_is_lost(made: Path, shelf: Path) -> None:
    before = contents(shelf / "out")
    (shelf / "out" / "onnx.77.partial").mkdir()  # what a killed export left
    done = export_onnx(made / "model", shelf / "out")
    graphs = {f"onnx/{name}" for name in ("model.onnx", "encoder.onnx_part", "head.onnx_part")}
    after = contents(shelf / "out")
    assert after.keys() == before.keys() | graphs
    assert before.items() <= after.items()
    assert done.graph == shelf / "out" / "onnx" / "model.onnx"
    assert not (shelf / "out" / "onnx.77.partial").exists()
    # The weights come first; without them it is the graph that answers.
    assert "onnxruntime" not in load(shelf / "out", device="cpu").compute.description
    (shelf / "out" / "model.safetensors").unlink()
    assert "onnxruntime fp32" in load(shelf / "out").compute.description


def test_fp32_and_int8_lie_side_by_side_in_either_order(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "onnx", tmp_path / "one")
    before = contents(tmp_path / "one")
    export_onnx(made / "model", tmp_path / "one", int8=True)
    after = contents(tmp_path / "one")
    assert before.items() <= after.items()
    parts = {"model": ".onnx", "encoder": ".onnx_part", "head": ".onnx_part"}
    assert after.keys() - before.keys() == {f"onnx/{part}_quantized{suffix}" for part, suffix in parts.items()}
    assert "onnxruntime fp32" in load(tmp_path / "one").compute.description
    for part, suffix in parts.items():
        (tmp_path / "one" / "onnx" / f"{part}{suffix}").unlink()
    assert "onnxruntime int8" in load(tmp_path / "one").compute.description
    export_onnx(made / "model", tmp_path / "one")
    assert contents(tmp_path / "one").keys() == after.keys()
    # The same again takes the place of itself, and leaves the other.
    export_onnx(made / "model", tmp_path / "one", int8=True)
    assert contents(tmp_path / "one").keys() == after.keys()


def test_a_graph_is_not_added_to_another_model(made: Path, shelf: Path) -> None:
    with pytest.raises(ModelError, match=r"holds model\.safetensors, which is not known to be of the model in"):
        export_onnx(shelf / "other", shelf / "out")
    shutil.copytree(made / "onnx", shelf / "graphs")
    before = contents(shelf / "graphs")
    with pytest.raises(ModelError, match=r"holds onnx/encoder\.onnx_part, which is not known"):
        export_onnx(shelf / "other", shelf / "graphs", int8=True)
    assert contents(shelf / "graphs") == before
    # But a graph takes the place of an older one of its kind, as weights do.
    export_onnx(shelf / "other", shelf / "graphs")
    assert contents(shelf / "graphs").keys() == before.keys()
    np.testing.assert_allclose(
        load(shelf / "graphs").embed(TEXTS), load(shelf / "other", device="cpu").embed(TEXTS), rtol=1e-4, atol=1e-4
    )


def test_weights_do_not_take_the_place_of_graphs(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "onnx", tmp_path / "graphs")
    before = contents(tmp_path / "graphs")
    for words in ([], ["--positions", "99"]):
        command = ["extend" if words else "export", str(made / "model"), *words, "--out", str(tmp_path / "graphs")]
        assert run(command) == 2
    with pytest.raises(ModelError, match=r"holds onnx/encoder\.onnx_part, which would be lost"):
        export_folder(made / "model", tmp_path / "graphs")
    assert contents(tmp_path / "graphs") == before


def test_a_graph_that_fails_leaves_the_folder_as_it_was(
    made: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(shelf / "out")

    def spoiled(graph: torch.nn.Module, path: Path, _: str) -> None:
        shutil.copy(made / "onnx" / "onnx" / "model.onnx", path)
        with torch.no_grad():
            graph.module.word.weight.mul_(1.01)

    monkeypatch.setattr(export_onnx_file, "write_graph", spoiled)
    with pytest.raises(ModelError, match="its logits differed by"):
        export_onnx(made / "model", shelf / "out")
    assert contents(shelf / "out") == before
    assert {path.name for path in (shelf / "out").iterdir()} == {path.name for path in (made / "model").iterdir()}


def assert_close(one: object, other: object) -> None:
    """Plain data that is the same but for rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_close(one[key], other[key])
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_close(first, second)
    else:
        assert other == (pytest.approx(one, rel=1e-3, abs=1e-4) if isinstance(one, float) else one)
