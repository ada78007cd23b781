"""`maskling finetune`, as a person types it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from maskling.cli.main import run
from maskling.metrics.squad import score_answers


def typed(models: dict[str, Path], files: dict[str, Path], out: Path, *more: str) -> list[str]:
    return [
        "finetune", str(models["modern"]), "--task", "tag", "--train", str(files["tag"]), "--dev", str(files["tag"]),
        "--test", str(files["tag"]), "--out", str(out), "--train.steps", "3", "--train.evaluate-every", "2",
        "--train.batch-size", "8", "--system.device", "cpu", "--system.threads", "1", *more,
    ]  # fmt: skip


def test_numbers_of_dev_and_test_are_told_and_the_run_can_be_looked_at(models, files, tmp_path: Path, capsys):
    assert run(typed(models, files, tmp_path / "run")) == 0
    said = capsys.readouterr().err
    assert "dev: tag.conll, 40 records" in said
    assert "test: tag.conll, 40 records" in said
    assert "best held-out f1" in said
    assert run(["inspect", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert "task        tag" in shown
    assert "precision" in shown


def test_json_holds_every_event(models, files, tmp_path: Path, capsys):
    assert run(typed(models, files, tmp_path / "run", "--json", "--from-scratch")) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [event["event"] for event in events]
    assert names.count("judged") == 2
    assert names[-1] == "finished"
    assert all("f1" in event["measured"] for event in events if event["event"] in ("judged", "evaluated"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--task", "tagg"], "did you mean 'tag'"),
        (["--train.epochs", "2"], "train.steps sets the length of the run"),
        (["--train", "nowhere.conll"], "nowhere.conll"),
    ],
)
def test_mistakes_end_with_2_and_one_line(models, files, tmp_path: Path, capsys, words: list[str], said: str):
    line = typed(models, files, tmp_path / "run")
    for name, value in zip(words[::2], words[1::2], strict=True):
        if name in line:
            line[line.index(name) + 1] = value
        else:
            line += [name, value]
    assert run(line) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.parametrize("which", ["--dev", "--test"])
@pytest.mark.parametrize(
    ("task", "records", "complaint"),
    [
        ("classify", [{"text": "a fox"}], "bad.jsonl:1 has no column with a name known for labels, but 'text'"),
        ("classify", [{"text": "a fox", "label": None}], "has no label in 'label'"),
        ("classify", [{"text": "a fox", "label": []}], "has 0 labels, but each record of train has one"),
        (
            "classify",
            [{"text": "a fox", "label": "0"}],
            "bad.jsonl shares no label with train: it has 0, and train animal",
        ),
        (
            "tag",
            [{"words": ["a"], "tags": ["NOUN"]}],
            "shares no label with train: it has NOUN, and train B-",
        ),
        ("regress", [{"text": "a fox", "label": None}], "has no number in 'label'"),
        ("tag", [{"words": ["a", "fox"]}], "has no column with a name known for tags, but 'words'"),
        ("tag", [{"words": ["a", "fox"], "tags": None}], "has words without tags"),
        (
            "answer",
            [{"id": "q", "question": "who?", "context": "a fox"}],
            "has no answer to compare with",
        ),
    ],
)
def test_what_cannot_be_judged_is_found_before_the_first_step(
    models, files, tmp_path: Path, capsys, task: str, records: list[dict], complaint: str, which: str
):
    good, bad = files[task], tmp_path / "bad.jsonl"
    if task == "answer":
        paragraph = {"context": "a fox", "qas": [{"id": "q", "question": "who?"}]}
        bad = tmp_path / "bad.json"
        bad.write_text(json.dumps({"version": "1.1", "data": [{"paragraphs": [paragraph]}]}))
    else:
        bad.write_text("".join(json.dumps(record) + "\n" for record in records))
    other = "--test" if which == "--dev" else "--dev"
    words = ["finetune", str(models["modern"]), "--task", task, "--train", str(good), which, str(bad), other, str(good)]
    assert run([*words, "--out", str(tmp_path / "run"), "--train.steps", "2", "--system.device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert "step " not in said


@pytest.mark.parametrize(
    ("task", "bare"),
    [
        ("classify", {"text": "a fox", "label": None}),
        ("regress", {"text": "a fox"}),
        ("pair", {"sentence1": "a fox", "sentence2": "a dog", "label": ""}),
    ],
)
def test_records_without_a_label_are_left_out_of_every_file_if_asked(
    models, files, tmp_path: Path, capsys, task: str, bare: dict
):
    lines = files[task].read_text().splitlines(keepends=True)
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.jsonl").write_text("".join([lines[0], json.dumps(bare) + "\n", *lines[1:]]))
    words = ["finetune", str(models["modern"]), "--task", task, "--columns.on-bad-row", "skip", "--train.steps", "1"]
    words += [word for name in ("train", "dev", "test") for word in (f"--{name}", str(tmp_path / f"{name}.jsonl"))]
    assert run([*words, "--out", str(tmp_path / "run"), "--system.device", "cpu", "--system.threads", "1"]) == 0
    said = capsys.readouterr().err
    assert "dev: dev.jsonl, 48 records" in said
    assert "test: test.jsonl, 48 records" in said
    for name in ("train", "dev", "test"):
        assert re.search(rf"1 rows left out, the first because \S*{name}.jsonl:2 has no (label|number)", said)


@pytest.mark.parametrize(
    ("task", "rare", "advice"),
    [
        ("classify", {"text": "a fox", "label": "other"}, "accuracy is too optimistic, look at macro-F1"),
        ("multi", {"text": "a fox", "labels": ["other"]}, "micro-F1 is too optimistic, look at macro-F1"),
        ("pair", {"sentence1": "a", "sentence2": "b", "label": 2}, "accuracy is too optimistic, look at macro-F1"),
        ("pair", None, "accuracy is too optimistic, look at f1 and mcc"),
    ],
)
def test_where_classes_are_unbalanced_a_number_that_is_reported_is_named(
    recipe_of, files, tmp_path, task, rare, advice
):
    from maskling.finetuning.task import LabelledData

    lines = files[task].read_text().splitlines()
    if rare is None:
        rare = json.loads(lines[0])
        lines = [line for line in lines if json.loads(line)["label"] != rare["label"]]
    (tmp_path / "train.jsonl").write_text("".join(f"{line}\n" for line in [*lines, json.dumps(rare)]))
    recipe = recipe_of(task, {"data.train": tmp_path / "train.jsonl"})
    (said,) = [line for line in LabelledData(recipe, recipe.task).warnings if "unbal" in line]
    assert said.endswith(f"; {advice}")


def test_a_run_of_finetune_is_told_from_one_of_train(models, files, tmp_path: Path, capsys):
    assert run(typed(models, files, tmp_path / "run")) == 0
    capsys.readouterr()
    assert run(["export", str(tmp_path / "run"), "--step", "3", "--out", str(tmp_path / "out")]) == 2
    assert "is a run of 'maskling finetune'" in capsys.readouterr().err


def test_predict_judges_as_training_did(models, files, tmp_path: Path, capsys):
    words = ["finetune", str(models["modern"]), "--task", "answer", "--train", str(files["answer"]), "--dev"]
    short = [*words, str(files["answer"]), "--train.steps", "4", "--task.max-answer", "1", "--system.device", "cpu"]
    assert run([*short, "--out", str(tmp_path / "short")]) == 0
    folder = tmp_path / "short" / "model"
    kept = {"max_question": 64, "max_answer": 1, "allow_none": False}
    assert json.loads((folder / "config.json").read_text())["maskling_judging"] == kept
    capsys.readouterr()
    assert run(["predict", str(folder), str(files["answer"]), "--json"]) == 0
    answers = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    assert answers
    assert all(len(answer.split()) <= 1 for answer in answers)
    words = ["finetune", str(models["modern"]), "--task", "classify", "--train", str(files["multi"]), "--dev"]
    words += [str(files["multi"]), "--train.steps", "2", "--system.device", "cpu", "--task.threshold", "0.01"]
    assert run([*words, "--out", str(tmp_path / "many")]) == 0
    capsys.readouterr()
    for option, expected in (([], lambda n: n == "all"), (["--threshold", "1"], lambda n: n == "none")):
        assert run(["predict", str(tmp_path / "many"), "--text", "a fox", "--json", *option]) == 0
        found = json.loads(capsys.readouterr().out)
        assert expected("all" if len(found["labels"]) == len(found["scores"]) else "none"), found


def test_a_record_of_very_many_windows_is_named(models, files, tmp_path: Path, capsys):
    long = {"text": "the quick fox " * 3000, "label": "animal"}
    (tmp_path / "long.jsonl").write_text(files["classify"].read_text() + json.dumps(long) + "\n")
    words = ["finetune", str(models["modern"]), "--task", "classify", "--train", str(tmp_path / "long.jsonl"), "--dev"]
    words += [str(files["classify"]), "--train.steps", "1", "--system.device", "cpu", "--out", str(tmp_path / "run")]
    assert run(words) == 0
    assert re.search(r"long.jsonl:49 is read in [34]\d\d windows, all in one step", capsys.readouterr().err)


def test_no_more_is_held_out_than_tells(models, files, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("maskling.finetuning.task._MOST_HELD_OUT", 3)
    words = ["finetune", str(models["modern"]), "--task", "classify", "--train", str(files["classify"])]
    assert run([*words, "--train.steps", "1", "--system.device", "cpu", "--out", str(tmp_path / "run")]) == 0
    assert "3 records held out of classify.jsonl select the best weights" in capsys.readouterr().err


def test_numbers_that_are_none_are_null_in_the_results(models, files, tmp_path: Path):
    (tmp_path / "one.jsonl").write_text(files["regress"].read_text().splitlines()[0] + "\n")
    words = ["finetune", str(models["modern"]), "--task", "regress", "--train", str(files["regress"]), "--dev"]
    words += [str(files["regress"]), "--test", str(tmp_path / "one.jsonl"), "--train.steps", "1"]
    assert run([*words, "--system.device", "cpu", "--out", str(tmp_path / "run")]) == 0
    found = json.loads((tmp_path / "run" / "results.json").read_text(), parse_constant=pytest.fail)
    assert found["test"]["pearson"] is None


def test_what_cannot_be_trained_on_moves_no_good_run_away(models, files, tmp_path: Path, capsys):
    assert run(typed(models, files, tmp_path / "run")) == 0
    bad = tmp_path / "bad.conll"
    bad.write_text("the\n")
    again = [str(bad) if word == str(files["tag"]) else word for word in typed(models, files, tmp_path / "run")]
    for words in (
        [*again, "--force-new"],
        [*typed(models, files, tmp_path / "run", "--force-new"), "--system.device", "tpu"],
    ):
        assert run(words) == 2
        assert "is now in" not in capsys.readouterr().err
        assert (tmp_path / "run" / "model" / "config.json").exists()
    assert run(typed(models, files, tmp_path / "run", "--force-new")) == 0
    assert "is now in" in capsys.readouterr().err
    assert (tmp_path / "run.1" / "model" / "config.json").exists()


def test_advice_on_a_finished_run_is_a_command_that_there_is(models, files, tmp_path: Path, capsys):
    assert run(typed(models, files, tmp_path / "run")) == 0
    capsys.readouterr()
    assert run(typed(models, files, tmp_path / "run", "--train.steps", "5")) == 2
    said = capsys.readouterr().err
    model = tmp_path / "run" / "model"
    assert f"train on in a new run with 'maskling finetune {model} --out NEW'" in said
    onward = [word if word != str(models["modern"]) else str(model) for word in typed(models, files, tmp_path / "new")]
    assert run(onward) == 0


@pytest.mark.parametrize("some", [False, True])
def test_questions_without_answers_are_judged_as_they_were_measured(models, files, tmp_path: Path, capsys, some: bool):
    squad = json.loads(files["answer"].read_text())
    questions = [question for paragraph in squad["data"][0]["paragraphs"] for question in paragraph["qas"]]
    if some:
        for question in questions[::2]:
            question |= {"answers": [], "is_impossible": True}
    (tmp_path / "some.json").write_text(json.dumps(squad))
    words = ["finetune", str(models["modern"]), "--task", "answer", "--train", str(tmp_path / "some.json"), "--dev"]
    words += [str(tmp_path / "some.json"), "--train.steps", "30", "--train.batch-size", "8", "--system.device", "cpu"]
    assert run([*words, "--out", str(tmp_path / "run"), "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (measured,) = [event["measured"] for event in events if event["event"] == "judged"]
    model, texts = str(tmp_path / "run" / "model"), {}
    assert json.loads(Path(model, "config.json").read_text())["maskling_judging"]["allow_none"] == some
    for how in ([], ["--allow-none"], ["--no-allow-none"]):
        assert run(["predict", model, str(tmp_path / "some.json"), "--json", *how]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        texts[tuple(how)] = [line["text"] for line in lines]
    truth = [[answer["text"] for answer in question["answers"]] for question in questions]
    assert score_answers(truth, texts[()]).exact == pytest.approx(measured["exact"])
    assert texts[()] == texts[("--allow-none",) if some else ("--no-allow-none",)]
    assert all(texts[("--no-allow-none",)])


TASKS = {name: name for name in ("classify", "pair", "regress", "tag", "answer")} | {"multi": "classify"}


# Training in bf16, as auto chooses where the processor has it: every metric is in fp32 all the same.
@pytest.mark.parametrize("dtype", ["auto", "bf16"])
@pytest.mark.parametrize("name", list(TASKS))
def test_a_finished_model_is_measured_on_other_records_as_training_measures_it(
    models, files, tmp_path: Path, capsys, monkeypatch, name: str, dtype: str
):
    # Where bf16 is emulated, the one large product that this measures takes a minute.
    monkeypatch.setattr("maskling.train.timing.peak_flops", lambda _: 1e12)
    words = ["finetune", str(models["bert"]), "--task", TASKS[name], "--train", str(files[name]), "--dev"]
    words += [str(files[name]), "--test", str(files[name]), "--train.steps", "6", "--train.batch-size", "8"]
    words += ["--system.device", "cpu", "--data.max-length", "24", "--out", str(tmp_path / "run"), "--json"]
    words += ["--system.dtype", dtype]
    words += ["--task.positive", "0"] if name == "pair" else []
    assert run(words) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    dev, test = [event for event in events if event["event"] == "judged"]
    # The same file: selected, reported and evaluated later, the same weights have the same metrics.
    assert dev["measured"] == pytest.approx(test["measured"], abs=1e-5)
    assert run(["evaluate", str(tmp_path / "run"), str(files[name]), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found.pop("file"), found.pop("records")) == (str(files[name]), test["records"])
    details = found.pop("details", {})
    assert bool(details) == (name not in ("regress", "answer"))
    assert dev["details"] == test["details"] == details
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [results[part].get("details", {}) for part in ("dev", "test")] == [details, details]
    if name == "classify":
        table = details["confusion"]["counts"]
        assert sum(map(sum, table)) == test["records"]
        assert found["accuracy"] == sum(table[place][place] for place in range(2)) / test["records"]
        assert details["majority"] == {"label": "animal", "accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}
        scores = [one["f1"] for one in details["labels"].values()]
        assert sum(scores) / len(scores) == pytest.approx(found["macro_f1"])
    assert found.keys() == test["measured"].keys()
    for number, value in found.items():
        assert value == pytest.approx(test["measured"][number], abs=1e-5), number


def test_measuring_a_fine_tuned_model_asks_for_labelled_files(models, files, tmp_path: Path, capsys):
    assert run(typed(models, files, tmp_path / "run")) == 0
    model = str(tmp_path / "run")
    (tmp_path / "no.jsonl").write_text('{"words": ["the", "dog"]}\n')
    for words, said in (
        ([model], "give labelled files to evaluate"),
        ([model, "--data", "x"], "leave out --data"),
        ([model, str(tmp_path / "no.jsonl")], "no.jsonl"),
        ([model, str(files["tag"]), "--corpus.plain", "line"], "corpus"),
        ([str(models["bert"]), str(files["tag"]), "--columns.text", "a"], "no head for a task"),
    ):
        capsys.readouterr()
        assert run(["evaluate", *words]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert said in error
