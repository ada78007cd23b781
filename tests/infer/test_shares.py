"""Texts shared out over ranks: the vectors and numbers of one process."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

import small_models
from maskling.infer import embed as embed_module
from maskling.infer.embed import Embedded, embed_shares
from maskling.model.folder import write_weights
from maskling.train.distributed import Ranks

# Starting processes takes a busy machine its time.
pytestmark = pytest.mark.timeout(2000)
TEXTS = ["the quick brown fox", "a gift", "the lazy dog sees paris .", "so", "jumps over the dog", "a " * 90]


def embed(chunks: Sequence[Sequence[str]]) -> Iterator[Embedded]:
    for texts in chunks:
        rows = [[len(text), text.count("a"), 7] for text in texts]
        yield Embedded(np.array(rows, dtype=np.float32).reshape(-1, 3), sum(len(text) > 100 for text in texts))


@dataclass(frozen=True)
class Asked(Ranks):
    """A rank whose partner embeds its own share of the same texts, as many at a time."""

    texts: Sequence[str] = ()
    done: list[int] = field(default_factory=lambda: [0])

    def all_reduce(self, values: torch.Tensor) -> torch.Tensor:
        chunk = self.texts[self.done[0] :][: embed_module.CHUNK_TEXTS * 2]
        (other,) = embed([chunk[1 - self.rank :: 2]])
        if values.shape == (1,):  # how many were cut, which comes last
            self.done[0] += len(chunk)
            return values + other.cut
        whole = np.zeros((len(chunk), 3), np.float32)
        whole[1 - self.rank :: 2] = other.vectors
        return values + torch.from_numpy(whole)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_vectors_of_two_ranks_stand_in_the_order_of_the_texts(rank: int, chunk: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embed_module, "CHUNK_TEXTS", chunk)
    (whole,) = embed([TEXTS])
    chunks = [TEXTS[at : at + 2 * chunk] for at in range(0, 6, 2 * chunk)]
    pairs = list(embed_shares(embed, chunks, Asked(rank, 2, texts=TEXTS)))
    assert [texts for texts, _ in pairs] == chunks
    found = [one for _, one in pairs]
    assert [len(one.vectors) for one in found] == [len(texts) for texts in chunks]
    assert np.array_equal(np.concatenate([one.vectors for one in found]), whole.vectors)
    assert sum(one.cut for one in found) == whole.cut == 1


def test_one_process_embeds_all():
    ((texts, found),) = embed_shares(embed, [TEXTS], Ranks())
    assert texts == TEXTS
    assert found.vectors[:, 0].tolist() == [len(text) for text in TEXTS]
    assert found.cut == 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = small_models.wordpiece(folder / "wordpiece")
    write_weights(small_models.bert(tokenizer), folder / "bert")
    tokenizer.save(folder / "bert")
    return folder / "bert"


def said(*words: str, ranks: int = 1, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m"]
    if ranks > 1:
        launcher += ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launcher, "maskling", *words, "--device", "cpu"]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=900, env=env)
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.slow
def test_two_ranks_embed_as_one_does_and_one_of_them_speaks(model: Path, tmp_path: Path):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    words = ["embed", str(model), "--file", str(tmp_path / "texts.txt"), "--out"]
    one, two = (said(*words, str(tmp_path / f"{ranks}.npy"), ranks=ranks) for ranks in (1, 2))
    assert np.allclose(np.load(tmp_path / "1.npy"), np.load(tmp_path / "2.npy"), atol=1e-6)
    assert np.load(tmp_path / "2.npy").shape[0] == len(TEXTS)
    for done in (one, two):
        assert done.stderr.count("6 vectors of 24 numbers written") == 1
        assert done.stderr.count("longer than") == 1
    # Fewer texts than ranks, and from standard input.
    alone = said("embed", str(model), "--json", ranks=2, stdin="a gift\n")
    assert np.allclose(json.loads(alone.stdout)["vector"], np.load(tmp_path / "1.npy")[1], atol=1e-6)


@pytest.mark.slow
def test_two_ranks_evaluate_as_one_does(model: Path, tmp_path: Path):
    draws = random.Random(3)
    sentences = [" ".join(draws.choices(small_models.WORDS, k=draws.randint(4, 12))) + "." for _ in range(200)]
    (tmp_path / "text.txt").write_text("\n\n".join(" ".join(sentences[at : at + 5]) for at in range(0, 200, 5)))
    words = ["evaluate", str(model), str(tmp_path / "text.txt"), "--seq-length", "32", "--rate", "0.3", "--json"]
    words += ["--corpus.plain", "blank-line", "--corpus.filters.min-characters", "1"]
    words += ["--corpus.filters.max-repeated-words", "1"]
    one, two = (json.loads(said(*words, ranks=ranks).stdout) for ranks in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert two[name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), name


@pytest.mark.slow
def test_a_rank_without_its_model_takes_the_others_down_in_words(model: Path, tmp_path: Path):
    done = said("embed", str(tmp_path / "none"), "a gift", ranks=2, code=1)
    assert done.stderr.count("error: ") == 1
    assert "none" in done.stderr.partition("error: ")[2].splitlines()[0]
    assert "Traceback (most recent call last)" not in done.stderr.partition("torch/distributed")[0]
