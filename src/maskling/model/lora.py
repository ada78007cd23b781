"""Low-rank adaptation (LoRA, Hu et al. 2021): frozen linear layers with trained matrices of low rank beside them.

Names and calculation are PEFT's: a layer called X there has lora_A, (rank, in), and lora_B, (out, rank), and adds
alpha / rank * B A dropout(x) to its output. Query, key and value of BERT are one matrix here, and three layers there.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from maskling.errors import SettingsError, suggestion
from maskling.model.build import SkipInit
from maskling.model.layers import drop
from maskling.model.masked_lm import HFWeights, MaskedLM
from maskling.model.tasks.model import TaskModel
from maskling.randomness import integer

ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class Lora:
    """Settings of an adaptation.

    targets: ends of the names of layers, as in PEFT, or ALL_LINEAR alone; default: the projections of attention's
    queries and values, which ModernBERT has in one matrix with the keys. frozen_layers: lowest layers without any.
    """

    rank: int
    alpha: float
    dropout: float = 0.0
    targets: tuple[str, ...] | None = None
    frozen_layers: int = 0


class LoraLinear(nn.Linear):
    """Frozen linear layer with LoRA matrices for some of the layers that are stacked in its rows.

    weight and bias keep their names, so that the layer is loaded and saved like the one it replaces.
    """

    def __init__(self, linear: nn.Linear, names: Sequence[str], adapted: Sequence[str], lora: Lora) -> None:
        """Take over the weights of `linear`. names: of the stacked layers; adapted: those among them to adapt."""
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.names, self.scale, self.dropout = tuple(names), lora.alpha / lora.rank, lora.dropout
        rows = self.out_features // len(names)
        self.lora_A = nn.ParameterDict({_key(name): torch.empty(lora.rank, self.in_features) for name in adapted})
        self.lora_B = nn.ParameterDict({_key(name): torch.zeros(rows, lora.rank) for name in adapted})

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer. x: (..., in_features). Returns (..., out_features)."""
        out = F.linear(x, self.weight, self.bias)
        pieces = list(out.chunk(len(self.names), dim=-1))
        for index, name in enumerate(self.names):
            if _key(name) in self.lora_A:
                low = F.linear(drop(x, self.dropout, self.training), self.lora_A[_key(name)])
                pieces[index] = pieces[index] + F.linear(low, self.lora_B[_key(name)]) * self.scale
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-1)

    @property
    def adapted(self) -> list[str]:
        """The stacked layers that have matrices."""
        return [name for name in self.names if _key(name) in self.lora_A]

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """Draw A as PEFT does, from a uniform distribution; B is 0, so that the layer begins as the one it replaces."""
        bound = 1 / math.sqrt(self.in_features)
        for matrix in self.lora_A.values():
            matrix.uniform_(-bound, bound, generator=generator)
        for matrix in self.lora_B.values():
            matrix.zero_()

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return the layer with the matrices added to its weight."""
        weight = self.weight.detach().clone()
        for name, piece in zip(self.names, weight.chunk(len(self.names)), strict=True):
            if _key(name) in self.lora_A:
                piece += self.scale * (self.lora_B[_key(name)] @ self.lora_A[_key(name)])
        with SkipInit():
            linear = nn.Linear(self.in_features, self.out_features, bias=False)
        linear.weight, linear.bias = nn.Parameter(weight, requires_grad=False), self.bias
        return linear

    def matrices(self) -> dict[str, Tensor]:
        """Return the matrices under their names in an adapter file, without its prefix: 'X.lora_A.weight'."""
        return {
            f"{name}.{kind}.weight": matrices[_key(name)].detach()
            for kind, matrices in (("lora_A", self.lora_A), ("lora_B", self.lora_B))
            for name in self.names
            if _key(name) in matrices
        }


def add_lora(module: MaskedLM | TaskModel, lora: Lora, seed: int) -> None:
    """Freeze the encoder in `module`, and replace its target layers by LoraLinear, in place; the head stays trained.

    The matrices are drawn from (seed, 'lora'). Raises SettingsError for a target that no layer has, or if there is no
    layer left.
    """
    encoder = module.encoder if isinstance(module, TaskModel) else module
    layers = _linear_layers(encoder)
    targets = lora.targets or default_targets(encoder)
    known = sorted({name.rpartition(".")[2] for names in layers.values() for name in names})
    for target in targets if targets != (ALL_LINEAR,) else ():
        if not any(_hits(name, (target,)) for names in layers.values() for name in names):
            raise SettingsError(
                f"lora.targets: no layer of the encoder is called '{target}'{suggestion(target, known)}; there are "
                f"{', '.join(known)}, and {ALL_LINEAR} for all of them"
            )
    encoder.requires_grad_(False)
    generator = torch.Generator().manual_seed(integer(seed, "lora"))
    adapted_layers = 0
    for path, names in layers.items():
        adapted = [name for name in names if _hits(name, targets)]
        if adapted and int(path.split(".")[1]) >= lora.frozen_layers:
            replaced = LoraLinear(encoder.get_submodule(path), names, adapted, lora)  # type: ignore[arg-type]
            replaced.initialize(generator)
            encoder.set_submodule(path, replaced)
            adapted_layers += 1
    if not adapted_layers:
        raise SettingsError("encoder.frozen_layers leaves no layer for LoRA to adapt; lower it, or leave out lora.rank")


def default_targets(encoder: MaskedLM) -> tuple[str, ...]:
    """Return the layers that LoRA adapts by default: those of PEFT for BERT, and their like in ModernBERT."""
    names = {name.rpartition(".")[2] for several in _linear_layers(encoder).values() for name in several}
    return ("query", "value") if "query" in names else ("Wqkv",)


def adapted_targets(module: MaskedLM | TaskModel, lora: Lora) -> list[str]:
    """Return target_modules of adapter_config.json: ends of names if these fit no other layer, else whole names."""
    encoder = module.encoder if isinstance(module, TaskModel) else module
    names = sorted(name for layer in lora_layers(encoder).values() for name in layer.adapted)
    ends = lora.targets or default_targets(encoder)
    if ends == (ALL_LINEAR,):
        ends = tuple(sorted({_key(name) for name in names}))
    # An encoder without a head has a pooler in transformers' BertModel, and none here.
    others = [] if isinstance(module, TaskModel) else ["pooler.dense"]
    every = [*others, *(name for several in _linear_layers(encoder).values() for name in several)]
    hit = sorted(name for name in every if _hits(name, ends))
    return list(ends) if hit == names else names


def lora_layers(module: nn.Module) -> dict[str, LoraLinear]:
    """Return the adapted layers by their paths in the module."""
    return {path: layer for path, layer in module.named_modules() if isinstance(layer, LoraLinear)}


@contextlib.contextmanager
def merged_lora(module: nn.Module) -> Iterator[None]:
    """Context in which the adapted layers of `module` are plain linear layers with the merged weights."""
    adapted = lora_layers(module)
    for path, layer in adapted.items():
        module.set_submodule(path, layer.merged())
    try:
        yield
    finally:
        for path, layer in adapted.items():
            module.set_submodule(path, layer)


def _linear_layers(encoder: HFWeights) -> dict[str, tuple[str, ...]]:
    """Return the linear layers of the encoder's stack, with the names in transformers of what each consists of."""
    return {
        ours.removesuffix(".weight"): tuple(name.removesuffix(".weight") for name in several)
        for ours, several in encoder.hf_names().items()
        if ours.startswith("layers.")
        and ours.endswith(".weight")
        and isinstance(encoder.get_submodule(ours.removesuffix(".weight")), nn.Linear)
    }


def _hits(name: str, targets: Sequence[str]) -> bool:
    return tuple(targets) == (ALL_LINEAR,) or any(name == target or name.endswith(f".{target}") for target in targets)


def _key(name: str) -> str:
    """Return the last part of a layer's name; the names of parameters cannot have dots."""
    return name.rpartition(".")[2]
