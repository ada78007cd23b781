"""A model folder that every tool of the field opens, checked before anyone sees it."""

from __future__ import annotations

import glob
import shutil
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from maskling.errors import ModelError
from maskling.export.cards import CardFacts, ModelFacts, TaskFacts, environment, render_card, render_task_card
from maskling.export.sentence_transformers import write_pooling
from maskling.export.verify import answers, check_same_logits, encoded_probe, probe_task_logits
from maskling.files import ASIDE, atomic_folder, write_json
from maskling.model.config import BertConfig, ModelConfig
from maskling.model.folder import SAFETENSORS, build_encoder, read_folder, write_safetensors, write_weights
from maskling.model.hf_config import to_hugging_face
from maskling.model.masked_lm import MaskedLM
from maskling.model.sentence_transformers import read_pooling
from maskling.model.tasks.config import Pooling
from maskling.model.tasks.folder import read_task_folder, write_task_weights
from maskling.model.tasks.model import TaskModel
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.version import __version__

# FOLDED DOCS
# [task_folder] A folder of a model for a task that every tool of the field opens, checked before anyone sees it.
# [sentence_encoder] A folder of an encoder that was trained to give vectors, checked before anyone sees it.
# [place] Where a model may be written: nothing else may be lost.


def export_model(module: MaskedLM, tokenizer: Tokenizer, out: Path, facts: CardFacts, card: str | None = None) -> None:
    """Write config.json, model.safetensors, the tokenizer's files, README.md and what SentenceTransformer needs.

    card: the text of README.md, if it is not to be made from `facts`.

    The folder takes the place of `out` as a whole, and only after it was read back: the logits of a fixed batch must
    be those of `module`, and the tokenizer's fingerprint its own. Raises ModelError where they are not; then `out`
    is as it was before.
    """
    clear_partial(out)
    config = module.config
    longest = min(facts.seq_length or config.max_positions, config.max_positions)
    with atomic_folder(out) as aside:
        write_weights(module, aside)
        save_tokenizer(tokenizer, config, aside, longest)
        write_pooling(aside, config.hidden_size, longest)
        text = render_card(facts, model_facts(module, tokenizer)) if card is None else card
        (aside / "README.md").write_text(text, encoding="utf-8")
        _check_model(module, tokenizer, aside, out)


def clear_partial(out: Path) -> None:
    """Delete what an export to `out` that was killed has left beside it."""
    for left in out.parent.glob(f"{glob.escape(out.name)}.*{ASIDE}"):
        shutil.rmtree(left, ignore_errors=True)


def save_tokenizer(tokenizer: Tokenizer, config: ModelConfig, folder: Path, longest: int) -> None:
    """Write the files of a tokenizer for a model. longest: the most tokens of a sequence."""
    # ModernBERT and RoBERTa have no use for token types; a tokenizer that sent them would break their calls.
    tokenizer.save(folder, longest, token_types=has_token_types(config))


def has_token_types(config: ModelConfig) -> bool:
    """Whether a model is given token_type_ids by other tools."""
    return isinstance(config, BertConfig) and config.family == "bert"


def model_facts(module: MaskedLM, tokenizer: Tokenizer) -> ModelFacts:
    """What a card says of the model itself."""
    config = module.config
    return ModelFacts(
        architecture=family_name(config),
        num_parameters=sum(parameter.numel() for parameter in module.parameters()),
        num_layers=config.num_layers,
        hidden_size=config.hidden_size,
        vocab_size=tokenizer.vocab_size,
        mask_token=tokenizer.mask_token,
        # ModernBertForMaskedLM has no place for a pair head; only maskling reads the one that it has.
        has_pair_head=config.pair_head and isinstance(config, BertConfig),
        version=__version__,
    )


def family_name(config: ModelConfig) -> str:
    """The family of a model as people write it."""
    names = {"bert": "BERT", "roberta": "RoBERTa", "xlm-roberta": "XLM-RoBERTa", "camembert": "CamemBERT"}
    return names[config.family] if isinstance(config, BertConfig) else "ModernBERT"


def _check_model(module: MaskedLM, tokenizer: Tokenizer, aside: Path, out: Path) -> None:
    loaded = read_folder(aside)
    if loaded.missing:
        raise ModelError(f"{out} was not written: read back, the model lacked {', '.join(loaded.missing)}")
    check_same_logits(answers(module), answers(loaded.module.to(next(module.parameters()).device)), str(out))
    check_tokenizer(tokenizer, aside, out)


def check_tokenizer(tokenizer: Tokenizer, aside: Path, out: Path) -> None:
    """Raise ModelError if the tokenizer in `aside`, which is to become `out`, is another one."""
    found = Tokenizer.load(aside).fingerprint
    if found != tokenizer.fingerprint:
        raise ModelError(
            f"{out} was not written: read back, its tokenizer is {found} and not {tokenizer.fingerprint}; this is a "
            f"fault of maskling, and what stood there before was kept"
        )


