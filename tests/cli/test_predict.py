"""`maskling predict`: a line for each record, in a file that is whole or absent, and mistakes said in one line."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from commands import Command
from maskling.errors import SettingsError
from maskling.exporting.cards import CardFacts, TaskFacts
from maskling.exporting.folder import export_model, export_task_model
from maskling.infer.model import load
from maskling.model.tasks.config import HeadConfig, HeadKind
from maskling.model.tasks.model import new_task_model
from small_models import bert, wordpiece

LABELS: dict[HeadKind, tuple[str, ...]] = {
    "classify": ("bad", "good"),
    "multi-label": ("a", "b", "c"),
    "regress": ("score",),
    "tag": ("O", "B-PER", "I-PER"),
    "answer": ("start", "end"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each kind in it. Not to be written to."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = wordpiece(folder / "vocabulary")
    config = bert(tokenizer).config
    export_model(bert(tokenizer), tokenizer, folder / "plain", CardFacts())
    for kind, labels in LABELS.items():
        task = new_task_model(config, HeadConfig(kind, labels), seed=3)
        with torch.no_grad():
            task.head.classifier.weight.mul_(3)
        export_task_model(task, tokenizer, folder / kind, TaskFacts(seq_length=40))
    return folder


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Five texts, in the current folder."""
    rows = ["the lazy dog", "a quick fox", "paris", "a\tgift", "over and over"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": row, "label": "good"}) + "\n" for row in rows))
    return tmp_path / "a.jsonl"


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_a_line_for_each_text(maskling: Command, models: Path, texts: Path) -> None:
    said = maskling("predict", models / "classify", texts)
    assert said.code == 0, said
    expected = load(models / "classify").predict(["the lazy dog", "a quick fox", "paris", "a\tgift", "over and over"])
    rows = [line.split("\t") for line in said.out.splitlines()]
    assert [row[:2] for row in rows] == [[one.label, f"{one.score:.4f}"] for one in expected]
    assert [row[2] for row in rows] == ["the lazy dog", "a quick fox", "paris", "a gift", "over and over"]


@pytest.mark.parametrize(
    ("kind", "line", "keys"),
    [
        ("classify", "the dog\ta fox", {"id", "text", "text_pair", "label", "score", "scores"}),
        ("multi-label", "the dog", {"id", "text", "labels", "scores"}),
        ("regress", "the dog", {"id", "text", "number"}),
        ("tag", "the dog sees paris", {"id", "text", "words", "entities"}),
        ("answer", "who?\tthe dog", {"id", "question", "text", "start", "end", "score", "no_answer", "best"}),
    ],
)
def test_standard_input_and_json(
    maskling: Command, models: Path, monkeypatch: pytest.MonkeyPatch, kind: HeadKind, line: str, keys: set[str]
) -> None:
    for words in (["-"], []):
        typed(monkeypatch, f"{line}\n{line}\n")
        said = maskling("predict", models / kind, *words, "--json")
        assert said.code == 0, said
        found = [json.loads(one) for one in said.out.splitlines()]
        assert [one.pop("id") for one in found] == ["stdin:1", "stdin:2"]
        assert_near(found[0], found[1])
        assert set(found[0]) == keys - {"id"}
    typed(monkeypatch, f"{line}\n{line}\n")
    plain = maskling("predict", models / kind)
    assert len(plain.out.splitlines()) == 2


def assert_near(one: object, other: object) -> None:
    """Compare JSON values but for rounding, which differs between the rows of a matrix product on some processors."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_near(value, other[key])
    elif isinstance(one, list) and isinstance(other, list):
        for value, another in zip(one, other, strict=True):
            assert_near(value, another)
    else:
        assert one == (pytest.approx(other, rel=1e-5) if isinstance(other, float) else other)


def test_a_text_of_the_command_line(maskling: Command, models: Path) -> None:
    said = maskling("predict", models / "tag", "--text", "the lazy dog sees paris.")
    assert said.code == 0, said
    assert [part.split("/")[0] for part in said.out.split()] == ["the", "lazy", "dog", "sees", "paris", "."]


@pytest.mark.parametrize("name", ["out.tsv", "out.jsonl"])
def test_out_takes_the_lines_and_stdout_none(maskling: Command, models: Path, texts: Path, name: str) -> None:
    shown = maskling("predict", models / "classify", texts, *(["--json"] if name.endswith("l") else []))
    said = maskling("predict", models / "classify", texts, "--out", name)
    assert (said.code, said.out) == (0, "")
    assert said.err.splitlines()[-1] == f"5 predictions written to {name}"
    assert Path(name).read_text() == shown.out


def test_a_file_with_a_fault_leaves_what_was_predicted_beside_the_answer(
    maskling: Command, models: Path, texts: Path
) -> None:
    Path("old.tsv").write_text("old")
    texts.write_text(texts.read_text() * 80 + '{"text": 7}\n')
    for name in ("old.tsv", "new.tsv"):
        said = maskling("predict", models / "classify", texts, "--out", name)
        assert "a.jsonl:401 has no text in 'text'" in said.complaint
        assert f"the 256 predictions made before that are in {name}.unfinished" in said.err
        assert len(Path(f"{name}.unfinished").read_text().splitlines()) == 256
    assert Path("old.tsv").read_text() == "old"
    assert not Path("new.tsv").exists()
    good = texts.read_text().replace('{"text": 7}', "")
    texts.write_text('{"text": 7}\n')
    assert maskling("predict", models / "classify", texts, "--out", "new.tsv").code == 2
    assert len(Path("new.tsv.unfinished").read_text().splitlines()) == 256  # a stop at once takes nothing away
    texts.write_text(good)
    assert maskling("predict", models / "classify", texts, "--out", "new.tsv").code == 0
    assert len(Path("new.tsv").read_text().splitlines()) == 400
    assert not Path("new.tsv.unfinished").exists()


def test_a_fault_before_the_first_prediction_leaves_nothing(maskling: Command, models: Path, texts: Path) -> None:
    texts.write_text('{"text": 7}\n')
    assert maskling("predict", models / "classify", texts, "--out", "new.tsv").code == 2
    assert [path.name for path in Path.cwd().iterdir()] == ["a.jsonl"]


def test_what_was_cut_is_said(maskling: Command, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, f"the dog\t{'a fox ' * 50}\nthe dog\ta fox\n")
    said = maskling("predict", models / "classify")
    assert "warning: 1 of them were longer than the model takes and were cut" in said.err


def test_columns_are_settings(maskling: Command, models: Path, texts: Path) -> None:
    Path("b.csv").write_text("title;story\nx;the dog\n")
    said = maskling("predict", models / "classify", "b.csv", "--columns.text", "story")
    assert said.out.endswith("\tthe dog\n")
    wrong = maskling("predict", models / "classify", "b.csv", "--columns.text", "stori")
    assert "has no column 'stori'; did you mean 'story'?" in wrong.complaint


def test_mistakes_are_said_in_a_line(maskling: Command, models: Path, texts: Path) -> None:
    assert "there is no such file" in maskling("predict", models / "classify", "none.jsonl").complaint
    assert "not both" in maskling("predict", models / "classify", texts, "--text", "a").complaint
    assert "no head for a task" in maskling("predict", models / "plain", "--text", "a").complaint
    assert "threshold is 2.0" in maskling("predict", models / "multi-label", texts, "--threshold", 2).complaint
    (texts.parent / "folder").mkdir()
    assert "is a folder" in maskling("predict", models / "classify", texts, "--out", "folder").complaint
    assert "columns.txt" in maskling("predict", models / "classify", texts, "--columns.txt", "a").complaint


def test_without_anything_to_read_it_says_what_to_give(
    maskling: Command, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert "there is nothing to predict on" in maskling("predict", models / "classify").complaint


def test_csv_and_conll_are_what_their_names_say(maskling: Command, models: Path) -> None:
    Path("a.txt").write_text('the dog, "a fox"\na gift\n')
    assert maskling("predict", models / "classify", "a.txt", "--out", "a.csv").code == 0
    rows = list(csv.DictReader(Path("a.csv").read_text().splitlines()))
    assert [(row["id"], row["text"]) for row in rows] == [("a.txt:1", 'the dog, "a fox"'), ("a.txt:2", "a gift")]
    assert {row["prediction"] for row in rows} <= {"bad", "good"}
    assert maskling("predict", models / "tag", "a.txt", "--out", "a.conll").code == 0
    assert [line.split("\t")[0] for line in Path("a.conll").read_text().splitlines()] == [
        *("the", "dog", ",", '"', "a", "fox", '"'), "", *("a", "gift"), "",
    ]  # fmt: skip
    assert maskling("predict", models / "tag", "a.conll", "--out", "b.conll").code == 0
    assert Path("b.conll").read_text() == Path("a.conll").read_text()


def test_a_name_that_promises_something_else_is_refused(maskling: Command, models: Path, texts: Path) -> None:
    assert "name the file .jsonl" in maskling("predict", models / "classify", texts, "--out", "a.json").complaint
    assert "but this model does not tag" in maskling("predict", models / "answer", "--out", "a.bio").complaint
    assert "- is not a file to write to" in maskling("predict", models / "classify", texts, "--out", "-").complaint


@pytest.mark.parametrize("link", [False, True])
def test_what_is_read_is_not_written_over(maskling: Command, models: Path, texts: Path, link: bool) -> None:
    before, out = texts.read_text(), Path("b.jsonl") if link else texts
    if link:
        out.symlink_to(texts)
    for words in (["predict", models / "classify", texts], ["embed", models / "plain", "--file", texts]):
        assert f"{out} is also an input and would be lost" in maskling(*words, "--out", out).complaint
    assert texts.read_text() == before


@pytest.fixture(scope="module")
def told(models: Path) -> dict[bool, Path]:
    """Models that say whether they judge pairs."""
    found = {}
    for pairs in (False, True):
        found[pairs] = models / f"pairs-{pairs}"
        shutil.copytree(models / "classify", found[pairs])
        config = json.loads((found[pairs] / "config.json").read_text())
        (found[pairs] / "config.json").write_text(json.dumps({**config, "maskling_judging": {"pairs": pairs}}))
    return found


def test_a_tab_parts_a_text_only_for_models_of_pairs(maskling: Command, told: dict[bool, Path]) -> None:
    Path("a.txt").write_text("the dog\ta fox\n")
    for pairs, cells in ((False, 3), (True, 4)):
        for words in (["a.txt"], ["--text", "the dog\ta fox"]):
            said = maskling("predict", told[pairs], *words, "--json")
            assert len([name for name in json.loads(said.out) if name.startswith("text")]) == cells - 2
    (whole,) = (json.loads(maskling("predict", told[False], "a.txt", "--json").out),)
    assert (
        whole["score"] == json.loads(maskling("predict", told[False], "--text", "the dog a fox", "--json").out)["score"]
    )


def test_a_model_of_pairs_takes_no_single_text_and_the_other_way_round(
    maskling: Command, told: dict[bool, Path], texts: Path
) -> None:
    Path("one.txt").write_text("the dog\n")
    Path("two.csv").write_text("premise,hypothesis\nthe dog,a fox\n")
    assert "one.txt:1 is one text, but this model takes pairs" in maskling("predict", told[True], "one.txt").complaint
    assert "--text 'the dog' is one text" in maskling("predict", told[True], "--text", "the dog").complaint
    assert "has one text, 'text', but this model takes pairs" in maskling("predict", told[True], texts).complaint
    assert "has two texts, 'premise' and 'hypothesis'" in maskling("predict", told[False], "two.csv").complaint
    assert maskling("predict", told[False], "two.csv", "--columns.text", "premise").code == 0


def test_a_question_of_the_command_line(maskling: Command, models: Path) -> None:
    said = maskling("predict", models / "answer", "--text", "who sees paris?\tthe lazy dog sees paris.", "--json")
    assert json.loads(said.out)["question"] == "who sees paris?"
    wrong = maskling("predict", models / "answer", "--text", "who?")
    assert "--text 'who?' is not a question and its context with a tab between them" in wrong.complaint


def test_csv_keeps_the_columns_of_the_input(maskling: Command, models: Path) -> None:
    Path("in.csv").write_text('id,text,prediction\n7,"the dog, a fox",x\n8,paris,y\n')
    assert maskling("predict", models / "classify", "in.csv", "--out", "out.csv").code == 0
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    expected = load(models / "classify").predict(["the dog, a fox", "paris"])
    assert [(row["id"], row["text"], row["prediction"]) for row in rows] == [
        ("7", "the dog, a fox", "x"),
        ("8", "paris", "y"),
    ]
    assert [row["prediction_of_model"] for row in rows] == [one.label for one in expected]
    Path("in.jsonl").write_text('{"text": "a", "meta": {"x": 1}}\n{"text": "b", "more": 2}\n')
    said = maskling("predict", models / "regress", "in.jsonl", "--out", "out.csv")
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    assert [(row["id"], row["meta"]) for row in rows] == [("in.jsonl:1", '{"x": 1}'), ("in.jsonl:2", "")]
    assert float(rows[0]["prediction"]) == pytest.approx(load(models / "regress").predict("a"), abs=1e-4)
    assert "the columns 'more' of later ones" in said.err


def test_answers_in_the_form_of_squads_scripts(maskling: Command, models: Path) -> None:
    rows = [{"id": f"q{number}", "question": "who?", "context": f"the dog {number} é"} for number in range(3)]
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for options in ([], ["--allow-none"]):
        assert maskling("predict", models / "answer", "a.jsonl", "--out", "p.json", *options).code == 0
        found = json.loads(Path("p.json").read_text())
        asked = [("who?", row["context"]) for row in rows]
        expected = load(models / "answer").predict(asked, allow_none=bool(options))
        assert found == {f"q{number}": one.text for number, one in enumerate(expected)}
        assert Path("p.na_prob.json").exists() == bool(options)
    none = json.loads(Path("p.na_prob.json").read_text())
    assert none == {f"q{number}": pytest.approx(one.no_answer, abs=1e-5) for number, one in enumerate(expected)}
    Path("a.jsonl").write_text(f"{json.dumps(rows[0])}\n" * 2)
    assert (
        "two questions have the id 'q0'"
        in maskling("predict", models / "answer", "a.jsonl", "--out", "p.json").complaint
    )


def test_a_txt_with_tags_is_read_as_finetune_reads_it_and_predictions_are_read_again(
    maskling: Command, models: Path
) -> None:
    Path("test.txt").write_text("-DOCSTART- -X- O O\n\nthe DT B-NP B-PER\ndog NN I-NP O\n\n")
    said = maskling("predict", models / "tag", "test.txt", "--json")
    (found,) = [json.loads(line) for line in said.out.splitlines()]
    assert [word["text"] for word in found["words"]] == ["the", "dog"]
    Path("a.jsonl").write_text(json.dumps({"words": ["New York", "10\u00a0000", "a\tb", ""]}) + "\n")
    assert maskling("predict", models / "tag", "a.jsonl", "--out", "a.conll").code == 0
    said = maskling("predict", models / "tag", "a.conll", "--json")
    (found,) = [json.loads(line) for line in said.out.splitlines()]
    assert [word["text"] for word in found["words"]] == ["New York", "10\u00a0000", "a b", ""]


def test_evaluate_warns_of_labels_that_the_model_lacks(maskling: Command, models: Path) -> None:
    Path("a.csv").write_text("text,label\nthe dog,good\na fox,neutral\n")
    said = maskling("evaluate", models / "classify", "a.csv")
    assert said.code == 0, said
    assert "a.csv has labels that the model lacks: 'neutral' (1); the model cannot predict them" in said.err
    assert "majority ('good' always): accuracy 0.5000" in said.out
    assert any(line.split()[0] == "neutral" for line in said.out.splitlines() if line.strip())
    Path("b.csv").write_text("text,label\nthe dog,0\na fox,1\n")
    assert "numbers get names with columns.label-names" in maskling("evaluate", models / "classify", "b.csv").complaint
    said = maskling("evaluate", models / "classify", "b.csv", "--columns.label-names", "bad,good")
    assert said.code == 0, said


def test_a_line_that_cannot_be_filled_is_named_and_the_others_are_filled(maskling: Command, models: Path) -> None:
    Path("a.txt").write_text("the [MASK] dog\n\nno mask\na [MASK]\n")
    said = maskling("fill", models / "plain", "--file", "a.txt", "--json")
    assert said.code == 0, said
    assert [json.loads(line)["text"] for line in said.out.splitlines()] == ["the [MASK] dog", "a [MASK]"]
    assert "a.txt, line 3 is left out: there is no [MASK] in 'no mask'" in said.err
    Path("b.txt").write_text("none\n\nhere\n")
    assert "a.txt" not in maskling("fill", models / "plain", "--file", "b.txt").complaint
    said = maskling("fill", models / "plain", "--targets", "dog", "fox", "the [MASK]")
    assert "--targets has 'the [MASK]', which has a mask in it: give the text before" in said.complaint


def test_what_is_no_text_is_named_with_its_index(models: Path) -> None:
    model = load(models / "plain")
    for run in (model.embed, model.fill, model.score):
        with pytest.raises(SettingsError, match="item 1 of the texts is nan, not a text"):
            run(["a [MASK]", float("nan")])
        with pytest.raises(SettingsError, match="item 0 of the texts is None"):
            run(iter([None]))
