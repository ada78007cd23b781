"""Write model folders that transformers and Sentence-Transformers load, each verified before it replaces `out`.

`export_model` writes a masked language model, `export_task_model` a task model, `export_sentence_encoder` an encoder of
sentence embeddings. Weights go to model.safetensors through `maskling.model.folder.write_safetensors`.
"""

from __future__ import annotations

import glob
import shutil
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from maskling.errors import ModelError
from maskling.exporting.card_metadata import with_metadata
from maskling.exporting.cards import (
    CardFacts,
    ModelFacts,
    TaskFacts,
    environment,
    measured_task,
    render_card,
    render_task_card,
)
from maskling.exporting.verify import check_same_logits, encoded_probe, finite_logits, probe_logits, probe_task_logits
from maskling.files import ASIDE, atomic_folder, write_json
from maskling.model.config import BertConfig, ModelConfig
from maskling.model.folder import SAFETENSORS, build_encoder, read_folder, write_safetensors, write_weights
from maskling.model.hf_config import to_hugging_face
from maskling.model.masked_lm import MaskedLM
from maskling.model.sentence_transformers import MODULES, POOLING, SIMILARITY, TRANSFORMER, read_pooling
from maskling.model.tasks.config import Pooling
from maskling.model.tasks.folder import read_task_folder, write_task_weights
from maskling.model.tasks.model import TaskModel
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.version import __version__

# What the card says that an encoder was trained on, by the form of its training text.
TRAINED_ON: Final = {
    "scored": "pairs of texts with a similarity score (CoSENT, Su 2022)",
    "pairs": "positive pairs of texts with in-batch negatives (InfoNCE, van den Oord et al. 2018)",
    "texts": "plain texts, each paired with itself under another dropout mask (SimCSE, Gao et al. 2021)",
}

# Names, besides tokenizer files, that a folder may have for an export to replace it.
_OURS = {
    *("config.json", "README.md", "modules.json", "1_Pooling", "2_Normalize", "LICENSE", ".gitattributes"),
    *("generation_config.json", "onnx", "onnx.old"),
}
_SUFFIXES = (".safetensors", ".bin", ".index.json")


def export_model(
    module: MaskedLM,
    tokenizer: Tokenizer,
    out: Path,
    facts: CardFacts,
    card: str | None = None,
    pooling: Pooling = "mean",
    normalized: bool = False,
) -> None:
    """Write config.json, model.safetensors, the tokenizer's files, README.md and the files of Sentence-Transformers.

    card: the text of README.md; default: rendered from `facts`. pooling, normalized: see `write_pooling`.

    The folder replaces `out` as a whole, and only after it was read back: the logits of a fixed batch must equal those
    of `module`, and the tokenizer's fingerprint must be the same. Raises ModelError otherwise; `out` is then unchanged.
    """
    clear_partial(out)
    config = module.config
    longest = min(facts.seq_length or config.max_positions, config.max_positions)
    with atomic_folder(out) as aside:
        write_weights(module, aside)
        save_tokenizer(tokenizer, config, aside, longest)
        write_pooling(aside, config.hidden_size, longest, pooling, normalized)
        text = render_card(facts, model_facts(module, tokenizer)) if card is None else card
        (aside / "README.md").write_text(text, encoding="utf-8")
        _check_model(module, tokenizer, aside, out)


def clear_partial(out: Path) -> None:
    """Delete the temporary folders that a killed export to `out` left beside it."""
    for leftover in out.parent.glob(f"{glob.escape(out.name)}.*{ASIDE}"):
        shutil.rmtree(leftover, ignore_errors=True)


def save_tokenizer(tokenizer: Tokenizer, config: ModelConfig, folder: Path, longest: int) -> None:
    """Write the tokenizer's files for a model. longest: the maximum sequence length in tokens."""
    # ModernBERT and RoBERTa take no token types; a tokenizer that returned them would break their calls.
    tokenizer.save(folder, longest, token_types=has_token_types(config))


