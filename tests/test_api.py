"""The public functions do what the commands of the same names do, from plain arguments."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

import maskling
from toy_runs import SHAPE

SETTINGS = {**SHAPE, "train.save_every": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text, labelled records, a prepared folder, a finished run and a fine-tuned one."""
    folder = tmp_path_factory.mktemp("api")
    lines = [f"The fox number {n} sees {n % 7} dogs. They sleep near tree {n % 5}." for n in range(150)]
    text = "".join(json.dumps({"text": line}) + "\n" for line in lines)
    (folder / "text.jsonl").write_text(text)
    unseen = [json.dumps({"text": topics[name]}) for name in sorted(topics)[:8]]
    (folder / "unseen.jsonl").write_text("\n".join(unseen) + "\n")
    rows = [{"text": line, "label": "odd" if n % 2 else "even"} for n, line in enumerate(lines[:60])]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepared = maskling.prepare(
        folder / "text.jsonl",
        folder / "data",
        settings={"tokenizer.vocab_size": 150, "shards.validation_fraction": 0.1},
    ).result()
    assert isinstance(prepared, maskling.Prepared)
    assert prepared.train_documents + prepared.validation_documents == 150
    maskling.pretrain(
        folder / "data", folder / "run", preset="bert-tiny", settings=SETTINGS | {"train.steps": 6}
    ).result()
    maskling.finetune(
        folder / "run",
        folder / "tuned",
        task="classify",
        train=folder / "train.jsonl",
        settings={"train.steps": 2, "system.threads": 1},
    ).result()
    return folder


def test_a_loop_over_the_events_can_be_left_and_the_same_call_resumes(made: Path, tmp_path: Path):
    settings = SETTINGS | {"train.steps": 6}
    job = maskling.pretrain(made / "data", tmp_path / "run", preset="bert-tiny", settings=settings)
    for event in job:
        if isinstance(event, maskling.Saved) and event.step == 3:
            break
    job.close()
    events = list(maskling.pretrain(made / "data", tmp_path / "run", preset="bert-tiny", settings=settings))
    (started,) = (event for event in events if isinstance(event, maskling.Started))
    assert started.resumed_from == 3
    one, other = (folder / "run" / "model" / "model.safetensors" for folder in (made, tmp_path))
    assert one.read_bytes() == other.read_bytes()


def test_a_job_that_is_dropped_without_being_run_warns(made: Path, tmp_path: Path):
    with pytest.warns(RuntimeWarning, match=r"prepare\(\.\.\.\) was called and nothing was done"):
        maskling.prepare(made / "text.jsonl", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_job_has_its_result_once(made: Path):
    job = maskling.prepare(
        made / "text.jsonl",
        made / "data",
        settings={"tokenizer.vocab_size": 150, "shards.validation_fraction": 0.1},
    )
    assert job.result().already
    with pytest.raises(RuntimeError, match="has ended already"):
        job.result()


def test_a_recipe_holds_all_settings(made: Path, tmp_path: Path):
    recipe = maskling.load(made / "run").folder.parent / "config.toml"
    assert recipe.is_file()
    with pytest.raises(maskling.MasklingError, match="a Recipe holds all of them"):
        maskling.pretrain(maskling.Recipe(), tmp_path / "run", seed=1)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"train.stepz": 3}, "did you mean 'steps'"),
        ({"train.steps": -1}, "train.steps"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_setting_that_does_not_exist_is_an_error(made: Path, tmp_path: Path, settings: dict[str, object], complaint):
    with pytest.raises(maskling.MasklingError, match=complaint):
        maskling.pretrain(made / "data", tmp_path / "run", preset="bert-tiny", settings=settings)


def test_models_are_evaluated_on_text_prepared_folders_and_their_own_data(made: Path):
    seen: list[tuple[int, int]] = []
    own = maskling.evaluate(made / "run", on_progress=lambda done, total: seen.append((done, total)))
    same = maskling.evaluate(maskling.load(made / "run"), data=made / "data")
    assert own == same
    assert seen[-1][0] == seen[-1][1] > 0
    assert maskling.evaluate(made / "run", made / "unseen.jsonl").perplexity > 1
    with pytest.raises(maskling.MasklingError, match="not both"):
        maskling.evaluate(made / "run", made / "unseen.jsonl", data=made / "data")


def test_labelled_files_give_the_metrics_of_the_task(made: Path):
    metrics = maskling.evaluate_labelled(made / "tuned", made / "train.jsonl").measured
    assert 0 <= metrics["accuracy"] <= 1
    with pytest.raises(maskling.MasklingError, match="label"):
        maskling.evaluate_labelled(made / "tuned", made / "train.jsonl", columns={"label": "nowhere"})


def test_minimal_pairs_and_comparisons_take_paths(made: Path, tmp_path: Path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"sentence_good": "The dogs sleep.", "sentence_bad": "Dogs the sleep."}) + "\n")
    assert maskling.evaluate_pairs(made / "run", pairs).macro_average in (0.0, 0.5, 1.0)
    found = maskling.compare([made / "run", made / "run"], text=made / "unseen.jsonl", words=8, rounds=0)
    assert [side.name for side in found.sides] == ["run (1)", "run (2)"]
    assert found.sides[0].loss_per_word == found.sides[1].loss_per_word


