"""`fill` agrees with transformers' pipeline, and with sums made slowly, one sequence at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from maskling.errors import ModelError, SettingsError, TokenizerError
from maskling.exporting.cards import CardFacts
from maskling.exporting.folder import export_model
from maskling.infer.fill import TokenScorer, fill_jointly, fill_texts
from maskling.infer.masks import read_slots
from maskling.infer.model import Model
from maskling.infer.results import FilledMasks, FilledTogether
from maskling.model.attention import AttentionPattern
from maskling.model.device import pick_device
from maskling.model.masked_lm import MaskedLM
from maskling.tokenizer.tokenizer import Tokenizer
from small_models import bert, byte_level, modern, roberta, wordpiece

transformers = pytest.importorskip("transformers")


def model_of(module: MaskedLM, tokenizer: Tokenizer, max_length: int = 60) -> Model:
    return Model(module, tokenizer, pick_device("cpu", "fp32"), max_length)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    tokenizer = wordpiece(tmp_path_factory.mktemp("wordpiece"))
    return model_of(bert(tokenizer), tokenizer)


@pytest.fixture(scope="module")
def bytes_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    tokenizer = byte_level(tmp_path_factory.mktemp("bytes"))
    return model_of(roberta(tokenizer), tokenizer)


def masks_of(model: Model, text: str, **options: object) -> FilledMasks:
    answer = model.fill(text, **options)
    assert isinstance(answer, FilledMasks)
    return answer


def log_probabilities(model: Model, ids: Sequence[int]) -> np.ndarray:
    """(length, vocab): the model on one sequence, alone and unpadded."""
    row = torch.tensor([list(ids)])
    with torch.no_grad():
        hidden = model.module(row, torch.arange(len(ids))[None], None, AttentionPattern.from_attention_mask(row >= 0))
        return model.module.predict(hidden)[0].log_softmax(-1).double().numpy()


def with_special(model: Model, tokens: Sequence[str]) -> list[int]:
    special = model.tokenizer.special
    return [special.cls, *(model.tokenizer.id_of(token) for token in tokens), special.sep]


@pytest.mark.parametrize(
    ("make_tokenizer", "make_module"),
    [(wordpiece, bert), (byte_level, roberta), (wordpiece, modern), (byte_level, modern)],
    ids=["bert", "roberta", "modern", "modern-bytes"],
)
def test_probabilities_and_order_are_those_of_the_pipeline(
    make_tokenizer: object, make_module: object, tmp_path: Path
) -> None:
    tokenizer = make_tokenizer(tmp_path / "vocabulary")
    module = make_module(tokenizer)
    export_model(module, tokenizer, tmp_path / "model", CardFacts())
    pipeline = transformers.pipeline("fill-mask", model=str(tmp_path / "model"), device="cpu")
    mask = tokenizer.mask_token
    texts = [
        f"The quick brown {mask} jumps over the {mask} dog.",
        f"{mask}",
        f"A souvenir of {mask}, the dog sees the lazy fox and the dog hears it!",
    ]
    ours = fill_texts(model_of(module, tokenizer), texts, top_k=7)
    specials = set(range(tokenizer.vocab_size)) - set(tokenizer.ordinary_ids.tolist())
    for text, answer in zip(texts, ours, strict=True):
        theirs = pipeline(text, top_k=7 + len(specials))
        assert isinstance(answer, FilledMasks)
        for mine, other in zip(answer, theirs if isinstance(theirs[0], list) else [theirs], strict=True):
            kept = [one for one in other if one["token"] not in specials][:7]
            assert [one.id for one in mine] == [one["token"] for one in kept]
            np.testing.assert_allclose([one.probability for one in mine], [one["score"] for one in kept], rtol=1e-4)


def test_texts_of_any_lengths_together_get_what_they_get_alone(model: Model) -> None:
    texts = ["the [MASK]", "the quick [MASK] fox jumps over the lazy [MASK] in paris", "[MASK]"]
    together = model.fill(texts)
    assert [one.text for one in together] == texts
    for text, answer in zip(texts, together, strict=True):
        alone = masks_of(model, text)
        assert isinstance(answer, FilledMasks)
        for mine, other in zip(answer, alone, strict=True):
            assert [one.word for one in mine] == [one.word for one in other]
            np.testing.assert_allclose([o.probability for o in mine], [o.probability for o in other], rtol=1e-4)


def test_every_spelling_of_the_mask_means_the_mask(model: Model, bytes_model: Model) -> None:
    for each in (model, bytes_model):
        first, second = each.fill(["The [MASK] of a fox.", "The <mask> of a fox."])
        assert len(first) == 1
        assert [one.id for one in first[0]] == [one.id for one in second[0]]
        assert first[0][0].text.startswith("The")


def test_two_masks_are_independent_unless_asked_otherwise(model: Model) -> None:
    answer = masks_of(model, "the [MASK] fox [MASK]", top_k=3)
    scores = log_probabilities(model, with_special(model, ["the", "[MASK]", "fox", "[MASK]"]))
    for position, mask in zip((2, 4), answer, strict=True):
        for one in mask:
            assert one.probability == pytest.approx(math.exp(scores[position, one.id]), rel=1e-4)
    assert answer[0][0].text == f"the {answer[0][0].word} fox [MASK]"


Text = list[tuple[int, ...] | None]  # what stands in each place, None where a slot is open


def word_probability(model: Model, text: Text, slot: int, pieces: tuple[int, ...]) -> float:
    """Log-probability of a word in a slot: piece after piece, later pieces and other slots hidden."""
    mask, total = model.tokenizer.special.mask, 0.0
    for done in range(len(pieces)):
        shown = [part if part is not None else (mask,) for part in text]
        shown[slot] = (*pieces[:done], *[mask] * (len(pieces) - done))
        place = sum(map(len, shown[:slot])) + done
        total += float(log_probabilities(model, list(itertools.chain(*shown)))[place, pieces[done]])
    return total


def chain(model: Model, text: Text, candidates: list[tuple[int, ...]]) -> dict[tuple[int, ...], float]:
    """Log-probability of every filling, by the rule written out: next is the slot whose best candidate is likeliest."""
    slots = [slot for slot, part in enumerate(text) if part is None]
    if not slots:
        return {tuple(itertools.chain(*[part for part in text if part is not None])): 0.0}
    scores = {slot: {one: word_probability(model, text, slot, one) for one in candidates} for slot in slots}
    easiest = max(slots, key=lambda slot: max(scores[slot].values()))
    found: dict[tuple[int, ...], float] = {}
    for one, score in scores[easiest].items():
        rest = chain(model, [*text[:easiest], one, *text[easiest + 1 :]], candidates)
        found |= {filling: score + log for filling, log in rest.items()}
    return found


def as_text(model: Model, tokens: Sequence[str]) -> Text:
    mask = model.tokenizer.special.mask
    return [None if token == mask else (token,) for token in with_special(model, tokens)]


@pytest.mark.parametrize("text", ["the [MASK] [MASK] .", "[MASK] fox sees the [MASK]"], ids=["adjacent", "apart"])
def test_joint_filling_finds_the_best_of_all_fillings(model: Model, text: str) -> None:
    tokens = model.tokenizer.ordinary_ids[5:17]
    candidates = [(int(token),) for token in tokens]
    expected = sorted(chain(model, as_text(model, text.split()), candidates).items(), key=lambda item: -item[1])
    score = TokenScorer(model.module, model.compute, model.tokenizer.special.pad, tokens, tokens)
    state = read_slots(text, model.tokenizer, 60)
    found = fill_jointly(state, score, top_k=10, beam=len(tokens))
    assert [tuple(filled.ids.tolist()) for filled, _ in found] == [filling for filling, _ in expected[:10]]
    np.testing.assert_allclose([log for _, log in found], [log for _, log in expected[:10]], rtol=1e-4)


def test_the_usual_beam_finds_what_an_endless_one_finds(model: Model) -> None:
    tokens = model.tokenizer.ordinary_ids
    score = TokenScorer(model.module, model.compute, model.tokenizer.special.pad, tokens, tokens)
    text = "[MASK] fox sees [MASK] [MASK]"
    filled, log = fill_jointly(read_slots(text, model.tokenizer, 60), score, top_k=1, beam=500)[0]
    answer = model.fill(text, joint=True, top_k=3)
    assert isinstance(answer, FilledTogether)
    assert answer[0].ids == filled.chosen
    assert answer[0].probability == pytest.approx(math.exp(log), rel=1e-4)
    assert answer[0].text.count("[MASK]") == 0


def test_joint_probabilities_over_everything_sum_to_one(model: Model) -> None:
    everything = np.arange(model.tokenizer.vocab_size)
    score = TokenScorer(model.module, model.compute, model.tokenizer.special.pad, everything, everything)
    state = read_slots("the [MASK] [MASK] .", model.tokenizer, 60)
    size = len(everything)
    found = fill_jointly(state, score, top_k=size**2, beam=size**2)
    assert len(found) == size**2
    assert sum(math.exp(log) for _, log in found) == pytest.approx(1, rel=1e-4)


def test_targets_are_scored_piece_after_piece_with_later_pieces_hidden(model: Model) -> None:
    answer = masks_of(model, "a [MASK] of paris", targets=["souvenir", "gift", "dogs"])
    expected = {}
    for word, pieces in {"gift": ["gift"], "dogs": ["dog", "##s"], "souvenir": ["so", "##uven", "##ir"]}.items():
        log = 0.0
        for done in range(len(pieces)):
            hidden = ["[MASK]"] * (len(pieces) - done)
            ids = with_special(model, ["a", *pieces[:done], *hidden, "of", "paris"])
            log += log_probabilities(model, ids)[2 + done, model.tokenizer.id_of(pieces[done])]
        expected[word] = math.exp(log)
    assert [one.word for one in answer[0]] == sorted(expected, key=expected.__getitem__, reverse=True)
    for one in answer[0]:
        assert one.probability == pytest.approx(expected[one.word], rel=1e-4)
        assert one.text == f"a {one.word} of paris"
    assert next(one for one in answer[0] if one.word == "souvenir").tokens == ("so", "##uven", "##ir")


def test_targets_of_several_pieces_are_filled_together(model: Model) -> None:
    targets = ["gift", "souvenir", "dogs"]
    words = [tuple(model.tokenizer.encode(word).ids.tolist()) for word in targets]
    first = set()
    for text in ("[MASK] sees the [MASK]", "[MASK] of [MASK] fox", "[MASK] a [MASK]"):
        found = model.fill(text, targets=targets, joint=True, top_k=100)
        assert isinstance(found, FilledTogether)
        assert {one.words for one in found} == set(itertools.product(targets, repeat=text.count("[MASK]")))
        assert [one.probability for one in found] == sorted((one.probability for one in found), reverse=True)
        start = as_text(model, text.split())
        slots = [slot for slot, part in enumerate(start) if part is None]
        best = [max(word_probability(model, start, slot, one) for one in words) for slot in slots]
        first.add(best.index(max(best)))
        expected = chain(model, start, words)
        for one in found:
            filling = list(start)
            for slot, ids in zip(slots, one.ids, strict=True):
                filling[slot] = ids
            whole = tuple(itertools.chain(*[part for part in filling if part is not None]))
            assert one.probability == pytest.approx(math.exp(expected[whole]), rel=1e-4)
            assert one.text == " ".join(text.replace("[MASK]", "{}").format(*one.words).split())
    # Both orders were seen: from the left, where what follows moves, and from the right.
    assert first == {0, 1}


def test_a_target_may_be_a_piece_as_the_vocabulary_spells_it(model: Model) -> None:
    (mask,) = masks_of(model, "the fox [MASK]", targets=["##s", "sees"])
    scores = log_probabilities(model, with_special(model, ["the", "fox", "[MASK]"]))
    found = {one.token: one for one in mask}
    assert found["##s"].probability == pytest.approx(math.exp(scores[3, model.tokenizer.id_of("##s")]), rel=1e-4)
    assert found["##s"].text == "the foxs"


def test_a_byte_level_word_is_written_with_its_space_only_after_a_space(bytes_model: Model) -> None:
    tokenizer = bytes_model.tokenizer
    (inside,) = masks_of(bytes_model, "The <mask> dog", targets=["fox"])
    (first,) = masks_of(bytes_model, "<mask> dog", targets=["fox"])
    assert inside[0].tokens[0].startswith("Ġ")
    assert list(inside[0].ids) == tokenizer.encode("The fox").ids[len(tokenizer.encode("The").ids) :].tolist()
    assert list(first[0].ids) == tokenizer.encode("fox").ids.tolist()
    assert (inside[0].text, first[0].text) == ("The fox dog", "fox dog")


def test_whole_words_are_words_by_themselves(model: Model, bytes_model: Model) -> None:
    (mask,) = masks_of(model, "the [MASK] fox", top_k=1000, whole_words=True)
    words = {one.word for one in mask}
    assert {"dog", "paris", "quick"} <= words
    assert not any(one.token.startswith("##") or not one.word.isalnum() for one in mask)
    (mask,) = masks_of(bytes_model, "the <mask> fox", top_k=1000, whole_words=True)
    assert all(one.token.startswith("Ġ") and one.word for one in mask)
    # The probabilities stay those over the whole vocabulary.
    (everything,) = masks_of(model, "the [MASK] fox", top_k=1000)
    known = {one.id: one.probability for one in everything}
    (mask,) = masks_of(model, "the [MASK] fox", top_k=3, whole_words=True)
    assert [one.probability for one in mask] == pytest.approx([known[one.id] for one in mask], rel=1e-5)


def test_special_and_unused_tokens_are_never_answers(model: Model) -> None:
    (mask,) = masks_of(model, "the [MASK] fox", top_k=1000)
    assert {one.id for one in mask} == set(model.tokenizer.ordinary_ids.tolist())
    assert not any(one.token.startswith("[") for one in mask)


def test_a_text_without_a_mask_is_told_how_the_mask_is_written(model: Model, bytes_model: Model) -> None:
    with pytest.raises(TokenizerError, match=r"no \[MASK\] in 'the fox'"):
        model.fill("the fox")
    with pytest.raises(TokenizerError, match="no <mask> in 'the fox'"):
        bytes_model.fill(["<mask>", "the fox"])


def test_a_long_text_keeps_what_is_around_its_masks(model: Model) -> None:
    short = Model(model.module, model.tokenizer, model.compute, max_length=9)
    words = [*["dog"] * 30, "the", "quick", "[MASK]", "fox", "jumps", "over", *["dog"] * 40]
    answer = masks_of(short, " ".join(words))
    assert answer.cut
    same = masks_of(model, "the quick [MASK] fox jumps over dog")
    before = masks_of(model, "dog the quick [MASK] fox jumps over")
    found = [one.probability for one in answer[0]]
    assert found in [pytest.approx([one.probability for one in other[0]], rel=1e-4) for other in (same, before)]
    assert not same.cut
    assert answer[0][0].text == " ".join(words).replace("[MASK]", answer[0][0].word)
    at_the_end = masks_of(short, f"{'dog ' * 20}fox [MASK] .")
    assert at_the_end.cut
    assert len(at_the_end) == 1


def test_masks_too_far_apart_are_an_error_that_names_the_limit(model: Model) -> None:
    short = Model(model.module, model.tokenizer, model.compute, max_length=9)
    with pytest.raises(TokenizerError, match="22 tokens apart and this model reads 7 at once"):
        short.fill(f"[MASK] {'dog ' * 20}[MASK]")


def test_room_is_left_for_targets_of_several_pieces(model: Model) -> None:
    short = Model(model.module, model.tokenizer, model.compute, max_length=9)
    answer = masks_of(short, "the quick brown [MASK] over the dog", targets=["souvenir", "fox"])
    assert answer.cut
    assert {one.word for one in answer[0]} == {"souvenir", "fox"}


def test_what_cannot_be_asked_is_refused(model: Model) -> None:
    with pytest.raises(TokenizerError, match="target 'été☃' cannot be encoded"):
        model.fill("[MASK]", targets=["fox", "été☃"])
    with pytest.raises(TokenizerError, match="a list with at least one word"):
        model.fill("[MASK]", targets=[])
    with pytest.raises(SettingsError, match="top_k is 0"):
        model.fill("[MASK]", top_k=0)
    with pytest.raises(ModelError, match="no masked-token head"):
        Model(model.module, model.tokenizer, model.compute, 60, headless=True).fill("[MASK]")
    assert model.fill([]) == []


def test_answers_are_rows_for_people_and_plain_data_for_machines(model: Model) -> None:
    one, two = masks_of(model, "a [MASK]", top_k=2), masks_of(model, "a [MASK] [MASK]", top_k=2)
    assert [row[1] for row in one.rows()] == [filled.word for filled in one[0]]
    assert [row[0] for row in two.rows()] == ["mask 1", "mask 1", "mask 2", "mask 2"]
    data = two.as_dict()
    assert data["masks"][1][0]["probability"] == two[1][0].probability
    together = model.fill("a [MASK] [MASK]", joint=True, top_k=2)
    assert isinstance(together, FilledTogether)
    assert together.as_dict()["together"][0]["words"] == list(together[0].words)
    assert len(together.rows()) == 2
