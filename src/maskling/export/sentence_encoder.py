"""A folder of an encoder that was trained to give vectors, checked before anyone sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from maskling import __version__
from maskling.errors import ModelError
from maskling.export.card import environment
from maskling.export.folder import check_tokenizer, clear_partial, family_name, save_tokenizer
from maskling.export.probe import check_same, probing
from maskling.export.sentence_transformers import own_pooling, write_pooling
from maskling.export.task_card import TaskFacts
from maskling.files import folder_written_aside, write_json
from maskling.model.config import ModelConfig
from maskling.model.encoder import build_encoder
from maskling.model.folder import SAFETENSORS, write_safetensors
from maskling.model.hugging_face import to_hugging_face
from maskling.model.masked_lm import MaskedLM
from maskling.model.tasks.config import Pooling
from maskling.tokenizer.tokenizer import Tokenizer

# By the form of the training text: what the card says was learnt from it.
LEARNT: Final = {
    "scored": "pairs of texts with a score of how alike they are (CoSENT, Su 2022)",
    "pairs": "pairs of texts that belong together, against all others of a step (InfoNCE, van den Oord et al. 2018)",
    "texts": "plain text, each piece paired with itself under another dropout (SimCSE, Gao et al. 2021)",
}


def export_sentence_encoder(
    module: MaskedLM,
    config: ModelConfig,
    tokenizer: Tokenizer,
    out: Path,
    facts: TaskFacts,
    pooling: Pooling,
    form: str | None,
    normalized: bool = False,
    card: str | None = None,
) -> None:
    """Write config.json, model.safetensors, the tokenizer's files, what SentenceTransformer needs, and README.md.

    module: without heads. config: what is written, as training may have had another dropout. form: see LEARNT;
    None where that is not known. normalized: whether SentenceTransformer is to scale vectors to length 1. card: the
    text of README.md, if it is not to be made from `facts`.
    The folder takes the place of `out` as a whole, and only after it was read back: the states of a fixed batch must
    be those of `module`, the pooling and the tokenizer its own. Raises ModelError where they are not; then `out` is as
    it was before.
    """
    clear_partial(out)
    longest = min(facts.seq_length or config.max_positions, config.max_positions)
    with folder_written_aside(out) as aside:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.to_hugging_face().items()}
        write_safetensors(weights, aside / SAFETENSORS)
        write_json(aside / "config.json", encoder_tree(config))
        save_tokenizer(tokenizer, config, aside, longest)
        write_pooling(aside, config.hidden_size, longest, pooling, normalized)
        template = environment().get_template("sentence_card.md.jinja")
        made = template.render(
            facts=facts,
            family=family_name(config),
            config=config,
            pooling=pooling,
            learnt=LEARNT[form] if form else None,
            normalized=normalized,
            num_parameters=module.num_parameters(),
            version=__version__,
        )
        (aside / "README.md").write_text(made if card is None else card, encoding="utf-8")
        _check_encoder(module, tokenizer, pooling, aside, out)


def encoder_tree(config: ModelConfig) -> dict[str, Any]:
    """The config.json of an encoder without heads: the class that transformers opens it with is the bare model."""
    tree = to_hugging_face(config)
    name = str(tree["architectures"][0]).removesuffix("ForMaskedLM").removesuffix("ForPreTraining")
    return tree | {"architectures": [f"{name}Model"]}


def _check_encoder(module: MaskedLM, tokenizer: Tokenizer, pooling: Pooling, aside: Path, out: Path) -> None:
    loaded = build_encoder(aside, seed=0).to(next(module.parameters()).device)
    check_same(_states(module), _states(loaded), str(out))
    if own_pooling(aside) != pooling:
        raise ModelError(f"{out} was not written: read back, its pooling was another; this is a fault of maskling")
    check_tokenizer(tokenizer, aside, out)


@torch.no_grad()
def _states(module: MaskedLM) -> dict[str, Tensor]:
    with probing(module) as probe:
        return {"encoder": probe.hidden[:, probe.places].cpu()}
