"""Against transformers: the same weights give the same states and logits, whatever the batch looks like."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from maskling.model.attention import AttentionPattern
from maskling.model.build import build_masked_lm
from maskling.model.config import BertConfig, ModelConfig, ModernConfig
from maskling.model.masked_lm import MaskedLM
from oracles.transformers_twin import twin

# Every dimension is a number of its own, so that a swapped one cannot pass.
BERT = BertConfig(
    hidden_size=44, num_layers=3, num_heads=4, intermediate_size=58, vocab_size=101, max_positions=610, pair_head=True
)
ROBERTA = BERT.model_copy(
    update={"family": "roberta", "position_offset": 2, "pair_head": False, "pad_id": 1, "norm_eps": 1e-5}
)
MODERN = ModernConfig(
    hidden_size=44, num_layers=7, num_heads=2, intermediate_size=58, vocab_size=101, local_window=32, pad_id=3
)
MODELS = {
    "bert": BERT,
    "bert without pairs": BERT.model_copy(update={"pair_head": False}),
    "bert tanh": BERT.model_copy(update={"activation": "gelu_tanh"}),
    "roberta": ROBERTA,
    "roberta of one segment": ROBERTA.model_copy(update={"type_vocab_size": 1}),
    "modern": MODERN,
    "modern all global": MODERN.model_copy(update={"global_every": 1}),
    "modern mostly local": MODERN.model_copy(update={"global_every": 7, "local_rope_theta": 500.0}),
    "modern tanh": MODERN.model_copy(update={"activation": "gelu_tanh"}),
}


def random_model(config: ModelConfig, spread: float = 0.12) -> MaskedLM:
    """Weights large enough that attention is sharp, and norms and biases that are not 1 and 0."""
    module = build_masked_lm(config, seed=5)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * spread)
    return module.eval()


def inputs(config: ModelConfig, lengths: list[int], seq: int) -> dict[str, Any]:
    """One example a row, padded on the right."""
    generator = torch.Generator().manual_seed(11)
    ids = torch.randint(5, config.vocab_size, (len(lengths), seq), generator=generator)
    mask = torch.arange(seq)[None, :] < torch.tensor(lengths)[:, None]
    ids[~mask] = config.pad_id
    types = (torch.arange(seq)[None, :] >= torch.tensor(lengths)[:, None] // 3).long() * mask
    return {"input_ids": ids, "attention_mask": mask.long(), "token_type_ids": types}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("lengths", "seq"),
    [([17, 9, 1], 17), ([13, 13], 13), ([139, 60], 139), ([523, 77], 530)],
    ids=["padded", "full", "longer than a window", "longer than the bmm kernel takes"],
)
@pytest.mark.parametrize("training_kernel", [True, False])
def test_states_and_logits_equal_those_of_transformers(
    name: str, lengths: list[int], seq: int, training_kernel: bool
) -> None:
    config = MODELS[name]
    module = random_model(config)
    peer = twin(module)
    batch = inputs(config, lengths, seq)
    real = batch["attention_mask"].bool()
    wants_types = isinstance(config, BertConfig) and config.type_vocab_size > 1
    extra = {"token_type_ids": batch["token_type_ids"]} if wants_types else {}
    with torch.no_grad():
        expected = peer(batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True, **extra)
    states: list[torch.Tensor] = []
    with torch.set_grad_enabled(training_kernel):
        hidden = module(
            batch["input_ids"],
            torch.arange(seq).expand(len(lengths), seq),
            batch["token_type_ids"],
            AttentionPattern.from_attention_mask(batch["attention_mask"]),
            states,
        )
        logits = module.predict(hidden)
    want = expected.prediction_logits if config.pair_head else expected.logits
    assert want[real].std() > 0.5
    assert len(states) == len(expected.hidden_states) == config.num_layers + 1
    for ours, theirs in zip(states, expected.hidden_states, strict=True):
        torch.testing.assert_close(ours[real], theirs[real], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits[real], want[real], atol=1e-5, rtol=1e-5)
    assert torch.isfinite(logits).all()
    if config.pair_head:
        torch.testing.assert_close(module.pair(hidden[:, 0]), expected.seq_relationship_logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["bert", "modern"])
@pytest.mark.parametrize("seq", [97, 530])
def test_gradients_equal_those_of_transformers(name: str, seq: int) -> None:
    config = MODELS[name]
    module = random_model(config)
    peer = twin(module)
    batch = inputs(config, [seq, seq // 3], seq)
    masked = (batch["input_ids"] % 5 == 0) & batch["attention_mask"].bool()
    labels = torch.where(masked, batch["input_ids"], -100)
    extra = {"token_type_ids": batch["token_type_ids"]} if name == "bert" else {}
    out = peer(batch["input_ids"], attention_mask=batch["attention_mask"], **extra)
    theirs = out.prediction_logits if config.pair_head else out.logits
    torch.nn.functional.cross_entropy(theirs.flatten(0, 1), labels.flatten()).backward()

    chosen = (labels.flatten() >= 0).nonzero().flatten()
    pattern = AttentionPattern.from_attention_mask(batch["attention_mask"])
    hidden = module(batch["input_ids"], torch.arange(seq).expand(2, seq), batch["token_type_ids"], pattern)
    logits = module.predict(hidden.flatten(0, 1)[chosen])
    torch.nn.functional.cross_entropy(logits, labels.flatten()[chosen]).backward()

    expected = dict(peer.named_parameters())
    for ours, several in module.hf_names().items():
        gradient = module.get_parameter(ours).grad
        if ours.startswith(("pooler", "pair_classifier")):
            assert gradient is None
            continue
        assert gradient is not None
        for theirs_name, piece in zip(several, gradient.chunk(len(several)), strict=True):
            want = expected[theirs_name].grad
            assert want is not None
            if theirs_name == peer_word_table(peer):
                # transformers keeps the row of [PAD] from learning; the model of 2018 does not.
                want[config.pad_id] = piece[config.pad_id] = 0
            torch.testing.assert_close(piece, want, atol=2e-6, rtol=1e-4)


def peer_word_table(peer: transformers.PreTrainedModel) -> str:
    return next(name for name, parameter in peer.named_parameters() if parameter is peer.get_input_embeddings().weight)


@pytest.mark.parametrize("name", ["bert", "modern"])
def test_bf16_strays_no_further_from_fp32_than_transformers_does(name: str) -> None:
    config = MODELS[name]
    module = random_model(config)
    peer = twin(module)
    batch = inputs(config, [190, 190], 190)
    positions, pattern = torch.arange(190).expand(2, 190), AttentionPattern.from_attention_mask(batch["attention_mask"])
    extra = {"token_type_ids": batch["token_type_ids"]} if name == "bert" else {}

    def ours() -> torch.Tensor:
        return module.predict(module(batch["input_ids"], positions, batch["token_type_ids"], pattern)).detach().float()

    def theirs() -> torch.Tensor:
        out = peer(batch["input_ids"], attention_mask=batch["attention_mask"], **extra)
        return (out.prediction_logits if config.pair_head else out.logits).detach().float()

    exact = ours()
    with torch.autocast("cpu", torch.bfloat16):
        our_error, their_error = (ours() - exact).norm(), (theirs() - exact).norm()
    peer.bfloat16()
    in_bf16 = (theirs() - exact).norm()
    # bert keeps its states in bf16 between the layers, modern the sum of them in fp32.
    assert 0 < our_error < (in_bf16 if name == "bert" else 1.25 * their_error)
