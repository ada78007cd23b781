"""One optimizer step: reports of losses and gradients that are not finite, clipping, compilation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from maskling.errors import NumericsError, SettingsError
from maskling.model.device import pick_device
from maskling.train import memory_fit
from maskling.train.distributed import Ranks
from maskling.train.engine import Engine, compile_encoder
from maskling.train.optimizer import Optimizer
from maskling.train.pretrain import open_pretraining_data
from maskling.train.recipe import Recipe
from maskling.train.step import take_step
from maskling.train.task import StepBatches
from toy_runs import Make


def ready(recipe: Recipe) -> tuple[Engine, StepBatches]:
    """Return the engine of a recipe, and the batches of its third step."""
    data = open_pretraining_data(recipe, verify=False)
    recipe = data.complete_recipe(recipe, None)
    task = data.build_task(recipe, Ranks())
    module = task.first_module()
    engine = Engine(task, module, recipe.optimizer.build(module), pick_device("cpu", "fp32"), Ranks(), module)
    return engine, task.batch_builder(Ranks())(2)


def spoiling(engine: Engine, micro: int, spoil: Callable[[torch.Tensor], torch.Tensor], each: int) -> Engine:
    """Return the engine with an encoder that spoils its output for one micro-batch of every `each`."""
    calls = iter(range(10_000))

    def encode(*args: object) -> torch.Tensor:
        hidden = engine.module(*args)
        return spoil(hidden) if next(calls) % each == micro else hidden

    return replace(engine, forward=encode)


def to_nan(hidden: torch.Tensor) -> torch.Tensor:
    return hidden * math.nan


class _NanGradient(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, grad):
        return grad * math.inf


def test_a_loss_that_is_no_number_is_named_by_step_micro_batch_and_examples(recipe_of: Make):
    engine, batches = ready(recipe_of())
    assert len(batches.batches) == 2
    numbers = ", ".join(str(number) for number in batches.examples_of(1)[:8])
    with pytest.raises(
        NumericsError, match=rf"step 3: the loss .*micro-batch 2 of 2, examples {numbers}.*optimizer.lr"
    ):
        take_step(spoiling(engine, 1, to_nan, 2), batches, 1.0)


def test_a_gradient_that_is_no_number_is_traced_to_its_micro_batch(recipe_of: Make):
    engine, batches = ready(recipe_of({"system.micro_batch_tokens": 64}))
    assert len(batches.batches) == 4
    calls: list[int] = []

    def encode(input_ids: torch.Tensor, *args: object) -> torch.Tensor:
        # By what it is, not by when it comes: the search runs micro-batches again.
        calls.append(1)
        hidden = engine.module(input_ids, *args)
        bad = torch.equal(input_ids, torch.from_numpy(batches.batches[2].input_ids))
        return _NanGradient.apply(hidden) if bad else hidden

    broken = replace(engine, forward=encode)
    with pytest.raises(NumericsError, match=r"step 3: the gradient .*micro-batch 3 of 4"):
        take_step(broken, batches, 1.0)


def test_a_skipped_step_moves_nothing_and_says_so(recipe_of: Make):
    engine, batches = ready(recipe_of({"train.on_nonfinite": "skip"}))
    before = [parameter.detach().clone() for parameter in engine.module.parameters()]
    taken = take_step(spoiling(engine, 0, to_nan, 2), batches, 1.0)
    assert "micro-batch 1 of 2" in taken.problem
    assert "left out" in taken.problem
    assert all(torch.equal(one, other) for one, other in zip(before, engine.module.parameters(), strict=True))
    assert engine.optimizer.state() == {}
    assert take_step(engine, batches, 1.0).problem is None


def test_weights_that_are_no_numbers_stop_the_run_even_where_steps_may_be_skipped(recipe_of: Make):
    engine, batches = ready(recipe_of({"train.on_nonfinite": "skip"}))
    with torch.no_grad():
        next(engine.module.parameters()).view(-1)[0] = math.nan
    with pytest.raises(NumericsError, match="1 weights are not finite"):
        take_step(engine, batches, 1.0)


class Looking(Optimizer):
    """Keeps the norm of the gradient."""

    def step(self, factor: float) -> None:  # noqa: ARG002
        grads = [parameter.grad for _, parameter in self._parameters() if parameter.grad is not None]
        self.norm = math.sqrt(sum(float(grad.square().sum()) for grad in grads))


def test_a_long_gradient_is_clipped_and_none_leaves_it(recipe_of: Make):
    for clip, expected in ((1e-3, 1e-3), (None, None)):
        engine, batches = ready(recipe_of({"train.clip": clip if clip else "none"}))
        optimizer = Looking(engine.module, [torch.optim.SGD(engine.module.parameters(), lr=0.1)])
        taken = take_step(replace(engine, optimizer=optimizer), batches, 1.0)
        assert optimizer.norm == pytest.approx(expected or taken.gradient_norm, rel=1e-3)
        assert taken.gradient_norm > 0.01


def test_the_same_step_is_the_same_work(recipe_of: Make):
    one, other = ready(recipe_of())[1], ready(recipe_of())[1]
    assert (one.batches[0].input_ids == other.batches[0].input_ids).all()
    assert (one.example_ids == other.example_ids).all()


@pytest.mark.slow
# torch's compiler looks at a gradient that is not there, and warns itself of it.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_compiled_encoder_takes_the_same_steps(recipe_of: Make):
    losses = []
    for compile_it in (False, True):
        engine, batches = ready(recipe_of())
        encode = compile_encoder(engine.module) if compile_it else engine.forward
        losses.append([take_step(replace(engine, forward=encode), batches, 1.0).loss for _ in range(2)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_an_encoder_that_cannot_be_compiled_is_refused_with_the_remedy(recipe_of: Make, monkeypatch):
    engine, batches = ready(recipe_of())

    def compile_(_: object) -> object:
        def fail(*inputs: object) -> None:
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")

        return fail

    monkeypatch.setattr(torch, "compile", compile_)
    with pytest.raises(SettingsError, match=r"system.compile: .*No working C\+\+ compiler"):
        take_step(replace(engine, forward=compile_encoder(engine.module)), batches, 1.0)


def test_a_device_without_room_is_no_missing_compiler(recipe_of: Make, monkeypatch):
    engine, batches = ready(recipe_of())

    def compile_(_: object) -> object:
        def fail(*inputs: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        return fail

    monkeypatch.setattr(torch, "compile", compile_)
    with pytest.raises(torch.OutOfMemoryError):
        take_step(replace(engine, forward=compile_encoder(engine.module)), batches, 1.0)


def test_compiling_is_chosen_only_where_there_is_a_c_compiler(monkeypatch):
    import torch.utils._triton

    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.utils._triton, "has_triton", lambda: True)
    monkeypatch.setattr(memory_fit.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(memory_fit.Path, "is_file", lambda _: True)
    assert memory_fit.can_compile(gpu)
    assert not memory_fit.can_compile(torch.device("cpu"))
    monkeypatch.setattr(memory_fit.shutil, "which", lambda _: None)
    assert not memory_fit.can_compile(gpu)