def test_an_export_is_a_folder_that_opens(made: Path, tmp_path: Path):
    folder = maskling.export(made / "run", tmp_path / "exported")
    text = "The fox [MASK] dogs."
    ours, theirs = (maskling.load(path).embed(text) for path in (made / "run", folder))
    assert np.array_equal(ours, theirs)
    with pytest.raises(maskling.MasklingError, match="int8, fp16 and encoder go with"):
        maskling.export(made / "run", tmp_path / "other", int8=True)


def test_the_application_answers(made: Path):
    from starlette.testclient import TestClient

    with TestClient(maskling.serve_app(made / "run", name="fox")) as client:
        found = client.post("/fill", json={"text": "The fox [MASK] dogs."})
    assert found.status_code == 200


def test_every_public_name_is_there_and_has_a_docstring():
    assert set(dir(maskling)) == set(maskling.__all__)
    for name in maskling.__all__:
        assert getattr(maskling, name).__doc__, name
    with pytest.raises(AttributeError, match="nothing_like_it"):
        maskling.nothing_like_it  # noqa: B018


def test_importing_a_package_of_the_same_field_hides_no_function():
    import maskling.evaluation.held_out
    import maskling.exporting.folder
    import maskling.finetuning.recipe

    assert callable(maskling.evaluate)
    assert callable(maskling.export)
    assert callable(maskling.finetune)


@pytest.mark.parametrize(
    ("models", "sizes", "complaint"),
    [(1, {}, "two or more models"), (2, {"rounds": -1}, "rounds is -1"), (2, {"words": 3}, "words is 3")],
)
def test_a_comparison_that_cannot_be_made_is_an_error_at_once(
    made: Path, models: int, sizes: dict[str, int], complaint: str
):
    with pytest.raises(maskling.MasklingError, match=complaint):
        maskling.compare([made / "run"] * models, text=made / "unseen.jsonl", **sizes)


def test_single_settings_win_over_arguments_and_a_kind_does_not_clear_them(made: Path, tmp_path: Path):
    settings = {"task.threshold": 0.3, "train.steps": 1, "system.threads": 1, "task.kind": "classify"}
    maskling.finetune(
        made / "run", tmp_path / "tuned", task="classify", train=made / "train.jsonl", seed=1, settings=settings
    ).result()
    assert "threshold = 0.3" in (tmp_path / "tuned" / "config.toml").read_text()
    similar = {"task.temperature": 0.5, "train.steps": 1, "system.threads": 1}
    maskling.finetune(
        made / "run", tmp_path / "similar", task="similarity", train=made / "text.jsonl", settings=similar
    ).result()
    assert "temperature = 0.5" in (tmp_path / "similar" / "config.toml").read_text()


def test_what_would_change_nothing_or_mix_with_other_files_is_refused(made: Path, tmp_path: Path):
    steps = {"train.steps": 1}
    with pytest.raises(maskling.MasklingError, match=r"train\.steps sets the length"):
        maskling.finetune(
            made / "run", tmp_path / "x", task="classify", train=made / "train.jsonl", epochs=3, settings=steps
        )
    with pytest.raises(maskling.MasklingError, match=r"tokenizer\.path gives"):
        maskling.prepare(
            made / "text.jsonl",
            tmp_path / "y",
            settings={"tokenizer.path": str(made / "run" / "model"), "tokenizer.vocab_size": 20},
        )
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(maskling.MasklingError, match="something other than a run"):
        maskling.pretrain(made / "data", tmp_path)