def has_token_types(config: ModelConfig) -> bool:
    """Return whether other tools pass token_type_ids to the model."""
    return isinstance(config, BertConfig) and config.family == "bert"


def model_facts(module: MaskedLM, tokenizer: Tokenizer) -> ModelFacts:
    """Return the facts about the model itself for its card."""
    config = module.config
    return ModelFacts(
        architecture=family_name(config),
        num_parameters=sum(parameter.numel() for parameter in module.parameters()),
        num_layers=config.num_layers,
        hidden_size=config.hidden_size,
        vocab_size=tokenizer.vocab_size,
        mask_token=tokenizer.mask_token,
        # ModernBertForMaskedLM has no pair head; only maskling reads the one of a ModernBERT folder.
        has_pair_head=config.pair_head and isinstance(config, BertConfig),
        version=__version__,
    )


def family_name(config: ModelConfig) -> str:
    """Return the display name of the model's family."""
    names = {"bert": "BERT", "roberta": "RoBERTa", "xlm-roberta": "XLM-RoBERTa", "camembert": "CamemBERT"}
    return names[config.family] if isinstance(config, BertConfig) else "ModernBERT"


def _check_model(module: MaskedLM, tokenizer: Tokenizer, aside: Path, out: Path) -> None:
    expected = finite_logits(probe_logits(module), str(out))
    loaded = read_folder(aside)
    if loaded.missing:
        raise ModelError(f"{out} was not written: read back, the model lacked {', '.join(loaded.missing)}")
    check_same_logits(expected, probe_logits(loaded.module.to(next(module.parameters()).device)), str(out))
    check_tokenizer(tokenizer, aside, out)


def check_tokenizer(tokenizer: Tokenizer, aside: Path, out: Path) -> None:
    """Raise ModelError if the tokenizer read back from `aside`, which is to become `out`, is a different one."""
    found = Tokenizer.load(aside).fingerprint
    if found != tokenizer.fingerprint:
        raise ModelError(
            f"{out} was not written: read back, its tokenizer is {found} and not {tokenizer.fingerprint}; this is a "
            f"bug in maskling, and nothing there was changed"
        )


def export_task_model(
    model: TaskModel, tokenizer: Tokenizer, out: Path, facts: TaskFacts, card: str | None = None
) -> None:
    """Write config.json, model.safetensors, the tokenizer's files and README.md.

    card: the text of README.md; default: rendered from `facts`.

    The folder replaces `out` as a whole, and only after it was read back: the labels and the logits of a fixed batch
    must equal those of `model`, and the tokenizer's fingerprint must be the same. Raises ModelError otherwise; `out` is
    then unchanged.
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
    expected = finite_logits(probe_task_logits(model), str(out))
    loaded = read_task_folder(aside)
    if loaded is None or loaded.head_config.labels != model.head_config.labels:
        raise ModelError(f"{out} was not written: read back, its labels differed; this is a bug in maskling")
    check_same_logits(expected, probe_task_logits(loaded.to(next(model.parameters()).device)), str(out))
    check_tokenizer(tokenizer, aside, out)


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
    """Write config.json, model.safetensors, the tokenizer's files, the files of Sentence-Transformers, and README.md.

    module: without heads. config: the configuration to write; training may have used another dropout. form: see
    TRAINED_ON, None if unknown. normalized: whether SentenceTransformer scales vectors to length 1. card: the text of
    README.md; default: rendered from `facts`.
    The folder replaces `out` as a whole, and only after it was read back: the hidden states of a fixed batch must equal
    those of `module`, pooling and tokenizer must be the same. Raises ModelError otherwise; `out` is then unchanged.
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
        rendered = template.render(
            facts=facts,
            family=family_name(config),
            config=config,
            pooling=pooling,
            trained_on=TRAINED_ON[form] if form else None,
            normalized=normalized,
            num_parameters=module.num_parameters(),
            version=__version__,
        )
        rendered = with_metadata(rendered, {}, measured_task(facts, "sentence-similarity"))
        (aside / "README.md").write_text(rendered if card is None else card, encoding="utf-8")
        _check_encoder(module, tokenizer, pooling, aside, out)


