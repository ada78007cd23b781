"""Vectors learnt from pairs, from scores, and from nothing but text; whole steps however they are cut up."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from maskling.config import overrides
from maskling.errors import DataError, MasklingError, SettingsError
from maskling.finetuning import similarity as vectors_module
from maskling.finetuning.finetune import finetune, open_training_data
from maskling.finetuning.recipe import FinetuneRecipe, read_finetune_recipe
from maskling.finetuning.similarity import SimilarityTask
from maskling.infer.model import load
from maskling.model import attention
from maskling.objectives.losses import weighted_loss
from maskling.train.distributed import Ranks
from maskling.train.events import Evaluated, FinalMetrics, Step, Warned
from torch_ranks import assert_near, finetuning, ran

Make = Callable[..., FinetuneRecipe]
CPU = torch.device("cpu")
FILL = ["quick", "brown", "a", "so", "in", "of", "lazy", "over"]
# Two ways to say each of four things.
THINGS = [("fox", "jumps"), ("dog", "sees"), ("paris", "the"), ("gift", "!")]
FORMS = ["pairs", "negatives", "scored", "texts"]
PAIR = '{{"text_a": "a", "text_b": "b", "label": {}}}'


def about(draws: random.Random, thing: int, way: int) -> str:
    words = [draws.choice(FILL) for _ in range(3)]
    words.insert(draws.randrange(4), THINGS[thing][way])
    return " ".join(words)


@pytest.fixture(scope="session")
def similar(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file for each form of training text."""
    folder, draws = tmp_path_factory.mktemp("similar"), random.Random(5)
    rows: dict[str, list[dict[str, object]]] = {form: [] for form in FORMS}
    for number in range(48):
        one, other = number % 4, (number + draws.randrange(1, 4)) % 4
        text = about(draws, one, 0)
        rows["pairs"].append({"anchor": text, "positive": about(draws, one, 1)})
        rows["negatives"].append({**rows["pairs"][-1], "negative": about(draws, other, 1) if number % 3 else ""})
        second = one if number % 2 else other
        rows["scored"].append({"sentence1": text, "sentence2": about(draws, second, 1), "score": float(one == second)})
        rows["texts"].append({"text": f"{text}. {about(draws, other, 0)} {number}."})
    found = {form: folder / f"{form}.jsonl" for form in FORMS}
    for form, path in found.items():
        path.write_text("".join(json.dumps(row) + "\n" for row in rows[form]))
    return found


@pytest.fixture(scope="session")
def similarity(models: dict[str, Path], similar: dict[str, Path]) -> Make:
    """Makes recipes: similarity('texts', {'train.steps': 7}, model='bert')."""

    def make(form: str, changes: dict[str, object] | None = None, model: str = "modern") -> FinetuneRecipe:
        base = {
            "task.kind": "similarity",
            "encoder.path": models[model],
            "data.train": similar[form],
            "data.dev": similar["pairs" if form == "negatives" else form],
            "data.max_length": 32,
            "train.batch_size": 12,
            "train.log_every": 1,
            "optimizer.lr": 3e-3,
            "system.device": "cpu",
            "system.dtype": "fp32",
            "system.threads": 1,
            "system.micro_batch_tokens": 4096,
        }
        pairs = {name: str(value) for name, value in (base | (changes or {})).items()}
        return read_finetune_recipe(overrides(pairs.items())).settings

    return make


def task_of(recipe: FinetuneRecipe, world: Ranks | None = None) -> SimilarityTask:
    data = open_training_data(recipe, True)
    task = data.build_task(data.complete_recipe(recipe, None), world or Ranks())
    assert isinstance(task, SimilarityTask)
    return task


def only(kind: type, events: list[object]) -> list:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize(
    ("form", "name", "least"), [("pairs", "mrr", 0.2), ("negatives", "mrr", 0.2), ("scored", "spearman", 0.8)]
)
def test_what_belongs_together_comes_together(similarity: Make, tmp_path: Path, form: str, name: str, least: float):
    recipe = similarity(form, {"train.steps": 40, "train.evaluate_every": 20})
    events = list(finetune(recipe, tmp_path))
    before, *_, after = (event.measured[name] for event in only(Evaluated, events))
    assert after > least > before
    (dev,) = only(FinalMetrics, events)
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"{dev.measured[name]:.4f}" in card
    assert f"| {name} before training | {before:.4f} |" in card
    model = load(tmp_path / "model", device="cpu")
    hits = model.search(["a sees in", "a jumps in", "a the in"], "quick fox", top_k=1)
    assert hits[0].text == "a jumps in"


