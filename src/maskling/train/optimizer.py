"""Optimizers: assignment of parameters to updates, and their state as named tensors.

As in BERT, weight decay applies to everything with two dimensions, embeddings included, not to biases and norm gains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from maskling.config import Settings, strategies_by_kind
from maskling.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module, Parameter
    from torch.optim import Optimizer as TorchOptimizer

# torch's Adam divides by 1 - beta ** step. From this step on both divisors are 1 in float32 and float64,
# and the counter, a float32, can still count 6.7 million steps exactly.
_NO_BIAS_CORRECTION_FROM = 10_000_000


class OptimizerSettings(Settings, ABC):
    """Base class of optimizer settings: those of AdamW, which every optimizer uses at least for vectors and biases."""

    # Moments per weight in a matrix of a layer; every other weight has two.
    hidden_moments: ClassVar[int] = 2

    kind: str
    lr: float = Field(1e-3, gt=0, description="peak learning rate; the schedule multiplies it")
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the running mean of gradients")
    beta2: float = Field(0.98, ge=0, lt=1, description="decay of the running mean of squared gradients")
    eps: float = Field(1e-6, gt=0, description="added to the square root in the denominator")
    weight_decay: float = Field(
        0.01,
        ge=0,
        description="decoupled weight decay: fraction of each weight, times the learning rate, subtracted per step",
    )

    @abstractmethod
    def build(self, module: Module, scales: Mapping[str, float] | None = None) -> Optimizer:
        """Build the optimizer of the module's parameters, except those that need no gradient.

        scales: factors of the learning rate by the name of a parameter; 1 where there is none.
        """


class AdamW(OptimizerSettings):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), in torch's fused kernel."""

    kind: Literal["adamw"] = "adamw"

    def build(self, module: Module, scales: Mapping[str, float] | None = None) -> Optimizer:
        """Build the optimizer of the module's parameters."""
        return Optimizer(module, [_adamw(self, _trained(module), scales)])


