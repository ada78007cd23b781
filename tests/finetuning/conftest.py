"""Small models, and labelled files that a model of two layers learns in seconds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import small_models
from maskling.config import overrides
from maskling.exporting.cards import CardFacts
from maskling.exporting.folder import export_model
from maskling.finetuning.recipe import FinetuneRecipe, read_finetune_recipe

Make = Callable[..., FinetuneRecipe]
ANIMALS, PLACES, FILL = ["fox", "dog"], ["paris", "gift"], ["the", "quick", "brown", "a", "so", "in", "of", "lazy"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of a tiny model wait for each other more than they calculate; a run sets their number for good."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model folders, by family."""
    folder = tmp_path_factory.mktemp("models")
    tokenizers = {"bert": small_models.wordpiece, "modern": small_models.wordpiece, "roberta": small_models.byte_level}
    found = {}
    for family, make in tokenizers.items():
        tokenizer = make(folder / f"tokenizer-{family}")
        module = getattr(small_models, family)(tokenizer)
        found[family] = folder / family
        export_model(module, tokenizer, found[family], CardFacts(seq_length=32))
    return found


def sentence(draws: random.Random, words: list[str], length: int = 7) -> list[str]:
    """Words of no meaning with one of `words` among them."""
    found = [draws.choice(FILL) for _ in range(length)]
    found[draws.randrange(length)] = draws.choice(words)
    return found


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file for each kind of task; what is to be told hangs on one word."""
    folder, draws = tmp_path_factory.mktemp("labelled"), random.Random(3)
    sets = {
        "classify": [_classified(draws, place) for place in range(48)],
        "multi": [_several(draws, place) for place in range(48)],
        "pair": [_paired(draws, place) for place in range(48)],
        "regress": [_rated(draws, place) for place in range(48)],
    }
    found = {}
    for name, records in sets.items():
        found[name] = folder / f"{name}.jsonl"
        found[name].write_text("".join(json.dumps(record) + "\n" for record in records))
    found["tag"] = folder / "tag.conll"
    found["tag"].write_text("\n\n".join(_tagged(draws) for _ in range(40)) + "\n")
    found["answer"] = folder / "answer.json"
    found["answer"].write_text(json.dumps({"version": "1.1", "data": [{"paragraphs": _questions(draws)}]}))
    return found


def _classified(draws: random.Random, place: int) -> dict[str, object]:
    return {"text": " ".join(sentence(draws, [ANIMALS, PLACES][place % 2])), "label": ["animal", "place"][place % 2]}


def _several(draws: random.Random, place: int) -> dict[str, object]:
    words = sentence(draws, FILL, 4)
    labels = [name for bit, name in ((1, "animal"), (2, "place")) if place & bit]
    for name in labels:
        words.append(draws.choice(ANIMALS if name == "animal" else PLACES))
    return {"text": " ".join(words), "labels": labels}


def _paired(draws: random.Random, place: int) -> dict[str, object]:
    one, other = draws.choice([(ANIMALS, PLACES), (PLACES, ANIMALS)])
    texts = sentence(draws, one, 4), sentence(draws, one if place % 2 else other, 4)
    return {"sentence1": " ".join(texts[0]), "sentence2": " ".join(texts[1]), "label": place % 2}


def _rated(draws: random.Random, place: int) -> dict[str, object]:
    return {"text": " ".join(["fox"] * (place % 4) + sentence(draws, FILL, 4)), "label": 2.5 + place % 4}


def _tagged(draws: random.Random) -> str:
    words = sentence(draws, ANIMALS)
    tags = []
    for word in words:
        tags.append("B-ANIMAL" if word in ANIMALS else "I-ANIMAL" if tags and tags[-1] == "B-ANIMAL" else "O")
    return "\n".join(f"{word}\t{tag}" for word, tag in zip(words, tags, strict=True))


def _questions(draws: random.Random) -> list[dict[str, object]]:
    found = []
    for number in range(32):
        words = sentence(draws, ANIMALS, 8)
        place = next(place for place, word in enumerate(words) if word in ANIMALS)
        start = len(" ".join([*words[:place], ""]))
        answer = {"text": words[place], "answer_start": start}
        asked = {"id": f"q{number}", "question": "the fox of", "answers": [answer]}
        found.append({"context": " ".join(words), "qas": [asked]})
    return found


@pytest.fixture(scope="session")
def recipe_of(models: dict[str, Path], files: dict[str, Path]) -> Make:
    """Makes recipes: recipe_of('tag', {'train.steps': 7}, model='bert')."""

    def make(kind: str, changes: dict[str, object] | None = None, model: str = "modern") -> FinetuneRecipe:
        base = {
            "task.kind": "classify" if kind == "multi" else kind,
            "encoder.path": models[model],
            "data.train": files[kind],
            "data.dev": files[kind],
            "data.max_length": 32,
            "train.batch_size": 8,
            "train.log_every": 1,
            "optimizer.lr": 3e-3,
            "system.device": "cpu",
            "system.dtype": "fp32",
            "system.threads": 1,
            "system.micro_batch_tokens": 64,
        }
        pairs = {name: str(value) for name, value in (base | (changes or {})).items()}
        return read_finetune_recipe(overrides(pairs.items())).settings

    return make