def test_text_alone_spreads_out_and_is_judged_by_what_is_held_out(similarity: Make, tmp_path: Path):
    recipe = similarity("texts", {"train.steps": 30, "train.evaluate_every": 15, "data.dev": "none"})
    events = list(finetune(recipe, tmp_path))
    first, *_, last = (event.measured for event in only(Evaluated, events))
    assert last["loss"] < first["loss"]
    assert any("held out of texts.jsonl select the best weights" in event.text for event in only(Warned, events))


def test_every_sentence_is_a_text_once(similarity: Make, similar: dict[str, Path], tmp_path: Path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.txt").write_text("The fox sees the dog. The lazy dog!\nThe fox sees the dog.\n")
    (tmp_path / "more" / "b.txt").write_text("So. The gift in Paris\n")
    task = task_of(similarity("texts", {"data.train": tmp_path / "more", "data.dev": similar["scored"]}))
    assert [record.text for record in task._data.train] == [
        "The fox sees the dog.",
        "The lazy dog!",
        "The gift in Paris",
    ]
    assert task.criterion.name == "spearman"


def gradient(
    task: SimilarityTask, seed: int | None = None, backend: str | None = None
) -> tuple[float, dict[str, torch.Tensor]]:
    """Of step 1, with dropout if there is a seed."""
    module = task.first_module()
    module.train(seed is not None)
    torch.manual_seed(seed or 0)
    work = task.batch_builder(Ranks())(1)
    (batch,) = work.batches
    encode = module if backend is None else torch.compile(module.forward, backend=backend, fullgraph=True)
    loss = weighted_loss(task.terms(module, batch, encode, CPU), work.counts, task.weights)
    loss.backward()
    grads = {name: value.grad for name, value in module.named_parameters() if value.grad is not None}
    return loss.item(), {name: grad.to_dense() if grad.is_sparse else grad for name, grad in grads.items()}


def furthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("form", FORMS)
def test_micro_batches_and_packing_change_neither_loss_nor_gradient(similarity: Make, form: str, pooling: str):
    base = {"encoder.pooling": pooling, "encoder.dropout": "none" if form == "texts" else 0}
    straight, grads = gradient(task_of(similarity(form, {**base, "packing.kind": "none"})))
    size = max(float(value.abs().max()) for value in grads.values())
    for changes in ({}, {"system.micro_batch_tokens": 32}, {"system.micro_batch_tokens": 64}):
        task = task_of(similarity(form, {**base, **changes}))
        assert (len(task.batch_builder(Ranks())(1).batches[0].micro_batches) > 2) == bool(changes)
        loss, found = gradient(task)
        assert loss == pytest.approx(straight, abs=1e-5)
        # Without dropout the two copies of a text are the same: there a gradient of rounding is all there is.
        assert furthest(grads, found) < 1e-5 * max(1, size)


@pytest.mark.parametrize("model", ["bert", "modern"])
def test_a_micro_batch_is_encoded_again_under_the_same_dropout(similarity: Make, monkeypatch, model: str):
    task = task_of(similarity("texts", {"system.micro_batch_tokens": 64}, model))
    loss, grads = gradient(task, seed=3)

    def straight(function: Callable[..., torch.Tensor], first: object, *what: object) -> torch.Tensor:
        assert isinstance(first, torch.Tensor), "it says which device draws what is dropped"
        return function(first, *what)

    monkeypatch.setattr(vectors_module, "checkpoint_activations", straight)
    kept, wanted = gradient(task, seed=3)
    assert loss == kept
    assert max(float(value.abs().max()) for value in wanted.values()) > 1e-4
    assert furthest(grads, wanted) < 1e-6
    assert gradient(task, seed=4)[0] != loss


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("model", ["bert", "modern"])
def test_a_micro_batch_is_encoded_again_by_the_same_compiled_code(
    similarity: Make, monkeypatch: pytest.MonkeyPatch, model: str
):
    monkeypatch.setattr(attention, "BMM_LONGEST", 0)  # as on a GPU
    task = task_of(similarity("pairs", {"system.micro_batch_tokens": 64, "encoder.dropout": 0}, model))
    loss, grads = gradient(task, seed=1)
    compiled, found = gradient(task, seed=1, backend="aot_eager_decomp_partition")
    assert compiled == pytest.approx(loss, abs=1e-5)
    assert furthest(grads, found) < 1e-5


@dataclass(frozen=True)
class OneAfterTheOther(Ranks):
    """A rank that is run twice: first for what it sends, then with what all have sent."""

    sent: list[torch.Tensor] = field(default_factory=list)
    added: list[torch.Tensor] = field(default_factory=list)

    def all_reduce(self, values: torch.Tensor) -> torch.Tensor:
        if self.added:
            return self.added[0].clone()
        self.sent.append(values.clone())
        return values


@pytest.mark.parametrize("form", FORMS)
def test_ranks_compare_all_texts_of_the_step(similarity: Make, form: str):
    recipe = similarity(form, {"encoder.dropout": "none" if form == "texts" else 0, "system.micro_batch_tokens": 64})
    loss, grads = gradient(task_of(recipe))
    # More ranks than rows: the last have nothing to encode.
    size = 20
    ranks = [OneAfterTheOther(rank, size) for rank in range(size)]

    def run(rank: OneAfterTheOther) -> tuple[float, dict[str, torch.Tensor]]:
        task = task_of(recipe, rank)
        module = task.first_module().eval()
        work = task.batch_builder(rank)(1)
        found = task.terms(module, work.batches[0], module, CPU)["loss"].sum
        found.backward()
        return found.item(), {name: value.grad for name, value in module.named_parameters() if value.grad is not None}

    for rank in ranks:
        run(rank)
    total = sum(sent for rank in ranks for sent in rank.sent)
    for rank in ranks:
        rank.added.append(total)
    found = [run(rank) for rank in ranks]
    assert sum(value for value, _ in found) == pytest.approx(loss, abs=1e-5)
    added = {name: sum(part[name] for _, part in found if name in part) for name in grads}
    assert furthest(grads, added) < 1e-5


def test_a_run_left_goes_on_to_the_same_bits_under_dropout(similarity: Make, tmp_path: Path):
    changes = {"train.steps": 6, "train.evaluate_every": 3, "system.micro_batch_tokens": 64}
    recipe = similarity("texts", changes)
    list(finetune(recipe, tmp_path / "straight"))
    for event in finetune(recipe, tmp_path / "left"):
        if isinstance(event, Step) and event.step == 2:
            break
    list(finetune(recipe, tmp_path / "left"))
    one, other = (
        load_file(tmp_path / name / "checkpoints" / "step-000006" / "model.safetensors")
        for name in ("straight", "left")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("form", ["pairs", "negatives", "scored"])
@pytest.mark.parametrize("model", ["bert", "roberta", "modern"])
def test_the_loss_of_a_step_is_that_of_sentence_transformers(similarity: Make, tmp_path: Path, form: str, model: str):
    st = pytest.importorskip("sentence_transformers")
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    task = task_of(similarity(form, {"encoder.dropout": 0}, model))
    task.write(tmp_path, task.first_module(), None)
    theirs = st.SentenceTransformer(str(tmp_path / "model"), device="cpu")
    step = task.batch_builder(Ranks())(0)
    records = [task._data.train[number] for number in sorted(set(step.example_ids.tolist()))]
    columns = [[record.text for record in records], [record.text_pair for record in records]]
    if form == "negatives":
        # Theirs wants one for each; those that are left out here hold nothing that it could be taken for.
        records = [record for record in records if record.negatives]
        columns = [[record.text for record in records], [record.text_pair for record in records]]
        columns.append([record.negatives[0] for record in records])
        task._data.train = records
        task.__dict__.pop("_train", None)
        step = task_of_records(task)
    features = [theirs.preprocess(texts) for texts in columns]
    scores = torch.tensor([float(record.label or 0) for record in records])
    kind = losses.CoSENTLoss if form == "scored" else losses.MultipleNegativesRankingLoss
    wanted = kind(theirs, scale=20.0)(features, scores)
    module = task.first_module()
    found = task.terms(module, step.batches[0], module, CPU)["loss"]
    assert found.sum.item() == pytest.approx(wanted.item(), abs=1e-5)


def task_of_records(task: SimilarityTask):
    """One step of all records that the task has now."""
    train = task.recipe.train.model_copy(update={"batch_size": len(task._data.train)})
    return task.with_recipe(task.recipe.with_train(train)).batch_builder(Ranks())(0)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("model", ["bert", "roberta", "modern"])
def test_others_open_what_is_written_and_get_the_same_vectors(
    similarity: Make, tmp_path: Path, model: str, pooling: str
):
    st, transformers = pytest.importorskip("sentence_transformers"), pytest.importorskip("transformers")
    recipe = similarity("scored", {"encoder.pooling": pooling, "train.steps": 2, "train.evaluate_every": 2}, model)
    list(finetune(recipe, tmp_path))
    folder = tmp_path / "model"
    texts = ["the quick brown fox", "a dog", "a lazy dog sees paris , so " * 9]
    ours = load(folder, device="cpu")
    with pytest.warns(UserWarning, match="longer than 32 tokens"):
        found = ours.embed(texts)
    theirs = st.SentenceTransformer(str(folder), device="cpu").encode(texts)
    np.testing.assert_allclose(found, theirs, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(ours.embed(texts[:2]), ours.embed(texts[:2], pooling=pooling))
    opened = transformers.AutoModel.from_pretrained(folder).eval()
    assert type(opened).__name__.endswith("Model")
    ids, special = ours.tokenizer.encode_batch([texts[0]])[0].ids.tolist(), ours.tokenizer.special
    framed = torch.tensor([[special.cls, *ids, special.sep]])
    with torch.no_grad():
        hidden = opened(framed, torch.ones_like(framed)).last_hidden_state[0]
    np.testing.assert_allclose(found[0], hidden[0] if pooling == "cls" else hidden.mean(0), rtol=1e-4, atol=1e-5)
    # It is a place to begin from, too, and its pooling stays.
    again = similarity("scored", {"encoder.path": tmp_path, "encoder.pooling": "none"}, model)
    assert task_of(again).recipe.encoder.pooling == pooling


def test_dropout_of_training_is_not_written_as_the_models_own(similarity: Make, models, tmp_path: Path):
    task = task_of(similarity("texts"))
    module = task.first_module()
    assert module.config.dropout == 0.1
    task.write(tmp_path, module, None)
    said = json.loads((tmp_path / "model" / "config.json").read_text())
    assert said["mlp_dropout"] == json.loads((models["modern"] / "config.json").read_text())["mlp_dropout"]


def test_test_texts_are_measured_once_at_the_end(similarity: Make, similar, tmp_path: Path, monkeypatch):
    changes = {"train.steps": 2, "train.evaluate_every": 1, "data.test": similar["pairs"]}
    events = list(finetune(similarity("scored", changes), tmp_path))
    dev, test = only(FinalMetrics, events)
    assert (list(dev.measured), list(test.measured)) == (["spearman", "pearson"], ["mrr", "accuracy", "top10"])
    assert "mrr, test" in (tmp_path / "model" / "README.md").read_text()
    monkeypatch.setattr("maskling.finetuning.similarity.similarity_metrics", None)
    assert only(FinalMetrics, list(finetune(similarity("scored", changes), tmp_path))) == [dev, test]


@pytest.mark.parametrize(
    ("form", "changes", "lines", "error", "said"),
    [
        ("pairs", {"train.batch_size": 1}, None, SettingsError, "no in-batch negatives"),
        ("texts", {"encoder.dropout": 0}, None, SettingsError, "dropout is 0"),
        ("scored", {}, [PAIR.format(1), '{"text_a": "a", "text_b": "c"}'], DataError, "no score"),
        ("scored", {}, [PAIR.format('"yes"')], DataError, "a number is needed"),
        ("scored", {}, [PAIR.format(1)] * 2, DataError, "all scores are 1"),
        ("pairs", {}, ['{"text_a": "a", "text_b": "b"}'] * 2, DataError, "a single text"),
        ("pairs", {}, ['{"left": "a", "right": "b"}'], DataError, "no column with a name known for texts"),
        ("pairs", {}, [], DataError, "has no records"),
        ("texts", {}, ['{"text": "short"}'], MasklingError, "no text of 10 characters or more"),
        ("texts", {"data.train": "nowhere"}, None, MasklingError, "there is no such file or folder"),
    ],
)
def test_bad_input_is_refused_in_a_line(similarity: Make, tmp_path: Path, form, changes, lines, error, said):
    if lines is not None:
        changes = {**changes, "data.train": tmp_path / "bad.jsonl"}
        (tmp_path / "bad.jsonl").write_text("".join(line + "\n" for line in lines))
    with pytest.raises(error, match=said) as caught:
        list(finetune(similarity(form, changes), tmp_path / "run"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.slow
@pytest.mark.timeout(2000)
@pytest.mark.parametrize("form", [form for form in FORMS if form != "texts"])  # which live on dropout
def test_ranks_compare_with_the_texts_of_the_others_under_torchrun(similarity: Make, tmp_path: Path, form: str):
    # 11 texts do not divide by 2; micro-batches of some rows each.
    recipe = similarity(form, {"train.steps": 4, "train.batch_size": 11, "system.micro_batch_tokens": 96})
    list(finetune(recipe, tmp_path / "one"))
    done = ran(finetuning(recipe, tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    assert_near(tmp_path / "one", tmp_path / "two", 4)
