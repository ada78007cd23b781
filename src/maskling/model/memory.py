"""How much memory training takes, counted from the shape alone, before anything is allocated.

The activations are those that autograd keeps: for every layer and token they were counted one by one, and a test
counts them again. What an allocator wastes is not in it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from maskling.model.config import BertConfig, ModelConfig

# Python, torch and what else a training process imports, with the kernels that oneDNN compiles: by measurement.
PROCESS_BYTES = 340 << 20
# What blocks of many sizes leave unused between them, of what comes and goes in every step: by measurement.
_WASTE = 0.1
# Scores of the vocabulary in fp32 that are there at once; more predictions are scored in pieces. 32 rows of 512 tokens
# at 30 % masks over 30,000 tokens would be 590 MB, and their gradients as much again.
LOGITS_BYTES = 256 << 20


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes by what they are for.

    process: code and libraries. weights: fp32, and once more in bf16 while a micro-batch is worked on. moments: of the
    optimizer. gradients. activations: what one micro-batch leaves for its backward pass. workspace: what the operations
    of one layer need beside. head: the scores of the vocabulary. evaluation: those of an evaluation, which finds no
    room where they were. snapshot: the copy of weights and moments that is written while training goes on.
    """

    process: int
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
        """All at once, as in the step after an evaluation and a checkpoint."""
        return sum(getattr(self, part.name) for part in fields(self))


def training_memory(
    config: ModelConfig,
    *,
    rows: int,
    seq: int,
    number_bytes: int,
    mask_rate: float = 0.15,
    hidden_moments: int = 2,
    ranks: int = 1,
    gpu: bool = False,
    bmm: bool = True,
    forgets: bool = False,
    process_bytes: int = PROCESS_BYTES,
) -> TrainingMemory:
    """What training takes with micro-batches of `rows` rows of `seq` tokens.

    number_bytes: of what matrix products use, 2 in bf16 and 4 in fp32. hidden_moments: fp32 numbers that the optimizer
    keeps for a weight in a matrix of a layer; for others it keeps two. ranks: over which moments and gradients are
    spread in pieces; weights too, but now and then each rank has them whole. gpu: where the copy that is written lies
    elsewhere, the head has no way of its own, and attention with dropout has a kernel. bmm: whether attention keeps its
    matrix, see `attention.kernel_name`. forgets: whether layers keep their input alone, see `recompute`.
    """
    vocab, width, tokens = config.vocab_size, config.hidden_size, rows * seq
    kept = 4 * num_parameters(config)
    multiplied = config.layer_parameters * config.num_layers
    a_token = activation_bytes(config, seq, number_bytes, bmm=bmm, gpu=gpu) + mask_bytes(config, seq, number_bytes)
    if forgets:
        a_token = a_token / config.num_layers + config.num_layers * config.hidden_size * number_bytes
    inner = config.intermediate_size * (1 if isinstance(config, BertConfig) else 2)
    widest = max(config.num_heads * seq if bmm else 0, inner)
    predictions = mask_rate * tokens
    scores = vocab * min(predictions, LOGITS_BYTES / (4 * vocab))
    # In bf16 on a CPU the scores overwrite themselves; else there are scores, their softmax and its gradient, in fp32.
    a_score = 2 if number_bytes == 2 and not gpu else 12 + (4 if number_bytes == 2 else 0)
    head = scores * a_score + vocab * width * (4 + number_bytes)
    # Scores, the same in fp32, their softmax, and which are better than the right one.
    judged = vocab * min(predictions, LOGITS_BYTES / (8 * vocab)) * (11 if number_bytes == 2 else 9)
    moments = 2 * kept - (2 - hidden_moments) * 4 * multiplied
    return TrainingMemory(
        process=process_bytes,
        weights=kept + (multiplied * 2 if number_bytes == 2 else 0),
        moments=moments // ranks,
        gradients=kept // ranks,
        activations=round((1 + _WASTE) * tokens * a_token),
        workspace=4 * tokens * widest * number_bytes,
        head=round(head),
        evaluation=round(judged),
        snapshot=kept + moments if not gpu else 0,
    )


def num_parameters(config: ModelConfig) -> int:
    """Number of weights, tied ones once, from the shape alone."""
    width, vocab = config.hidden_size, config.vocab_size
    layers = config.num_layers * (config.layer_parameters + _layer_extras(config))
    pair = width * width + width + 2 * width + 2 if config.pair_head else 0
    if isinstance(config, BertConfig):
        tables = vocab + config.max_positions + config.position_offset + config.type_vocab_size
        return tables * width + 2 * width + layers + width * width + width + 2 * width + vocab + pair
    # The first layer has no norm before its attention.
    return vocab * width + width + layers - width + width + width * width + width + vocab + pair


def activation_bytes(config: ModelConfig, seq: int, number_bytes: int, *, bmm: bool, gpu: bool = False) -> float:
    """What autograd keeps for one token of a row of `seq` tokens, the head and the masks left out."""
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
        # The running sum stays in fp32.
        layer = number_bytes * (6 * width + 4 * inner) + 8 * width + 16
        layer += number_bytes * ((width if weights_dropped else 0) + (inner if dropped else 0))
        thetas = 1 if config.global_every == 1 else len({config.global_rope_theta, config.local_rope_theta})
        rest = 4 * width + 16 + thetas * 4 * number_bytes * config.head_size
        rest += number_bytes * width if dropped else 0
    return config.num_layers * (layer + attention) + rest


def mask_bytes(config: ModelConfig, seq: int, number_bytes: int) -> float:
    """What says who sees whom, for one token: a mask for all layers of a kind, and the same as numbers to add."""
    kinds = 1 if isinstance(config, BertConfig) or config.global_every == 1 else 2
    return kinds * seq * (1 + number_bytes)


def _layer_extras(config: ModelConfig) -> int:
    """Biases and norms of one layer."""
    width = config.hidden_size
    return 9 * width + config.intermediate_size if isinstance(config, BertConfig) else 2 * width
