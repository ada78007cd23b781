"""What a model says of many records, the work shared among ranks."""

from __future__ import annotations

import numpy as np
import torch

from maskling.finetune.kinds.kind import Encoded, Kind, Logits
from maskling.infer.judge import TaskJudge
from maskling.model.device import Compute
from maskling.model.tasks.model import TaskModel
from maskling.train.world import World


def judged(
    kind: Kind, module: TaskModel, compute: Compute, world: World, encoded: Encoded, pad: int, batch_tokens: int
) -> Logits:
    """The logits of all windows on every rank, each of which ran a part of them. The module's mode is put back."""
    mine = np.arange(world.rank, len(encoded.windows), world.size)
    logits = torch.zeros(kind.size(encoded), len(module.head_config.labels))
    was_training = module.training
    module.eval()
    try:
        if len(mine):
            windows, more, places = kind.part(encoded, mine)
            found = kind.logits(TaskJudge(module, compute, pad), windows, more, batch_tokens)
            logits[torch.from_numpy(places)] = torch.from_numpy(found)
    finally:
        module.train(was_training)
    everything: Logits = world.sum(logits.to(world.device)).cpu().numpy()
    return everything
