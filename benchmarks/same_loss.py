"""Loss equivalence: the training losses of maskling's fast path vs. transformers' model on the same examples.

    python benchmarks/same_loss.py [--text FOLDER ...] [--size mini] [--steps 300]

Four runs from the same weights over the same examples with the same masks: `maskling train` in bf16 and in fp32, as it
is (packed rows, its own kernels, the head at masked tokens only), and BertForMaskedLM in fp32 and under bf16 autocast,
one example per padded row, the head at every token, its own attention, torch's AdamW. The first should deviate from
the third no more than the fourth does.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import FOLDER, parser_of, prepared, report
from models import SIZES, maskling_config, recipe_model, transformers_config


def main() -> None:
    parser = parser_of(__doc__, "--text", "--quick", "--json")
    parser.add_argument("--size", choices=SIZES, default="mini")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rows", type=int, default=16, help="rows of 128 tokens per step")
    options = parser.parse_args()
    if options.quick:
        options.size, options.steps, options.rows = "tiny", 3, 4
    recipe = the_recipe(prepared(options.text), options.size, options.steps, options.rows)
    losses = {
        "maskling bf16": ours(recipe, "bf16"),
        "maskling fp32": ours(recipe, "fp32"),
        "transformers fp32": list(theirs(recipe, autocast=False)),
        "transformers bf16": list(theirs(recipe, autocast=True)),
    }
    plain = losses["transformers fp32"]
    rows: list[dict[str, Any]] = []
    for step in sorted({1, options.steps, *range(50, options.steps, 50)}):
        rows.append({"step": step} | {name: f"{curve[step - 1]:.4f}" for name, curve in losses.items()})
    report("same_loss_curves", rows, None)
    strays: list[dict[str, Any]] = []
    for name, curve in losses.items():
        apart = [abs(one - other) for one, other in zip(curve, plain, strict=True)]
        strays.append(
            {
                "run": name,
                "mean apart": f"{sum(apart) / len(apart):.1e}",
                "most": f"{max(apart):.1e}",
                "first": f"{apart[0]:.1e}",
            }
        )
    report("same_loss", strays, options.json)


def the_recipe(data: Path, size: str, steps: int, rows: int) -> Any:
    from maskling.config import Layer
    from maskling.train.recipe import read_recipe

    tree = {
        "preset": "bert-mini",
        "data": {"path": str(data), "seq_length": 128},
        "model": recipe_model(maskling_config(size)),
        "pairing": {"kind": "single"},
        "masking": {"kind": "token"},
        "packing": {"kind": "best-fit"},
        "optimizer": {"kind": "adamw", "lr": 1e-3},
        "schedule": {"kind": "linear", "warmup": 0.1},
        "train": {"steps": steps, "batch_size": rows, "evaluate_every": steps},
    }
    return read_recipe([Layer("benchmark", tree)]).settings


def ours(recipe: Any, dtype: str) -> list[float]:
    """Return the loss of each step of a run."""
    from maskling.train.events import Step
    from maskling.train.pretrain import pretrain

    run = FOLDER / f"same-loss-{dtype}"
    shutil.rmtree(run, ignore_errors=True)
    recipe = recipe.model_copy(update={"system": recipe.system.model_copy(update={"dtype": dtype})})
    return [event.loss for event in pretrain(recipe, run) if isinstance(event, Step)]


def theirs(recipe: Any, autocast: bool) -> Iterator[float]:
    """Return the loss of each step of a plain loop over the same examples."""
    import torch
    from transformers import BertForMaskedLM

    from maskling.train.distributed import Ranks
    from maskling.train.prepared_data import PreparedData
    from maskling.train.pretrain import open_pretraining_data

    material = PreparedData.open(Path(recipe.data.path))
    text = open_pretraining_data(recipe, verify=False)
    recipe = text.complete_recipe(recipe, None)
    # With an id of [PAD], the embedding row of that id would not be trained.
    peer = BertForMaskedLM(transformers_config(recipe.model, pad_token_id=None))
    peer.load_state_dict(text.build_task(recipe, Ranks()).first_module().to_hugging_face(), strict=False)
    peer.tie_weights()
    matrices = [weight for weight in peer.parameters() if weight.ndim > 1]
    vectors = [weight for weight in peer.parameters() if weight.ndim < 2]
    own = recipe.optimizer
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": own.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=own.lr,
        betas=(own.beta1, own.beta2),
        eps=own.eps,
    )
    examples = material.examples(recipe)
    for step in range(recipe.train.steps):
        ids, mask, labels = padded(examples.step(step, recipe.train.batch_size, recipe.masking.rate))
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = peer(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), recipe.train.clip)
        for group in optimizer.param_groups:
            group["lr"] = own.lr * recipe.schedule.at(step, recipe.train.steps)
        optimizer.step()
        optimizer.zero_grad()
        yield float(loss.detach())


def padded(step: Any) -> tuple[Any, Any, Any]:
    """Return input_ids, attention_mask and labels of a step: (examples, longest) int64, one example per padded row."""
    import numpy as np
    import torch

    (batch,) = step.batches(step.num_rows)
    flat = np.full(batch.input_ids.size, -100)
    flat[batch.masked_positions] = batch.labels
    wanted = flat.reshape(batch.input_ids.shape)
    rows = []
    for first in batch.first_positions.tolist():
        row, column = divmod(first, batch.seq)
        here = batch.example_ids[row] == batch.example_ids[row, column]
        rows.append((batch.input_ids[row, here], wanted[row, here]))
    longest = max(len(ids) for ids, _ in rows)
    ids, labels = np.zeros((len(rows), longest), np.int64), np.full((len(rows), longest), -100)
    for place, (some, labelled) in enumerate(rows):
        ids[place, : len(some)], labels[place, : len(some)] = some, labelled
    real = np.arange(longest) < np.array([len(some) for some, _ in rows])[:, None]
    return torch.from_numpy(ids), torch.from_numpy(real.astype(np.int64)), torch.from_numpy(labels)


if __name__ == "__main__":
    main()
