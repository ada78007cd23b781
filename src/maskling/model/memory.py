"""Estimate of the peak memory of training, from the configuration alone, before anything is allocated.

Activations are what autograd keeps for the backward pass, counted per layer and token; a test counts them again. The
rest (the process, oneDNN's kernels, allocator waste) are constants that were measured.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from maskling.model.config import BertConfig, ModelConfig

# Python, torch and the other imports of a training process, measured.
PROCESS_BYTES = 340 << 20
# Fragmentation: the fraction of memory allocated and freed in every step that blocks of many sizes leave unused between
# them, measured.
_WASTE = 0.1
# oneDNN, which multiplies bf16 on a CPU, compiles kernels for each shape of a product and caches them: about 3.5 MB
# each (700 MB for some 200 numbers of predictions, docs/journal.md, 2026-11-24), for some 60 shapes per run: the
# forward and backward products of the layers, of attention, of the head and of evaluation. Counting tensors alone,
# modern-mini took 290 MB more than estimated on AMX, at an estimate of 833 MB and of 1.04 GB alike. (In fp32 on AVX2 it
# is 1 MB per shape, but torch's fp32 products run in MKL, which compiles none.)
_KERNEL_BYTES = 200 << 20
# Memory of fp32 logits at once; more predictions are scored in chunks. 32 rows of 512 tokens with 30 % masked over a
# vocabulary of 30,000 tokens would take 590 MB, and their gradients as much again.
LOGITS_BYTES = 256 << 20


@dataclass(frozen=True)
class TrainingMemory:
    """Estimated memory of one rank in bytes, by purpose.

    process: code and libraries. kernels: compiled by oneDNN for bf16 on a CPU. weights: fp32, and those of layers once
    more in bf16, which autocast caches during a micro-batch. moments: optimizer state. gradients. activations: kept by
    one micro-batch for its backward pass. workspace: temporaries of one layer. head: logits and their gradients.
    evaluation: logits of an evaluation, which does not fit into the memory that training freed. snapshot: the copy of
    weights and moments that is written as a checkpoint while training continues.
    """

    process: int
    kernels: int
    weights: int
    moments: int
    gradients: int
    activations: int
    workspace: int
    head: int
    evaluation: int
    snapshot: int

    @property
    def total(self) -> int:
        """Peak memory: everything at once, as in the step after an evaluation and a checkpoint."""
        return sum(getattr(self, part.name) for part in fields(self))


def training_memory(
    config: ModelConfig,
    *,
    rows: int,
    seq: int,
    dtype_bytes: int,
    mask_rate: float = 0.15,
    hidden_moments: int = 2,
    ranks: int = 1,
    gpu: bool = False,
    bmm: bool = True,
    activation_checkpointing: bool = False,
    onednn: bool = False,
    process_bytes: int = PROCESS_BYTES,
    trained_parameters: int | None = None,
) -> TrainingMemory:
    """Estimate the memory of training with micro-batches of `rows` rows of `seq` tokens.

    dtype_bytes: bytes per element in matrix products, 2 in bf16 and 4 in fp32. hidden_moments: fp32 values that the
    optimizer keeps per weight in a matrix of a layer; for other weights it keeps two. ranks: number of ranks over which
    FSDP shards moments and gradients; weights too, but at times each rank has all of them. gpu: the snapshot is then in
    other memory, the head has no kernel of its own, and attention with dropout has a fused one. bmm: whether attention
    keeps its matrix, see `attention.kernel_name`. activation_checkpointing: whether only the inputs of layers are kept,
    see `maskling.model.activation_checkpointing`. onednn: whether oneDNN computes the products, see
    `device.has_onednn_bf16`. trained_parameters: only these have gradients and moments; default: all.
    """
    vocab, width, tokens = config.vocab_size, config.hidden_size, rows * seq
    weights = 4 * num_parameters(config)
    in_matrices = config.layer_parameters * config.num_layers
    per_token = activation_bytes(config, seq, dtype_bytes, bmm=bmm, gpu=gpu) + mask_bytes(config, seq, dtype_bytes)
    if activation_checkpointing:
        per_token = per_token / config.num_layers + config.num_layers * config.hidden_size * dtype_bytes
    inner = config.intermediate_size * (1 if isinstance(config, BertConfig) else 2)
    widest = max(config.num_heads * seq if bmm else 0, inner)
    predictions = mask_rate * tokens
    logits = vocab * min(predictions, LOGITS_BYTES / (4 * vocab))
    # In bf16 on a CPU the gradient overwrites the logits; else there are logits, softmax and gradient, in fp32.
    logit_bytes = 2 if dtype_bytes == 2 and not gpu else 12 + (4 if dtype_bytes == 2 else 0)
    head = logits * logit_bytes + vocab * width * (4 + dtype_bytes)
    # Logits, the same in fp32, their softmax, and which are higher than the label's.
    evaluation = vocab * min(predictions, LOGITS_BYTES / (8 * vocab)) * (11 if dtype_bytes == 2 else 9)
    moments = 2 * weights - (2 - hidden_moments) * 4 * in_matrices
    gradients = weights
    if trained_parameters is not None:
        gradients, moments = 4 * trained_parameters, 8 * trained_parameters
    return TrainingMemory(
        process=process_bytes,
        kernels=_KERNEL_BYTES if onednn else 0,
        weights=weights + (in_matrices * 2 if dtype_bytes == 2 else 0),
        moments=moments // ranks,
        gradients=gradients // ranks,
        activations=round((1 + _WASTE) * tokens * per_token),
        workspace=4 * tokens * widest * dtype_bytes,
        head=round(head),
        evaluation=round(evaluation),
        snapshot=weights + moments if not gpu else 0,
    )


def num_parameters(config: ModelConfig) -> int:
    """Return the number of weights, from the configuration alone; tied weights count once."""
    width, vocab = config.hidden_size, config.vocab_size
    layers = config.num_layers * (config.layer_parameters + _layer_extras(config))
    pair = width * width + width + 2 * width + 2 if config.pair_head else 0
    if isinstance(config, BertConfig):
        tables = vocab + config.max_positions + config.position_offset + config.type_vocab_size
        return tables * width + 2 * width + layers + width * width + width + 2 * width + vocab + pair
    # The first layer has no norm before its attention.
    return vocab * width + width + layers - width + width + width * width + width + vocab + pair


def activation_bytes(config: ModelConfig, seq: int, number_bytes: int, *, bmm: bool, gpu: bool = False) -> float:
    """Return the bytes that autograd keeps per token of rows of `seq` tokens, without the head and attention masks."""
    width, inner, heads = config.hidden_size, config.intermediate_size, config.num_heads
    dropped, weights_dropped = config.dropout > 0, config.attention_dropout > 0
    if bmm:
        attention = number_bytes * heads * seq * (2 if weights_dropped else 1)
    elif weights_dropped and not gpu:
        # With dropout torch has no fused kernel on a CPU: three matrices in fp32, and its inputs in fp32 too.
        attention = 12 * heads * seq + (12 - 3 * number_bytes) * width
    else:
        attention = number_bytes * width + 4 * heads
    if isinstance(config, BertConfig):
        layer = number_bytes * (8 * width + 2 * inner + (2 * width if dropped else 0)) + 16
        rest = 4 * width + 32 + (number_bytes * width if dropped else 0)
    else:
        # The residual stream stays in fp32.
        layer = number_bytes * (6 * width + 4 * inner) + 8 * width + 16
        layer += number_bytes * ((width if weights_dropped else 0) + (inner if dropped else 0))
        thetas = 1 if config.global_every == 1 else len({config.global_rope_theta, config.local_rope_theta})
        rest = 4 * width + 16 + thetas * 4 * number_bytes * config.head_size
        rest += number_bytes * width if dropped else 0
    return config.num_layers * (layer + attention) + rest


def mask_bytes(config: ModelConfig, seq: int, number_bytes: int) -> float:
    """Return the bytes of attention masks per token: for each kind of layer a bool mask and an additive bias."""
    kinds = 1 if isinstance(config, BertConfig) or config.global_every == 1 else 2
    return kinds * seq * (1 + number_bytes)


def _layer_extras(config: ModelConfig) -> int:
    """Return the number of biases and norm weights of one layer."""
    width = config.hidden_size
    return 9 * width + config.intermediate_size if isinstance(config, BertConfig) else 2 * width