def encoder_config_json(config: ModelConfig) -> dict[str, Any]:
    """Return the config.json of an encoder without heads, which transformers loads as its base class (BertModel)."""
    hf_config = to_hugging_face(config)
    name = str(hf_config["architectures"][0]).removesuffix("ForMaskedLM").removesuffix("ForPreTraining")
    return hf_config | {"architectures": [f"{name}Model"]}


def _check_encoder(module: MaskedLM, tokenizer: Tokenizer, pooling: Pooling, aside: Path, out: Path) -> None:
    expected = finite_logits(encoder_probe_states(module), str(out))
    loaded = build_encoder(aside, seed=0).to(next(module.parameters()).device)
    check_same_logits(expected, encoder_probe_states(loaded), str(out))
    if read_pooling(aside) != pooling:
        raise ModelError(f"{out} was not written: read back, its pooling differed; this is a bug in maskling")
    check_tokenizer(tokenizer, aside, out)


@torch.no_grad()
def encoder_probe_states(module: MaskedLM) -> dict[str, Tensor]:
    """Return the hidden states of an encoder on a fixed batch."""
    with encoded_probe(module) as probe:
        return {"encoder": probe.hidden[:, probe.columns].cpu()}


def check_export_folder(source: Path, out: Path) -> None:
    """Raise ModelError unless `out` is new or empty, or a model folder other than `source` without ONNX graphs."""
    refuse_foreign_files(source, out)
    graph = next(iter(sorted((out / "onnx").rglob("*.onnx*"))), None)
    if graph is not None:
        raise ModelError(
            f"{out} holds {graph.relative_to(out).as_posix()}, which would be lost; give another folder with --out "
            f"(for both in one folder, write the weights first: '--format onnx' adds a graph to them)"
        )


def refuse_foreign_files(source: Path, out: Path) -> None:
    """Raise ModelError unless `out` is new or empty, or a model folder other than `source`."""
    if out.resolve() in (source.resolve(), *source.resolve().parents):
        raise ModelError(f"{out} holds the source model; give another folder with --out")
    if not out.is_dir():
        if out.exists():
            raise ModelError(f"{out} is a file; give a folder with --out")
        return
    names = sorted((path.name for path in out.iterdir()), key=lambda name: (name.startswith("."), name))
    others = [name for name in names if not (name in _OURS or name.endswith(_SUFFIXES) or _of_tokenizer(name))]
    others = [name for name in others if not (name.startswith("onnx.") and name.endswith(ASIDE))]
    if others or (names and "config.json" not in names):
        raise ModelError(
            f"{out} holds files that do not belong to a model ({(others or names)[0]}); give a new or empty folder"
        )


def _of_tokenizer(name: str) -> bool:
    return name.startswith(
        ("tokenizer", "vocab", "merges", "special_tokens", "added_tokens", "sentence_bert_config", "config_sentence")
    )


def write_pooling(
    folder: Path, hidden_size: int, max_length: int, pooling: Pooling = "mean", normalized: bool = False
) -> None:
    """Write modules.json, sentence_bert_config.json, 1_Pooling/config.json and config_sentence_transformers.json.

    The module paths and keys are those of sentence-transformers 2 to 5. Version 6 reads them too, but older versions
    cannot read the keys that version 6 writes. Vectors are means of the last hidden states, or the state of [CLS].
    normalized: add a third module that scales vectors to length 1; cosines do not need it.
    """
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    if normalized:
        modules.append({"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})
    write_json(folder / MODULES, modules)
    # Version 5 asks huggingface.co for this file if a folder of two parts, such as RUN/model, does not have it.
    write_json(folder / SIMILARITY, {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"})
    write_json(folder / TRANSFORMER, {"max_seq_length": max_length, "do_lower_case": False})
    pooling_config = {
        "word_embedding_dimension": hidden_size,
        "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    write_json(folder / POOLING, pooling_config)
