"""Molecules, DNA, proteins and code: prepared, trained for some steps and filled, from the settings of the guide."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

import maskling
from maskling.data.prepare.settings import PrepareSettings
from maskling.data.shards import open_shards
from maskling.errors import DataError
from maskling.tokenizer.tokenizer import Tokenizer
from toy_runs import SHAPE

SETTINGS = {**SHAPE, "data.seq_length": 48, "train.batch_size": 16}
LINES = {
    "corpus.plain": "line",
    "corpus.filters.min_characters": 1,
    "corpus.filters.min_alphabetic": 0,
    "corpus.filters.max_repeated_words": 1,
    "corpus.filters.max_repeated_lines": 1,
    "shards.validation_fraction": 0.1,
}


def molecule(rng: random.Random) -> str:
    """A row in the alphabet of SMILES."""
    atoms = ["C", "C", "O", "N", "Cl", "Br", "[nH]", "[C@@H]", "c1ccccc1", "(=O)", "C%12CC%12"]
    return "".join(rng.choices(atoms, k=rng.randint(4, 12)))


def sequence(letters: str, least: int) -> object:
    """Rows of these letters, of `least` to twice as many."""
    return lambda rng: "".join(rng.choices(letters, k=rng.randint(least, 2 * least)))


def function(rng: random.Random) -> str:
    """A Python function, on one line of the corpus file."""
    name, number = rng.choice(["take", "give", "hold"]), rng.randint(10, 99)
    return f"def {name}(x):\n    if x > {number}:\n        return {{'a': [1,  2]}}\n\treturn  x_{number}"


CASES: Mapping[str, tuple[object, dict[str, object], str]] = {
    "smiles": (molecule, {"tokenizer.kind": "regex", "tokenizer.pattern": "smiles"}, "C[MASK](=O)Cl"),
    "dna": (sequence("ACGT", 120), {"tokenizer.kind": "kmer", "tokenizer.k": 3}, "ACGTTT[MASK]ACG"),
    "protein": (sequence("ACDEFGHIKLMNPQRSTVWY", 60), {"tokenizer.kind": "characters"}, "MKV[MASK]LLA"),
    "dna-wordpiece": (sequence("ACGT", 300), {"tokenizer.vocab_size": 300}, "acgttt [MASK] acg"),
    "code": (
        function,
        {"tokenizer.kind": "bpe", "tokenizer.spaces": "keep", "tokenizer.split_digits": True},
        "def take(x):\n    [MASK] x > 10:",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_domain_is_prepared_trained_and_filled(case: str, tmp_path: Path):
    row, chosen, prompt = CASES[case]
    rng = random.Random(0)
    rows = [row(rng) for _ in range(150)]
    (tmp_path / "rows.txt").write_text(("\n\n\n" if case == "code" else "\n").join(rows) + "\n")
    lines = LINES | ({"corpus.plain": "file"} if case == "code" else {})
    if case == "code":
        for index, text in enumerate(rows):
            (tmp_path / f"{index}.txt").write_text(text + "\n")
        (tmp_path / "rows.txt").unlink()
    settings = {"tokenizer.vocab_size": 600} | lines | chosen
    done = maskling.prepare(tmp_path, tmp_path / "data", settings=settings).result()
    assert done.unknown_share == 0
    shards = open_shards(done.folder)
    tokenizer = Tokenizer.load(shards.tokenizer_folder)
    if case != "dna-wordpiece":
        # What is stored reads back as a text of the corpus, with every space.
        for block in shards.split("train").blocks():
            for first, last in zip(block.documents[:-1], block.documents[1:], strict=True):
                ids = block.tokens[block.sentences[first] : block.sentences[last]]
                assert tokenizer.decode(ids) in rows
    chosen = SETTINGS | {"train.steps": 20}
    if case == "protein":
        # Each row is one word, which has no two halves.
        with pytest.raises(DataError, match=r"single word.*pairing\.kind to single"):
            maskling.pretrain(done.folder, tmp_path / "run", preset="bert-tiny", settings=chosen).result()
        chosen |= {"pairing.kind": "single"}
    maskling.pretrain(done.folder, tmp_path / "run", preset="bert-tiny", settings=chosen).result()
    (filled,) = maskling.load(tmp_path / "run").fill([prompt], top_k=3)
    assert filled


def test_kept_spaces_are_kept_by_the_cleaning_too_unless_it_is_told_otherwise():
    assert PrepareSettings().corpus.clean.spaces == "collapse"
    tokenizer = {"kind": "bpe", "spaces": "keep"}
    assert PrepareSettings.model_validate({"tokenizer": tokenizer}).corpus.clean.spaces == "keep"
    chosen = PrepareSettings.model_validate({"tokenizer": tokenizer, "corpus": {"clean": {"spaces": "collapse"}}})
    assert chosen.corpus.clean.spaces == "collapse"
    assert PrepareSettings.model_validate(chosen.model_dump()) == chosen
