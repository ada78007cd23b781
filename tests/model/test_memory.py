"""The estimate of training memory against what autograd and the optimizer keep, and against the peak of real runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from maskling.config import Layer, resolve
from maskling.data.prepare.prepare import prepare
from maskling.data.prepare.settings import PrepareSettings
from maskling.model.attention import AttentionPattern, kernel_name
from maskling.model.build import build_masked_lm
from maskling.model.config import BertConfig, ModelConfig, ModernConfig
from maskling.model.device import Precision, pick_device
from maskling.model.memory import activation_bytes, num_parameters, training_memory
from maskling.train.optimizer import OPTIMIZERS

SIZES = {"vocab_size": 103, "hidden_size": 40, "num_heads": 4}
SHAPES = [
    BertConfig(**SIZES, num_layers=3, intermediate_size=136, max_positions=700),
    BertConfig(**SIZES, num_layers=2, intermediate_size=88, max_positions=700, dropout=0.1, attention_dropout=0.1),
    ModernConfig(**SIZES, num_layers=4, intermediate_size=56),
    ModernConfig(**SIZES, num_layers=2, intermediate_size=56, dropout=0.1, attention_dropout=0.1, global_every=1),
]


def kept_for_backward(config: ModelConfig, rows: int, seq: int, dtype: Precision) -> int:
    """Bytes that autograd keeps after a forward pass; weights, their casts and masks left out."""
    module = build_masked_lm(config, 0).train()
    weights = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    shapes = {tuple(parameter.shape) for parameter in module.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        known = tuple(tensor.shape) in shapes or tuple(reversed(tensor.shape)) in shapes
        mask = tensor.shape[-2:] == (seq, seq) and tensor.shape[1] == 1
        if tensor.untyped_storage().data_ptr() not in weights and not known and not mask:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    example_ids = torch.arange(seq).expand(rows, seq) // (seq // 2 + 1)
    pattern = AttentionPattern.from_example_ids(example_ids)
    ids, positions = torch.ones(rows, seq, dtype=torch.int64), torch.arange(seq).expand(rows, seq)
    with pick_device("cpu", dtype).autocast(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(ids, positions, torch.zeros_like(ids), pattern)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("config", SHAPES, ids=["bert", "bert-dropout", "modern", "modern-dropout"])
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize(("rows", "seq"), [(5, 64), (2, 640)])
def test_activations_are_what_autograd_keeps(config: ModelConfig, dtype: Precision, rows: int, seq: int) -> None:
    bmm = kernel_name(torch.device("cpu"), seq) == "bmm"
    expected = rows * seq * activation_bytes(config, seq, 2 if dtype == "bf16" else 4, bmm=bmm)
    assert kept_for_backward(config, rows, seq, dtype) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("pair_head", [False, True])
@pytest.mark.parametrize("config", SHAPES[::2], ids=["bert", "modern"])
def test_weights_are_counted_from_the_shape(config: ModelConfig, pair_head: bool) -> None:
    config = config.model_copy(update={"pair_head": pair_head})
    assert num_parameters(config) == build_masked_lm(config, 0).num_parameters()


def test_logits_are_bounded_and_everything_is_in_the_total() -> None:
    config = BertConfig(vocab_size=30_000)
    few, many = (training_memory(config, rows=rows, seq=128, dtype_bytes=4) for rows in (64, 6400))
    assert many.activations == pytest.approx(100 * few.activations)
    assert many.head < 4 * (256 << 20)
    assert many.evaluation < 2 * (256 << 20)
    assert few.total == sum(vars(few).values())


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("config", SHAPES[::2], ids=["bert", "modern"])
def test_moments_are_what_the_optimizer_keeps(config: ModelConfig, kind: str) -> None:
    strategy = OPTIMIZERS[kind]()
    module = build_masked_lm(config, 0)
    optimizer = strategy.build(module)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(1.0)
    kept = sum(4 * value.numel() for name, value in optimizer.state().items() if value.numel() > 1)
    hidden = strategy.hidden_moments
    said = training_memory(config, rows=1, seq=8, dtype_bytes=4, hidden_moments=hidden)
    assert said.moments == kept
    assert said.snapshot == kept + 4 * num_parameters(config)


def test_pieces_are_counted_once_over_all_ranks_and_a_copy_elsewhere_not_at_all() -> None:
    config = BertConfig(vocab_size=30_000)
    one, four = (training_memory(config, rows=8, seq=128, dtype_bytes=2, ranks=ranks) for ranks in (1, 4))
    assert (four.moments, four.gradients) == (one.moments // 4, one.gradients // 4)
    assert four.weights == one.weights
    assert training_memory(config, rows=8, seq=128, dtype_bytes=2, gpu=True).snapshot == 0


def test_a_gpu_keeps_no_matrix_of_attention_for_dropout_and_has_scores_in_fp32() -> None:
    config = BertConfig(vocab_size=30_000, attention_dropout=0.1)
    cpu, gpu = (training_memory(config, rows=8, seq=512, dtype_bytes=2, bmm=False, gpu=on) for on in (False, True))
    assert gpu.activations < 0.6 * cpu.activations
    matrix = 30_000 * config.hidden_size * (4 + 2)  # its gradient, and a copy in bf16
    assert gpu.head - matrix == 8 * (cpu.head - matrix)


TOLERANCE = 0.15


def test_kernels_count_where_onednn_multiplies() -> None:
    config = BertConfig(vocab_size=30_000)
    with_, without = (training_memory(config, rows=8, seq=128, dtype_bytes=2, onednn=on) for on in (True, False))
    assert with_.total - without.total == with_.kernels == 200 << 20


@pytest.fixture(scope="module")
def prepared_text(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder of English with 8,000 pieces."""
    out = tmp_path_factory.mktemp("text") / "data"
    source = str(shared_data / "english" / "speeches.jsonl.gz")
    settings = resolve(PrepareSettings, [Layer("test", {"tokenizer": {"vocab_size": 8000}})]).settings
    for _ in prepare([source], out, settings):
        pass
    return out


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "settings",
    [
        {"preset": "modern-mini", "seq": 128, "rows": 32},
        {"preset": "bert-small", "seq": 128, "rows": 32},
        {"preset": "modern-small", "seq": 512, "rows": 16},
    ],
    ids=["modern-mini", "bert-small", "modern-small-512"],
)
def test_the_peak_memory_of_a_run_is_the_estimate(settings: dict[str, object], dtype: str, prepared_text: Path) -> None:
    if dtype == "fp32" and settings["preset"] == "modern-small":
        pytest.skip("the longest of all, and the same code as the smaller two")
    script = Path(__file__).with_name("peak_memory.py")
    tree = settings | {"system": {"dtype": dtype}}
    command = [sys.executable, str(script), str(prepared_text), json.dumps(tree)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["expected"] == pytest.approx(found["peak"], rel=TOLERANCE)
    assert found["reported"] == pytest.approx(found["peak"], rel=0.01)
