"""The compiler of torch takes an encoder in one piece: breaks would cost a GPU most of what compiling gives."""

from __future__ import annotations

import pytest
import torch

from maskling.model.activation_checkpointing import enable_activation_checkpointing
from maskling.model.attention import AttentionPattern
from maskling.model.build import build_masked_lm
from maskling.model.config import BertConfig, ModelConfig, ModernConfig

SHAPE = {"vocab_size": 61, "hidden_size": 32, "num_layers": 3, "num_heads": 2, "intermediate_size": 48}
EXAMPLES = torch.tensor([[0] * 9 + [1] * 3, [0] * 8 + [-1] * 4])


@pytest.mark.parametrize(
    "config",
    [
        BertConfig.model_validate(SHAPE | {"dropout": 0.0, "attention_dropout": 0.0}),
        ModernConfig.model_validate(SHAPE | {"local_window": 4, "global_every": 3}),
    ],
    ids=["bert", "modern"],
)
@pytest.mark.parametrize("forgets", [False, True], ids=["kept", "recomputed"])
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_the_encoder_is_one_graph(config: ModelConfig, forgets: bool) -> None:
    module = build_masked_lm(config, 0).train()
    if forgets:
        enable_activation_checkpointing(module)
    ids = torch.arange(24).view(2, 12) % 61
    whole = torch.compile(module.forward, fullgraph=True, backend="aot_eager")
    found = []
    for forward in (module.forward, whole):
        module.zero_grad()
        hidden = forward(ids, torch.arange(12).expand(2, 12), ids % 2, AttentionPattern.from_example_ids(EXAMPLES))
        hidden.square().sum().backward()
        found.append((hidden, module.layers[0].up.weight.grad.clone()))
    torch.testing.assert_close(found[1], found[0])
