"""The inspector shows what is there, and says what is damaged instead of failing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import Command


def flip(path: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(bytes(content))


def test_a_run_with_a_damaged_checkpoint_is_shown_with_it(maskling: Command, here: Path):
    newest = max((here / "runs/mine/checkpoints").iterdir())
    flip(newest / "model.safetensors")
    said = maskling("inspect", "runs/mine")
    assert said.code == 0
    assert f"{newest.name}, runs/mine/checkpoints/{newest.name}/model.safetensors is damaged" in said.out
    assert "model.safetensors is damaged" in maskling("inspect", f"runs/mine/checkpoints/{newest.name}").complaint


@pytest.mark.parametrize("line", ['{"kind": "evalu', "[]", '{"kind": "evaluation"}'])
def test_a_run_with_damaged_metrics_is_shown(maskling: Command, here: Path, line: str):
    with (here / "runs/mine/metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    said = maskling("inspect", "runs/mine")
    assert said.code == 0
    assert "cannot be" in said.out


def test_the_evaluations_of_a_run_are_a_table(maskling: Command, here: Path):
    entries = [json.loads(line) for line in (here / "runs/mine/metrics.jsonl").read_text().splitlines()]
    evaluations = [entry for entry in entries if entry["kind"] == "evaluation"]
    shown = maskling("inspect", "runs/mine").out.splitlines()
    head, last = shown[-1 - len(evaluations)], shown[-1]
    assert head.split() == ["step", "held-out", "loss", "top-1", "pairs"]
    assert last.split()[:2] == [str(evaluations[-1]["step"]), f"{evaluations[-1]['mlm_loss']:.3f}"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", b"{", "cannot be read"),
        ("config.json", b"[]", "does not hold a JSON object"),
        ("model.safetensors", b"nothing", "is damaged"),
        ("model.safetensors", None, "its weights are missing"),
    ],
)
def test_a_damaged_model_folder_is_one_line(maskling: Command, here: Path, name: str, content: bytes | None, said: str):
    path = here / "runs/mine/model" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert said in maskling("inspect", "runs/mine/model").complaint
    assert said in maskling("fill", "runs/mine", "[MASK]").complaint


def test_damaged_shards_are_found_by_verify(maskling: Command, here: Path):
    assert "every byte checked" in maskling("inspect", "data", "--verify").out
    flip(next((here / "data" / "shards").glob("*tokens.npy")))
    assert "tokens.npy is damaged" in maskling("inspect", "data", "--verify").complaint


def test_a_folder_with_the_tokenizer_of_another_says_so(maskling: Command, here: Path):
    words = ["tokenizer", "books", "--out", "tok", "--tokenizer.vocab-size", "90"]
    assert maskling(*words).code == 0
    for path in (here / "tok").iterdir():
        path.replace(here / "data" / "tokenizer" / path.name)
    assert "holds another tokenizer" in maskling("inspect", "data").out


def test_an_example_of_a_run_is_made_as_the_run_makes_it(maskling: Command, here: Path):
    of_run = json.loads(maskling("inspect", "runs/mine", "--example", "5", "--json").out)
    chosen = ["--preset", "none", "--data.seq-length", "32", "--masking.rate", "0.3", "--pairing.kind", "nsp"]
    of_data = json.loads(maskling("inspect", "data", "--example", "5", "--json", *chosen).out)
    assert of_run == of_data
    assert of_run["label"] in (0, 1)
    spans = json.loads(maskling("inspect", "runs/mine", "--example", "5", "--json", "--masking.kind", "span").out)
    assert spans["tokens"] == of_run["tokens"]
    assert spans["chosen"] != of_run["chosen"]


def test_an_example_marks_what_was_chosen_and_says_what_became_of_it(maskling: Command, here: Path):
    said = maskling("inspect", "data", "--example", "2")
    facts = json.loads(maskling("inspect", "data", "--example", "2", "--json").out)
    assert said.out.count("«") == len(facts["chosen"]) > 0
    ends = {line.split()[-1] for line in said.out.splitlines() if "->" in line}
    assert ends <= {"masked", "random", "kept"}


def test_a_vocabulary_file_of_any_name_shows_what_it_makes_of_a_text(maskling: Command, here: Path):
    (here / "my-vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nkalo\n")
    facts = json.loads(maskling("inspect", "my-vocab.txt", "--text", "kalo [MASK]", "--json").out)
    assert facts["tokens"][-1] == "[MASK]"
    assert facts["words"] == 2


def test_text_is_counted_as_prepare_counts_it(maskling: Command, here: Path):
    text = json.loads(maskling("inspect", "books", "--samples", "3", "--json").out)
    data = json.loads(maskling("inspect", "data", "--json").out)
    for what in ("documents", "sentences"):
        assert text[what] == sum(split[what] for split in data["splits"].values())
    assert len(text["samples"]) == 3