def export_task_model(
    model: TaskModel, tokenizer: Tokenizer, out: Path, facts: TaskFacts, card: str | None = None
) -> None:
    """Write config.json, model.safetensors, the tokenizer's files and README.md.

    card: the text of README.md, if it is not to be made from `facts`.

    The folder takes the place of `out` as a whole, and only after it was read back: the logits of a fixed batch and
    the label of each must be those of `model`, and the tokenizer's fingerprint its own. Raises ModelError where they
    are not; then `out` is as it was before.
    """
    clear_partial(out)
    config = model.config
    with atomic_folder(out) as aside:
        write_task_weights(model, aside)
        save_tokenizer(tokenizer, config, aside, min(facts.seq_length or config.max_positions, config.max_positions))
        text = render_task_card(facts, model, family_name(config)) if card is None else card
        (aside / "README.md").write_text(text, encoding="utf-8")
        _check_task_model(model, tokenizer, aside, out)


def _check_task_model(model: TaskModel, tokenizer: Tokenizer, aside: Path, out: Path) -> None:
    loaded = read_task_folder(aside)
    if loaded is None or loaded.head_config.labels != model.head_config.labels:
        raise ModelError(f"{out} was not written: read back, its labels were others; this is a fault of maskling")
    check_same_logits(probe_task_logits(model), probe_task_logits(loaded.to(next(model.parameters()).device)), str(out))
    check_tokenizer(tokenizer, aside, out)


# By the form of the training text: what the card says was learnt from it.
TRAINED_ON: Final = {
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

    module: without heads. config: what is written, as training may have had another dropout. form: see TRAINED_ON;
    None where that is not known. normalized: whether SentenceTransformer is to scale vectors to length 1. card: the
    text of README.md, if it is not to be made from `facts`.
    The folder takes the place of `out` as a whole, and only after it was read back: the states of a fixed batch must
    be those of `module`, the pooling and the tokenizer its own. Raises ModelError where they are not; then `out` is as
    it was before.
    """
    clear_partial(out)
    longest = min(facts.seq_length or config.max_positions, config.max_positions)
    with atomic_folder(out) as aside:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.to_hugging_face().items()}
        write_safetensors(weights, aside / SAFETENSORS)
        write_json(aside / "config.json", encoder_config_json(config))
        save_tokenizer(tokenizer, config, aside, longest)
        write_pooling(aside, config.hidden_size, longest, pooling, normalized)
        template = environment().get_template("sentence_card.md.jinja")
        made = template.render(
            facts=facts,
            family=family_name(config),
            config=config,
            pooling=pooling,
            learnt=TRAINED_ON[form] if form else None,
            normalized=normalized,
            num_parameters=module.num_parameters(),
            version=__version__,
        )
        (aside / "README.md").write_text(made if card is None else card, encoding="utf-8")
        _check_encoder(module, tokenizer, pooling, aside, out)


def encoder_config_json(config: ModelConfig) -> dict[str, Any]:
    """The config.json of an encoder without heads: the class that transformers opens it with is the bare model."""
    tree = to_hugging_face(config)
    name = str(tree["architectures"][0]).removesuffix("ForMaskedLM").removesuffix("ForPreTraining")
    return tree | {"architectures": [f"{name}Model"]}


def _check_encoder(module: MaskedLM, tokenizer: Tokenizer, pooling: Pooling, aside: Path, out: Path) -> None:
    loaded = build_encoder(aside, seed=0).to(next(module.parameters()).device)
    check_same_logits(_states(module), _states(loaded), str(out))
    if read_pooling(aside) != pooling:
        raise ModelError(f"{out} was not written: read back, its pooling was another; this is a fault of maskling")
    check_tokenizer(tokenizer, aside, out)


@torch.no_grad()
def _states(module: MaskedLM) -> dict[str, Tensor]:
    with encoded_probe(module) as probe:
        return {"encoder": probe.hidden[:, probe.places].cpu()}


# What a model folder may hold besides tokenizer files, for a new one to take its place.
_OURS = {
    *("config.json", "README.md", "modules.json", "1_Pooling", "2_Normalize", "LICENSE", ".gitattributes"),
    *("generation_config.json", "onnx", "onnx.old"),
}
_SUFFIXES = (".safetensors", ".bin", ".index.json")


def check_export_folder(source: Path, out: Path) -> None:
    """Raises ModelError unless `out` is free, or a model folder without graphs and not where the model comes from."""
    refuse_foreign_files(source, out)
    graph = next(iter(sorted((out / "onnx").rglob("*.onnx*"))), None)
    if graph is not None:
        raise ModelError(
            f"{out} holds {graph.relative_to(out).as_posix()}, which would be lost; give another folder with --out "
            f"(for both in one, write the weights first: '--format onnx' adds a graph to them)"
        )


def refuse_foreign_files(source: Path, out: Path) -> None:
    """Raises ModelError unless `out` is free, or a model folder and not where the model comes from."""
    if out.resolve() in (source.resolve(), *source.resolve().parents):
        raise ModelError(f"{out} is where the model comes from; give another folder with --out")
    if not out.is_dir():
        if out.exists():
            raise ModelError(f"{out} is a file; give a folder with --out")
        return
    names = sorted((path.name for path in out.iterdir()), key=lambda name: (name.startswith("."), name))
    others = [name for name in names if not (name in _OURS or name.endswith(_SUFFIXES) or _of_tokenizer(name))]
    others = [name for name in others if not (name.startswith("onnx.") and name.endswith(ASIDE))]
    if others or (names and "config.json" not in names):
        raise ModelError(f"{out} holds other things than a model ({(others or names)[0]}); give a new or empty folder")


def _of_tokenizer(name: str) -> bool:
    return name.startswith(("tokenizer", "vocab", "merges", "special_tokens", "added_tokens", "sentence_bert_config"))