class Bert2018(OptimizerSettings):
    """BERT's own AdamWeightDecayOptimizer: AdamW without the bias correction of Adam.

    Early steps are therefore larger than Adam's, up to (1 - beta1) / sqrt(1 - beta2) = 3.2 times; BERT relied on
    10,000 steps of warm-up.
    """

    kind: Literal["bert2018"] = "bert2018"
    lr: float = Field(1e-4, gt=0, description="peak learning rate; the schedule multiplies it")
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the running mean of gradients")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the running mean of squared gradients")

    def build(self, module: Module, scales: Mapping[str, float] | None = None) -> Optimizer:
        """Build the optimizer of the module's parameters."""
        import torch

        adam = _adamw(self, _trained(module), scales)
        for group in adam.param_groups:
            for parameter in group["params"]:
                adam.state[parameter] = {
                    "step": torch.tensor(float(_NO_BIAS_CORRECTION_FROM), device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        return Optimizer(module, [adam])


class Muon(OptimizerSettings):
    """Muon for the matrices between embeddings and head, AdamW for everything else (Jordan et al. 2024).

    Updates are scaled to the root mean square of Adam's (Liu et al. 2025, "Muon is scalable", section 2.2), so one
    learning rate serves both.
    """

    hidden_moments: ClassVar[int] = 1

    kind: Literal["muon"] = "muon"
    momentum: float = Field(0.95, ge=0, lt=1, description="momentum of Muon")
    iterations: int = Field(5, ge=1, description="Newton-Schulz iterations")

    def build(self, module: Module, scales: Mapping[str, float] | None = None) -> Optimizer:
        """Build the optimizer of the module's parameters."""
        from torch.optim import Muon as TorchMuon

        trained = _trained(module)
        hidden = {name: parameter for name, parameter in hidden_matrices(module).items() if name in trained}
        rest = {name: parameter for name, parameter in trained.items() if name not in hidden}
        parts: list[TorchOptimizer] = [_adamw(self, rest, scales)]
        if hidden:
            parts.append(
                TorchMuon(
                    [
                        {"params": list(some.values()), "lr": self.lr * scale}
                        for scale, some in _by_scale(hidden, scales).items()
                    ],
                    lr=self.lr,
                    weight_decay=self.weight_decay,
                    momentum=self.momentum,
                    ns_steps=self.iterations,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
        return Optimizer(module, parts)


OPTIMIZERS: dict[str, type[OptimizerSettings]] = strategies_by_kind(AdamW, Bert2018, Muon)


class Optimizer:
    """One or more torch optimizers stepped together, with state by the names of the parameters."""

    def __init__(self, module: Module, parts: list[TorchOptimizer]) -> None:
        self._parts = parts
        self._names = {id(parameter): name for name, parameter in _trained(module).items()}
        self._highest = [[float(group["lr"]) for group in part.param_groups] for part in parts]

    def step(self, factor: float) -> None:
        """Take a step at `factor` times the peak learning rate."""
        for part, highest in zip(self._parts, self._highest, strict=True):
            for group, lr in zip(part.param_groups, highest, strict=True):
                group["lr"] = lr * factor
            part.step()

    def zero_grad(self) -> None:
        """Clear the gradients of the step before."""
        for part in self._parts:
            part.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Return its state: 'PARAMETER|NAME' -> tensor."""
        return {
            f"{self._names[id(parameter)]}|{what}": value
            for part, parameter in self._parameters()
            for what, value in part.state[parameter].items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned. Raises CheckpointError if it is of other parameters."""
        import torch

        by_name: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, _, what = key.partition("|")
            by_name.setdefault(name, {})[what] = value
        names = set(self._names.values())
        if by_name and (by_name.keys() != names):
            odd = sorted(by_name.keys() ^ names)
            raise CheckpointError(
                f"the optimizer's state and the model disagree about {len(odd)} parameters, {odd[0]} among them; "
                f"the checkpoint is of another model or optimizer"
            )
        for part, parameter in self._parameters():
            found = by_name.get(self._names[id(parameter)], {})
            for what, value in found.items():
                if value.numel() != 1 and value.shape != parameter.shape:
                    raise CheckpointError(
                        f"the optimizer's state '{self._names[id(parameter)]}|{what}' has shape {list(value.shape)}, "
                        f"but the weight has {list(parameter.shape)}; the checkpoint is of another model or damaged"
                    )
            part.state[parameter] = {
                what: value.clone() if what == "step" else _put(value, parameter) for what, value in found.items()
            }
            step = part.state[parameter].get("step")
            if isinstance(step, torch.Tensor):
                part.state[parameter]["step"] = step.to(parameter.device)

    def _parameters(self) -> Iterator[tuple[TorchOptimizer, Parameter]]:
        for part in self._parts:
            for group in part.param_groups:
                for parameter in group["params"]:
                    yield part, parameter


def _put(value: Tensor, parameter: Parameter) -> Tensor:
    """Copy a moment to the device of its parameter, sharded if that is sharded."""
    from maskling.train.fsdp import is_sharded, shard_like

    whole = value.to(parameter.device, parameter.dtype, copy=True)
    return shard_like(whole, parameter) if is_sharded(parameter) else whole


def hidden_matrices(module: Module) -> dict[str, Parameter]:
    """Return the matrices of the layers between the embeddings and the head, by name."""
    from torch import nn

    inside = [
        f"{name}."
        for name, child in module.named_modules()
        if isinstance(child, nn.ModuleList)  # the stack of layers; head, pooler and embeddings are outside it
    ]
    return {
        name: parameter
        for name, parameter in module.named_parameters()
        if parameter.ndim == 2 and any(name.startswith(prefix) for prefix in inside)
    }


def _trained(module: Module) -> dict[str, Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def _by_scale(
    parameters: Mapping[str, Parameter], scales: Mapping[str, float] | None
) -> dict[float, dict[str, Parameter]]:
    """Return the parameters by the factor of their learning rate."""
    found: dict[float, dict[str, Parameter]] = {}
    for name, parameter in parameters.items():
        found.setdefault((scales or {}).get(name, 1.0), {})[name] = parameter
    return found


def _adamw(
    settings: OptimizerSettings, parameters: Mapping[str, Parameter], scales: Mapping[str, float] | None
) -> TorchOptimizer:
    import torch

    groups: list[dict[str, Any]] = []
    for scale, some in _by_scale(parameters, scales).items():
        for decay, chosen in (
            (settings.weight_decay, [p for p in some.values() if p.ndim >= 2]),
            (0.0, [p for p in some.values() if p.ndim < 2]),
        ):
            groups.append({"params": chosen, "weight_decay": decay, "lr": settings.lr * scale})
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        fused=True,
    )
