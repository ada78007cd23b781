"""A model with more rows says the same as before of what it could read before, and transformers agrees on the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from maskling.errors import ModelError
from maskling.model.attention import AttentionPattern
from maskling.model.masked_lm import MaskedLM
from maskling.model.resize import add_positions, add_tokens
from maskling.tokenizer.tokenizer import Tokenizer
from oracles.transformers_twin import twin
from small_models import bert, modern, roberta, wordpiece

MODELS = {"bert": bert, "roberta": roberta, "modern": modern}
LONG = {"bert": 149, "roberta": 149, "modern": 307}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return wordpiece(tmp_path_factory.mktemp("wordpiece"))


@pytest.fixture(scope="module", params=MODELS)
def module(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> MaskedLM:
    build: Callable[[Tokenizer], MaskedLM] = MODELS[request.param]
    return build(tokenizer)


def ids_of(module: MaskedLM, length: int) -> torch.Tensor:
    # From 5 on, as transformers counts RoBERTa's positions by what is no padding.
    draws = torch.Generator().manual_seed(1)
    return torch.randint(5, module.config.vocab_size, (2, length), generator=draws)


@torch.no_grad()
def logits(module: MaskedLM, ids: torch.Tensor) -> torch.Tensor:
    pattern = AttentionPattern.from_attention_mask(torch.ones_like(ids, dtype=torch.bool))
    return module.predict(module(ids, torch.arange(ids.shape[1]).expand(ids.shape), None, pattern))


def test_texts_that_fitted_before_get_the_same_answers(module: MaskedLM):
    length = module.config.max_positions
    longer = add_positions(module, length + 83)
    assert longer.config.max_positions == length + 83
    for seq in (length, 7):
        torch.testing.assert_close(
            logits(longer, ids_of(module, seq)), logits(module, ids_of(module, seq)), rtol=0, atol=0
        )


def test_long_texts_run_as_in_transformers(module: MaskedLM):
    longer = add_positions(module, LONG[longer_name(module)])
    ids = ids_of(module, longer.config.max_positions)
    with torch.no_grad():
        expected = twin(longer)(input_ids=ids).logits
    torch.testing.assert_close(logits(longer, ids), expected, rtol=1e-4, atol=1e-4)


def longer_name(module: MaskedLM) -> str:
    return getattr(module.config, "family", "modern")


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_the_table_starts_again_after_its_end(family: str, tokenizer: Tokenizer):
    module = MODELS[family](tokenizer)
    first = module.config.position_offset
    table = add_positions(module, 149).state_dict()["position.weight"]
    old = module.state_dict()["position.weight"]
    assert table.shape == (149 + first, 24)
    for position in range(149):
        assert table[first + position].equal(old[first + position % 67])
    assert table[:first].equal(old[:first])


def test_another_base_of_rotary_positions_is_modernberts_alone(tokenizer: Tokenizer):
    changed = add_positions(modern(tokenizer), 307, rope_theta=320_000.0)
    assert changed.config.global_rope_theta == 320_000.0
    assert changed.config.local_rope_theta == 10_000.0
    with pytest.raises(ModelError, match="this model has a table"):
        add_positions(bert(tokenizer), 307, rope_theta=320_000.0)


def test_fewer_positions_are_refused(module: MaskedLM):
    with pytest.raises(ModelError, match="already has"):
        add_positions(module, module.config.max_positions)


def test_new_words_are_the_mean_of_their_pieces_and_as_likely_as_their_share_of_the_first(module: MaskedLM):
    with torch.no_grad():
        module.decoder_bias.copy_(torch.linspace(-2, 1, module.config.vocab_size))  # type: ignore[operator, union-attr]
    first = module.config.vocab_size
    grown = add_tokens(module, first, [(7, 11, 12), (9, 8)], [0.25, None])
    assert grown.config.vocab_size == first + 2
    word, bias = grown.state_dict()["word.weight"], grown.state_dict()["decoder_bias"]
    torch.testing.assert_close(word[first], (word[7] + word[11] + word[12]) / 3)
    torch.testing.assert_close(word[first + 1], (word[9] + word[8]) / 2)
    assert bias[first] == pytest.approx(float(bias[7]) - 1.3862944)  # log 4
    assert bias[first + 1] == bias[8]
    ids = ids_of(module, 13)
    # The old tokens' scores stay, before the softmax.
    torch.testing.assert_close(logits(grown, ids)[..., :first], logits(module, ids), rtol=0, atol=1e-5)


def test_spare_rows_are_used_first_and_stay_a_round_number(tokenizer: Tokenizer):
    module = bert(tokenizer)
    first = module.config.vocab_size
    spare = add_tokens(module, first, [(7, 8)] * (128 - first), [None] * (128 - first))
    assert spare.config.vocab_size == 128
    used = add_tokens(spare, first, [(9, 10)], [None])  # its rows from `first` on count as spare
    assert used.config.vocab_size == 128
    assert used.state_dict()["word.weight"][first + 1].equal(spare.state_dict()["word.weight"][first + 1])
    more = add_tokens(spare, 127, [(9, 10), (11, 12)], [None, None])
    assert more.config.vocab_size == 192
    assert more.state_dict()["word.weight"][191].equal(spare.state_dict()["word.weight"][127])


def test_a_grown_model_is_written_and_read(module: MaskedLM, tmp_path: Path):
    from maskling.model.folder import read_folder, write_weights

    longer = add_positions(module, LONG[longer_name(module)])
    write_weights(longer, tmp_path)
    loaded = read_folder(tmp_path)
    assert not loaded.missing
    ids = ids_of(module, LONG[longer_name(module)])
    torch.testing.assert_close(logits(loaded.module.eval(), ids), logits(longer, ids), rtol=0, atol=0)
