"""An encoder with the head of a task."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from maskling.model.attention import Visible
from maskling.model.building import Undrawn, build
from maskling.model.config import ModelConfig, ModernConfig
from maskling.model.masked_lm import MaskedLM
from maskling.model.named import Named
from maskling.model.tasks.config import HeadConfig
from maskling.model.tasks.heads import make_head
from maskling.randomness import integer


class TaskModel(Named):
    """An encoder, which has given up its masked-token head, and a head over its last states.

    As with MaskedLM the two are apart: call the model for the states, then `classify`, `tag` or `answer` for what is
    needed of them.
    """

    def __init__(self, encoder: MaskedLM, head_config: HeadConfig) -> None:
        """encoder: sheds its own heads here. The weights of the new head are not drawn: see `initialize`."""
        super().__init__()
        encoder.shed_heads()
        self.encoder = encoder
        self.head_config = head_config
        with Undrawn():
            self.head = make_head(encoder.config, head_config)

    @property
    def config(self) -> ModelConfig:
        """The encoder's."""
        return self.encoder.config

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        token_type_ids: Tensor | None,
        visible: Visible,
        states: list[Tensor] | None = None,
    ) -> Tensor:
        """Encode rows of tokens, see MaskedLM. Returns (rows, seq, hidden)."""
        hidden: Tensor = self.encoder(input_ids, position_ids, token_type_ids, visible, states)
        return hidden

    def classify(self, hidden: Tensor, first_positions: Tensor, visible: Visible) -> Tensor:
        """Judge examples, whatever else stands in their rows; for classify, multi-label and regress.

        hidden: (rows, seq, hidden); first_positions: (k,) int64, flat places of the [CLS] of every example, ascending;
        visible: of the same batch. Returns (k, labels) logits.
        """
        if isinstance(self.config, ModernConfig) and self.head_config.pooling == "mean":
            vectors = means(hidden, first_positions, visible)
        else:
            vectors = hidden.flatten(0, 1).index_select(0, first_positions)
        logits: Tensor = self.head(vectors)
        return logits

    def tag(self, hidden: Tensor, token_positions: Tensor) -> Tensor:
        """Judge tokens. token_positions: (n,) int64, flat places in (rows, seq). Returns (n, labels) logits."""
        logits: Tensor = self.head(hidden.flatten(0, 1).index_select(0, token_positions))
        return logits

    def answer(self, hidden: Tensor) -> Tensor:
        """Judge where answers start and end: (rows, seq, 2) logits, to be compared over the tokens of one example."""
        logits: Tensor = self.head(hidden)
        return logits

    def initialize(self, generator: Generator) -> None:
        """Draw the head; the encoder stays as it is."""
        self.head.initialize(generator)

    def names(self) -> dict[str, tuple[str, ...]]:
        """See Named."""
        encoder = {f"encoder.{ours}": theirs for ours, theirs in self.encoder.names().items()}
        return encoder | {f"head.{ours}": (theirs,) for ours, theirs in self.head.names().items()}

    def canonical(self, name: str) -> str | None:
        """See Named."""
        return self.encoder.canonical(name)


def new_task_model(config: ModelConfig, head_config: HeadConfig, seed: int) -> TaskModel:
    """A task model on the CPU in fp32 that has learned nothing.

    The encoder is drawn from (seed, 'weights') as pretraining starts it, the head from (seed, 'head').
    Raises ModelError if the vocabulary size is not filled in.
    """
    model = TaskModel(build(config.model_copy(update={"pair_head": False}), seed), head_config)
    model.initialize(head_generator(seed))
    return model


def head_generator(seed: int) -> Generator:
    """What draws the weights of a new head: the same whatever the encoder and where it comes from."""
    return torch.Generator().manual_seed(integer(seed, "head"))


def means(hidden: Tensor, first_positions: Tensor, visible: Visible) -> Tensor:
    """The mean of the vectors of each example, padding left out. See `TaskModel.classify`. Returns (k, hidden).

    A product with a matrix of shares, since adding up by index comes out in another order each time on a GPU.
    """
    ids = visible.example_ids
    most = visible.most()
    share = (ids[:, None, :] == torch.arange(most, device=ids.device)[None, :, None]).to(hidden.dtype)
    vectors = (share @ hidden) / share.sum(-1).clamp_min(1)[..., None]
    # By their places, which are known: to look for those that are there would wait for the device.
    numbers = ids.flatten().index_select(0, first_positions).long()
    return vectors.flatten(0, 1).index_select(0, first_positions // visible.seq * most + numbers)
