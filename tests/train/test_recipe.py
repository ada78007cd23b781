"""Settings of a run: their origins, fingerprint, and files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from maskling.config import Layer, overrides
from maskling.errors import SettingsError
from maskling.train.recipe import Recipe, preset_names, read_recipe, read_run_recipe
from maskling.train.settings import seconds
from toy_runs import Make

WANTED = [
    *(f"bert-{size}" for size in ("tiny", "mini", "small", "medium", "base", "large")),
    *(f"modern-{size}" for size in ("tiny", "mini", "small", "base", "large")),
    "bert-base-chinese",
    "bert-2018",
]


def asked(**settings: Any) -> list[Layer]:
    return overrides((name.replace("__", "."), value) for name, value in settings.items())


def written(recipe: Recipe, folder: Path) -> Recipe:
    (folder / "config.toml").write_text(recipe.to_toml())
    return read_run_recipe(folder)


def test_every_promised_preset_is_there():
    assert sorted(WANTED) == preset_names()


@pytest.mark.parametrize("name", WANTED)
def test_a_preset_written_out_and_read_back_is_the_same_recipe(name: str, tmp_path: Path):
    recipe = read_recipe(asked(preset=name)).settings
    assert recipe.preset == name
    back = written(recipe, tmp_path)
    assert back == recipe
    assert back.fingerprint == recipe.fingerprint


def test_none_over_a_preset_survives_the_file(tmp_path: Path):
    recipe = read_recipe(asked(preset="bert-base", train__clip="none")).settings
    assert recipe.train.clip is None
    assert written(recipe, tmp_path).train.clip is None


def test_published_shapes():
    """Devlin et al. 2019, section 3; Warner et al. 2024, table 4."""
    bert, large = (read_recipe(asked(preset=f"bert-{size}")).settings for size in ("base", "large"))
    assert (bert.model.num_layers, bert.model.hidden_size, bert.model.num_heads) == (12, 768, 12)
    assert (large.model.num_layers, large.model.hidden_size, large.model.num_heads) == (24, 1024, 16)
    assert (bert.train.steps, bert.train.batch_size, bert.optimizer.lr) == (1_000_000, 256, 1e-4)
    assert large.masking.rate == 0.15
    modern = read_recipe(asked(preset="modern-base")).settings
    assert (modern.model.num_layers, modern.model.intermediate_size, modern.masking.rate) == (22, 1152, 0.3)


def test_a_name_without_its_family_is_modern():
    assert read_recipe(asked(preset="small")).settings == read_recipe(asked(preset="modern-small")).settings


@pytest.mark.parametrize(
    ("typed", "meant"), [("modern-smal", "modern-small"), ("bert-bse", "bert-base"), ("smal", "small")]
)
def test_an_unknown_preset_is_met_with_the_nearest(typed: str, meant: str):
    with pytest.raises(SettingsError, match=f"no preset '{typed}'; did you mean '{meant}'"):
        read_recipe(asked(preset=typed))


def test_an_unknown_setting_is_met_with_the_nearest_and_where_it_came_from():
    with pytest.raises(SettingsError, match=r"optimizer.learning_rte.*--optimizer.learning-rte") as error:
        read_recipe(overrides([("optimizer.learning-rte", "1")]))
    assert "no such setting" in str(error.value)
    with pytest.raises(SettingsError, match="did you mean 'batch_size'"):
        read_recipe(asked(train__batch_sise=3))


def test_later_layers_win_and_each_value_knows_its_origin(tmp_path: Path):
    file = Layer("mine.toml", {"preset": "bert-tiny", "train": {"steps": 70, "batch_size": 9}})
    resolved = read_recipe([file, *asked(train__steps=50)])
    train = resolved.settings.train
    assert (resolved.settings.preset, train.steps, train.batch_size) == ("bert-tiny", 50, 9)
    assert resolved.origins["train.steps"] == "--train.steps"
    assert resolved.origins["train.batch_size"] == "mine.toml"
    assert resolved.origins["optimizer.lr"] == "preset bert-tiny"
    assert resolved.origins["corruption.mask"] == "preset bert-base"
    assert resolved.origins["train.keep"] == "default"


def test_one_setting_of_a_strategy_can_be_given_without_a_preset():
    assert read_recipe(asked(masking__rate=0.4), default_preset=None).settings.masking.rate == 0.4


def test_another_kind_leaves_what_a_preset_said_of_the_old_one_behind():
    recipe = read_recipe(asked(preset="bert-tiny", masking__kind="span")).settings
    assert recipe.masking.kind == "span"


SPEED = {
    "data.path": "elsewhere",
    "train.save_every": 3,
    "train.keep": 7,
    "train.log_every": 4,
    "train.budget": "1h",
    "train.on_nonfinite": "skip",
    "train.spike": 3,
    "train.plateau_after": 3,
    "system.threads": 3,
    "system.device": "cuda",
    "system.dtype": "bf16",
    "system.micro_batch_tokens": 3,
    "system.workers": 3,
    "system.compile": True,
}
RESULT = {
    "seed": 4,
    "model.hidden_size": 48,
    "data.seq_length": 64,
    "masking.rate": 0.4,
    "corruption.random": 0.0,
    "packing.kind": "none",
    "optimizer.lr": 7e-4,
    "schedule.warmup": 0.3,
    "train.steps": 99,
    "train.batch_size": 9,
    "train.evaluate_every": 9,
    "train.clip": 0.5,
    "train.pair_weight": 0.5,
    "evaluate.rate": 0.2,
}


@pytest.mark.parametrize("name", SPEED)
def test_what_changes_only_speed_or_comfort_is_not_in_the_fingerprint(name: str, recipe_of: Make):
    changed = recipe_of({name: SPEED[name]})
    assert changed != recipe_of()
    assert changed.fingerprint == recipe_of().fingerprint


@pytest.mark.parametrize("name", RESULT)
def test_what_changes_the_result_is_in_the_fingerprint_and_named(name: str, recipe_of: Make):
    changed = recipe_of({name: RESULT[name]})
    assert changed.fingerprint != recipe_of().fingerprint
    ((path, _, now),) = recipe_of().differences(changed)
    assert (path, now) == (name, RESULT[name])


def test_pairs_need_a_second_segment(recipe_of: Make):
    with pytest.raises(SettingsError, match="type_vocab_size = 1"):
        recipe_of({"model.kind": "bert", "model.type_vocab_size": 1, "pairing.kind": "nsp"})


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("4m", 240), ("1h30m", 5400), ("0.5h", 1800), ("2min", 120)]
)
def test_times_are_read(text: str, expected: float):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "4d", "m", "-4m", "0"])
def test_what_is_no_time_is_refused(text: str, recipe_of: Make):
    with pytest.raises(SettingsError, match=r"train.budget: should be a time such as"):
        recipe_of({"train.budget": text})


def test_evaluations_are_asked_for_in_one_way(recipe_of: Make):
    with pytest.raises(SettingsError, match=r"train: .*evaluations and evaluate_every both set"):
        recipe_of({"train.evaluations": 3, "train.evaluate_every": 5})
    train = recipe_of({"train.evaluations": 3, "train.evaluate_every": "none"}).train
    assert [step for step in range(1, 101) if train.evaluates(step, 100)] == [34, 68, 100]


def test_settings_are_read_without_torch():
    code = "import sys, maskling.train.recipe as r; r.read_recipe(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"init": "runs/mine", "model__num_layers": 7}, "--model.num.layers.* comes from the folder of init"),
        ({"train__budget": "4m", "train__steps": 7}, "--train.steps.* sets the steps"),
    ],
)
def test_a_setting_that_would_change_nothing_is_refused_and_a_presets_is_not(settings: dict[str, object], why: str):
    with pytest.raises(SettingsError, match=why):
        read_recipe(asked(preset="small", **settings))
    assert read_recipe(asked(preset="small", **dict(list(settings.items())[:1]))).settings.model.num_layers > 0


def test_rows_longer_than_the_model_promises_are_refused(recipe_of: Make):
    with pytest.raises(SettingsError, match=r"data.seq_length = 9000 is longer than model.max_positions = 8192"):
        recipe_of({"data.seq_length": 9000})
