"""Generated text keeps what was given, repeats exactly, and chooses as a slow loop does."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from maskling.errors import ModelError, SettingsError
from maskling.infer import generate
from maskling.infer import generate as generate_module
from maskling.infer.generate import Prompt
from maskling.infer.model import Model
from maskling.model.attention import AttentionPattern
from maskling.model.device import pick_device
from maskling.tokenizer.tokenizer import Tokenizer
from small_models import bert, byte_level, modern, roberta, wordpiece

ORDERS = pytest.mark.parametrize("order", ["confidence", "left-to-right", "random"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    tokenizer = wordpiece(tmp_path_factory.mktemp("wordpiece"))
    return Model(modern(tokenizer), tokenizer, pick_device("cpu", "fp32"), 40)


@pytest.fixture(scope="module")
def bytes_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    tokenizer = byte_level(tmp_path_factory.mktemp("bytes"))
    return Model(roberta(tokenizer), tokenizer, pick_device("cpu", "fp32"), 60)


def expected_at(model: Model, ids: list[int], place: int, starts: bool) -> dict[int, float]:
    """The log-probability of each ordinary token at a place, one sequence alone."""
    row = torch.tensor([ids])
    with torch.no_grad():
        hidden = model.module(row, torch.arange(len(ids))[None], None, AttentionPattern.from_attention_mask(row >= 0))
        logits = model.module.predict(hidden)[0, place].double()
    may = [token for token in model.tokenizer.ordinary_ids.tolist() if model.tokenizer.starts_word[token] or not starts]
    logs = logits[may].log_softmax(-1).tolist()
    return dict(zip(may, logs, strict=True))


@pytest.mark.parametrize("order", ["confidence", "left-to-right"])
def test_the_likeliest_tokens_are_those_of_a_slow_loop(model: Model, order: str):
    special, encode = model.tokenizer.special, model.tokenizer.encode
    ids = [
        special.cls,
        *encode("the quick").ids.tolist(),
        *[special.mask] * 5,
        *encode("dog .").ids.tolist(),
        special.sep,
    ]
    total = 0.0
    while special.mask in ids:
        open_places = [place for place, token in enumerate(ids) if token == special.mask]
        found = []
        for place in open_places[: None if order == "confidence" else 1]:
            logs = expected_at(model, ids, place, starts=place == 3)
            token = max(logs, key=lambda one: logs[one])
            found.append((logs[token], place, token))
        log, place, token = max(found, key=lambda one: one[0])
        ids[place] = token
        total += log
    (one,) = model.generate("the quick [MASK] dog .", length=5, order=order, temperature=0, no_repeat=0)
    assert list(one.tokens) == [model.tokenizer.token(token) for token in ids[3:8]]
    assert one.log_probability == pytest.approx(total, abs=1e-4)


@ORDERS
@pytest.mark.parametrize("steps", [None, 1, 4])
def test_given_words_stay_and_only_ordinary_tokens_come(model: Model, order: str, steps: int | None):
    given = "The  Quick [MASK] fox, [MASK] [MASK][MASK] A souvenir\tof <mask>!"
    found = model.generate(given, count=4, order=order, steps=steps, temperature=3.0, top_p=None)
    assert len({one.text for one in found}) > 1
    for one in found:
        assert len(one.tokens) == 5
        assert len(one.written) == 3
        assert not any(token.startswith("[") for token in one.tokens)
        assert re.fullmatch(r"The  Quick(.*) fox,(.*) A souvenir\tof(.*)!", one.text), one
        # A gap after a space never grows the word before it.
        assert one.text.startswith("The  Quick ") or not one.text[len("The  Quick")].isalnum()


@ORDERS
def test_equal_seeds_give_equal_texts_and_a_text_is_the_same_among_more(model: Model, order: str):
    few, more = (model.generate("the [MASK] dog", length=6, count=count, order=order, seed=3) for count in (2, 5))
    assert [one.text for one in few] == [one.text for one in more[:2]]
    # Two rows at once are not summed up as five are: on some processors the last digits differ.
    for one, same in zip(few, more, strict=False):
        assert one.log_probability == pytest.approx(same.log_probability, abs=1e-4)
    assert len({one.text for one in more}) > 1
    assert model.generate("the [MASK] dog", length=6, count=2, order=order, seed=4) != few


def test_many_texts_are_written_a_few_at_a_time(model: Model, monkeypatch: pytest.MonkeyPatch):
    together = model.generate("the [MASK] dog", length=4, count=5, seed=3)
    monkeypatch.setattr(generate, "_SCORES", 2 * 4 * model.tokenizer.vocab_size)
    sizes: list[int] = []
    run = generate_module.Unmasking.run
    monkeypatch.setattr(
        generate_module.Unmasking, "run", lambda self, *given: (sizes.append(len(given[-1])), run(self, *given))[1]
    )
    apart = model.generate("the [MASK] dog", length=4, count=5, seed=3)
    assert sizes == [2, 2, 1]
    assert [one.text for one in apart] == [one.text for one in together]


def test_the_number_of_steps_is_how_often_the_model_looks(model: Model, monkeypatch: pytest.MonkeyPatch):
    looks = []
    run = generate_module.encode_padded
    monkeypatch.setattr(generate_module, "encode_padded", lambda *given: looks.append(len(given[2])) or run(*given))
    model.generate(length=12, steps=5, count=3, no_repeat=0)
    assert looks == [3] * 5
    looks.clear()
    model.generate(length=12, no_repeat=0)
    assert looks == [1] * 12


@ORDERS
@pytest.mark.parametrize("steps", [None, 3])
def test_no_run_of_tokens_stands_twice(model: Model, order: str, steps: int | None):
    options = {"length": 30, "count": 3, "order": order, "steps": steps, "temperature": 0.3}

    def repeats(tokens: tuple[str, ...]) -> int:
        runs = list(itertools.pairwise(tokens))
        return len(runs) - len(set(runs))

    guarded, free = (model.generate(**options, no_repeat=number) for number in (2, 0))
    assert sum(repeats(one.tokens) for one in free) > 0
    # Where every place of a step would repeat one, the likeliest is put in all the same.
    assert sum(repeats(one.tokens) for one in guarded) <= (0 if steps is None else 1)


def test_text_is_written_behind_a_text_or_alone(model: Model):
    (one,) = model.generate("The lazy dog", length=7, seed=1)
    assert one.text.startswith("The lazy dog")
    assert one.text[len("The lazy dog")] in " .,!?"
    assert len(one.tokens) == 7
    (alone,) = model.generate(length=4)
    assert alone.text == alone.written[0]
    assert not alone.tokens[0].startswith("##")
    assert len(model.generate()[0].tokens) == 20
    assert model.generate("") == model.generate(None)


def test_byte_level_spaces_are_the_tokens_own(bytes_model: Model):
    for seed in range(4):
        (one,) = bytes_model.generate("The lazy <mask> dog.", length=3, seed=seed, temperature=2.0)
        ids = [bytes_model.tokenizer.id_of(token) for token in one.tokens]
        assert one.text == "The lazy" + bytes_model.tokenizer.decode(ids) + " dog."
        assert not bytes_model.tokenizer.decode(ids)[:1].isalnum()


def test_gaps_are_runs_of_masks(model: Model, bytes_model: Model):
    for tokenizer in (model.tokenizer, bytes_model.tokenizer):
        prompt = Prompt.of("a [MASK] <mask>[MASK], b[MASK]", None, tokenizer)
        assert prompt.parts == ("a ", ", b", "")
        assert prompt.gaps == (3, 1)
        assert prompt.apart(tokenizer) == [True, False]
        ids = prompt.encoded(tokenizer)
        assert np.count_nonzero(ids == tokenizer.special.mask) == 4


def test_chinese_is_written_without_spaces(tmp_path: Path):
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"我们在北京的大学学习。", "[unused1]"]
    (tmp_path / "vocab.txt").write_text("\n".join(dict.fromkeys(vocabulary)) + "\n", encoding="utf-8")
    tokenizer = Tokenizer.load(tmp_path / "vocab.txt")
    model = Model(bert(tokenizer), tokenizer, pick_device("cpu", "fp32"), 40)
    (one,) = model.generate("我们在", length=5)
    assert one.text == "我们在" + "".join(one.tokens)


def test_a_tiny_vocabulary_may_repeat_where_it_must(tmp_path: Path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n", encoding="utf-8")
    tokenizer = Tokenizer.load(tmp_path / "vocab.txt")
    model = Model(bert(tokenizer), tokenizer, pick_device("cpu", "fp32"), 60)
    for order in ("confidence", "left-to-right"):
        assert len(model.generate(length=40, order=order, no_repeat=2)[0].tokens) == 40


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"length": 0}, "length is 0"),
        ({"count": 0}, "count is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"no_repeat": -1}, "no_repeat is -1"),
        ({"order": "up"}, "choose confidence, left-to-right or random"),
        ({"length": 39}, "takes 41 tokens, and this model reads 40"),
        ({"text": "[MASK] a [MASK]", "length": 4}, "the text has 2 masks"),
        ({"temperature": -1.0}, "temperature is -1"),
    ],
)
def test_what_cannot_be_asked_is_refused(model: Model, options: dict[str, object], complaint: str):
    with pytest.raises(SettingsError, match=complaint):
        model.generate(**options)


def test_a_model_without_a_head_cannot_write(model: Model):
    headless = Model(model.module, model.tokenizer, model.compute, 40, headless=True)
    with pytest.raises(ModelError, match="which generating needs"):
        headless.generate()