def test_a_model_without_the_head_is_refused_before_text_is_read(made: Path):
    with pytest.raises(maskling.MasklingError, match="head"):
        maskling.evaluate(made / "tuned", made / "nowhere.txt")


def test_a_model_shows_itself_in_one_line(made: Path):
    shown = repr(maskling.load(made / "run"))
    assert "\n" not in shown
    assert len(shown) < 250
    assert str(made / "run" / "model") in shown
    assert "parameters" in shown


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda model: model.embed(None), "texts is None"),
        (lambda model: model.embed(b"text"), "texts is b'text'"),
        (lambda model: model.fill(["a [MASK]", 3]), "item 1 of the texts is 3"),
        (lambda model: model.fill(None), "texts is None"),
        (lambda model: model.score([float("nan")]), "item 0 of the texts is nan"),
        (lambda model: model.search(["a"], None), "texts is None"),
        (lambda model: model.generate(3), "text is 3; give one text"),
        (lambda model: model.attention(None), "text is None; give one text"),
        (lambda model: model.layers(["a"]), "give one text"),
    ],
)
def test_what_is_not_a_text_is_an_error_in_words(made: Path, call, complaint: str):
    with pytest.raises(maskling.MasklingError, match=complaint):
        call(maskling.load(made / "run"))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (
            lambda: maskling.Recipe.model_validate({"train": {"step": 3}}),
            "train.step: there is no such setting",
        ),
        (lambda: maskling.Recipe(train={"lr": 3}), "did you mean 'optimizer.lr'"),
        (lambda: maskling.Recipe(masking={"kind": "tokens"}), "there is no kind 'tokens'; did you mean 'token'"),
        (lambda: maskling.Recipe(train={"steps": "many"}), "train.steps: should be a whole number, not 'many'"),
    ],
)
def test_a_recipe_with_a_wrong_setting_is_an_error_in_words(make, complaint: str):
    with pytest.raises(maskling.MasklingError, match=complaint):
        make()


def test_a_recipe_is_made_copied_and_read_as_before():
    recipe = maskling.Recipe(seed=3, train={"steps": 5})
    assert maskling.Recipe.model_validate(recipe.model_dump()) == recipe
    assert maskling.Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert maskling.Recipe.model_validate(recipe) is recipe


def test_results_become_rows(made: Path):
    model = maskling.load(made / "run")
    filled = model.fill(["The [MASK] [MASK].", "A [MASK]."], top_k=2)
    rows = maskling.to_dicts(filled)
    assert [(row["index"], row["mask"]) for row in rows] == [(0, 0), (0, 0), (0, 1), (0, 1), (1, 0), (1, 0)]
    assert rows[2]["word"] == filled[0][1][0].word
    assert rows[2]["probability"] == filled[0][1][0].probability
    assert [row["filled"] for row in maskling.to_dicts(filled[1])] == [one.text for one in filled[1][0]]
    joint = model.fill("The [MASK] [MASK].", joint=True, top_k=2)
    assert [row["words"] for row in maskling.to_dicts(joint)] == [list(one.words) for one in joint]
    scored = model.score(["one", "two words"])
    assert [row["total"] for row in maskling.to_dicts(scored)] == [one.total for one in scored]
    hits = maskling.to_dicts(model.search(["one", "two"], ["a", "b"], top_k=2))
    assert [row["index"] for row in hits] == [0, 0, 1, 1]
    label = maskling.load(made / "tuned").predict(["one", "two"])
    assert [row["label"] for row in maskling.to_dicts(label)] == [one.label for one in label]
    for nothing in (3, "text", [1]):
        with pytest.raises(maskling.MasklingError, match="not a result"):
            maskling.to_dicts(nothing)


def test_results_become_a_data_frame(made: Path, monkeypatch: pytest.MonkeyPatch):
    scored = maskling.load(made / "run").score(["one", "two words"])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(maskling.MasklingError, match=r"pip install 'maskling\[pandas\]'"):
        maskling.to_pandas(scored)
    monkeypatch.undo()
    pytest.importorskip("pandas")
    frame = maskling.to_pandas(scored)
    assert list(frame["text"]) == ["one", "two words"]
    assert frame["total"].tolist() == [one.total for one in scored]
