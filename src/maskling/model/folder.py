"""Load and write Hugging Face model folders: config.json and model.safetensors.

`read_folder` loads a masked language model, `build_encoder` an encoder without heads; `write_weights` writes both
files. Nothing in a folder is ever executed: safetensors holds only numbers, and a torch file is opened with
`weights_only=True`, which refuses everything else.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from maskling.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, base_folder, is_adapter
from maskling.errors import ModelError
from maskling.files import atomic_write, disk_error, read_json, write_json
from maskling.model.adapter import adapted_config, merge_adapter
from maskling.model.attention import AttentionPattern
from maskling.model.build import build_masked_lm, build_without_init
from maskling.model.config import BertConfig, ModelConfig
from maskling.model.hf_config import NOT_QUANTIZED, from_hugging_face, to_hugging_face
from maskling.model.masked_lm import MaskedLM
from maskling.model.tasks.config import Pooling
from maskling.model.tasks.model import mean_pool

SAFETENSORS = "model.safetensors"
TORCH = "pytorch_model.bin"
PAIR_HEAD = "pair_head.safetensors"
"""The file of a ModernBERT pair head: ModernBertForMaskedLM would report its weights in SAFETENSORS as unexpected."""
# The largest files are those with many label names; a thousand of them are 50 kB.
_MAX_CONFIG_BYTES = 16 << 20
# Ends of the names of what belongs to quantized weights: bitsandbytes in 8 and 4 bits, GPTQ and AWQ, compressed-tensors
# and scaled fp8, torch's own.
_QUANTIZED = (
    *(".SCB", ".weight_format", ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"),
    *(".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4"),
    *(".qweight", ".qzeros", ".g_idx", ".scales"),
    *(".weight_packed", ".weight_scale", ".weight_scale_inv", ".weight_zero_point", ".weight_shape", ".input_scale"),
    *(".weight_scale_2", ".weight_blocks", ".weight_scales", "._packed_params", ".zero_point"),
)
# A larger difference is a false claim; a smaller one is a missing weight, which has an error of its own.
_MAX_MISSING = 1 << 20


class LoadedModel(NamedTuple):
    """A model, and the transformers names of weights that its folder lacked (drawn at random) or that were not used."""

    config: ModelConfig
    module: MaskedLM
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def read_folder(folder: Path, *, pair_head: bool | None = None, seed: int = 0, mmap: bool = False) -> LoadedModel:
    """Load a BERT, RoBERTa or ModernBERT folder, upcast to fp32.

    pair_head: None keeps the folder's pair head if it has one, True adds one (drawn from `seed`) if it is missing,
    False drops it. mmap: memory-map weights that are fp32 in the file; overwriting the file in place then changes the
    model, replacing it does not.
    Raises ModelError if the folder is not a supported model, is damaged, or lacks a weight of the encoder.
    """
    hf_config = read_config(folder)
    weights = read_weights(folder)
    if pair_head is None:
        pair_head = any(name in weights for name in ("cls.seq_relationship.weight", "pair_head.classifier.weight"))
    config = from_hugging_face(hf_config, str(folder), pair_head=pair_head)
    check_parameter_count(config, weights, folder)
    module = build_without_init(config)
    try:
        missing, unexpected = module.load_hugging_face(weights, reuse_tensors=mmap)
        if missing:
            module = build_masked_lm(config, seed)
            module.load_hugging_face(weights)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from None
    needed = [name for name in missing if not name.startswith(module.head_prefixes)]
    if needed:
        more = f" and {len(needed) - 1} more" if len(needed) > 1 else ""
        raise ModelError(
            f"{folder} lacks the weight {needed[0]}{more}, which {hf_config.get('model_type', 'bert')} needs; "
            f"its files are incomplete or of another architecture"
        )
    return LoadedModel(config, module, missing, unexpected)


def write_weights(module: MaskedLM, folder: Path) -> None:
    """Write config.json and model.safetensors as transformers reads them, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.to_hugging_face().items()}
    pair_head = {name: weights.pop(name) for name in list(weights) if name.startswith("pair_head.")}
    write_safetensors(weights, folder / SAFETENSORS)
    if pair_head:
        write_safetensors(pair_head, folder / PAIR_HEAD)
    else:
        (folder / PAIR_HEAD).unlink(missing_ok=True)
    write_json(folder / "config.json", to_hugging_face(module.config))


def read_config(folder: Path) -> dict[str, Any]:
    """Return the config.json of a model folder, or of an adapter merged with its base model.

    Raises ModelError if it is missing or not a JSON object, or if the base model of an adapter is not found.
    """
    if is_adapter(folder):
        own = _read_config(folder) if (folder / "config.json").is_file() else None
        return adapted_config(folder, _read_config(base_folder(folder)), own, _read_adapter(folder))
    return _read_config(folder)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        hf_config = read_json(path, _MAX_CONFIG_BYTES)
    except FileNotFoundError:
        what = "has no config.json, so it is not a model folder" if folder.is_dir() else "is not a folder"
        raise ModelError(f"{folder} {what}; give the folder that a model was saved to") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    if not isinstance(hf_config, dict):
        raise ModelError(f"{path} does not hold a JSON object; it is not a model configuration")
    return hf_config


def weight_shapes(folder: Path) -> dict[str, list[int]]:
    """Return the shape of each weight of a model folder by its name in the file. Raises ModelError if damaged."""
    return {name: list(tensor.shape) for name, tensor in read_weights(folder).items()}


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return every weight by its name in the file, memory-mapped rather than copied; an adapter's are merged."""
    if is_adapter(folder):
        return merge_adapter(folder, read_weights(base_folder(folder)), _read_adapter(folder))
    weights: dict[str, Tensor] = {}
    for name in _weight_files(folder):
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{folder} lacks {name}, which holds part of its weights; copy the whole folder again")
        weights |= _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if (folder / PAIR_HEAD).is_file():
        weights |= _read_safetensors(folder / PAIR_HEAD)
    quantized = next((name for name in weights if name.endswith(_QUANTIZED)), None)
    if quantized is not None:
        raise ModelError(f"{folder} has {quantized}, so its weights are quantized, which {NOT_QUANTIZED}")
    return weights


def _read_adapter(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of an adapter. Raises ModelError if there is no file of them, or a whole model beside it."""
    if any((folder / name).exists() for whole in (SAFETENSORS, TORCH) for name in (whole, f"{whole}.index.json")):
        raise ModelError(
            f"{folder} holds both a model and an adapter ({ADAPTER_CONFIG}); move one of them to a folder of its own"
        )
    path = next((folder / name for name in ADAPTER_WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise ModelError(f"{folder} has {ADAPTER_CONFIG} but no {ADAPTER_WEIGHTS[0]}; copy the whole folder again")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def _weight_files(folder: Path) -> list[str]:
    for whole in (SAFETENSORS, TORCH):
        if (folder / whole).is_file():
            return [whole]
        index = folder / f"{whole}.index.json"
        if index.is_file():
            try:
                names = sorted(set(read_json(index, _MAX_CONFIG_BYTES)["weight_map"].values()))
            except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
                raise ModelError(f"{index} is damaged: {error!r}") from None
            # A shard is a plain file name: an index must not point outside its folder.
            if any(not isinstance(name, str) or Path(name).name != name for name in names):
                raise ModelError(f"{index} names a file outside its folder; do not trust it")
            return names
    raise ModelError(f"{folder} has a config.json but neither {SAFETENSORS} nor {TORCH}; its weights are missing")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        # A dtype that this torch does not have is another class of error in each version.
        raise ModelError(f"{path} is damaged or not a safetensors file: {error}") from None


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        # Files from before torch 1.6 are not zip archives and cannot be mapped, only read.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:
        # The unpickler raises almost any exception on unexpected bytes. Its message recommends to load them anyway.
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named is None:
            raise ModelError(f"{path} is damaged or not a file of weights; copy the whole folder again") from None
        raise ModelError(
            f"{path} holds more than weights: reading it would run {named[1]}; do not trust it, and take the model as "
            f"safetensors"
        ) from None
    if not isinstance(state, dict):
        raise ModelError(f"{path} holds a {type(state).__name__}, not weights by name")
    weights = {str(name): value.detach() for name, value in state.items() if isinstance(value, Tensor)}
    for name, value in weights.items():
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise ModelError(
                f"{path}: {name} is a sparse or quantized tensor, or has no values; save it as plain weights"
            )
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ModelError(
                f"{path}: {name} has the shape {' x '.join(map(str, value.shape))}, but the file does not hold as many "
                f"numbers; do not trust it"
            )
    return weights


def write_safetensors(weights: dict[str, Tensor], path: Path) -> None:
    """Write weights to a safetensors file atomically. Raises OSError with the path if the disk is full."""
    with atomic_write(path) as file:
        try:
            save_file(weights, file.name, metadata={"format": "pt"})
        except SafetensorError as error:
            raise disk_error(error, path) from None


def check_parameter_count(config: ModelConfig, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Raise ModelError if `config` describes more than twice as many parameters as `folder` has. Allocates nothing.

    An untrusted folder may claim a thousand million layers beside a file of one kilobyte.
    """
    width, found = config.hidden_size, _count_stored(weights.values())
    claimed = config.vocab_size * width + config.num_layers * config.layer_parameters
    if isinstance(config, BertConfig):
        claimed += (config.max_positions + config.position_offset + config.type_vocab_size) * width
    if claimed > 2 * found + _MAX_MISSING:
        raise ModelError(
            f"{folder}/config.json describes a model of {claimed:,} parameters, but its weights have {found:,}; "
            f"the two files do not belong together"
        )


def _count_stored(weights: Iterable[Tensor]) -> int:
    """Return how many numbers are stored for some weights; those that share their storage count once."""
    shared: dict[int, list[Tensor]] = {}
    for tensor in weights:
        shared.setdefault(tensor.untyped_storage().data_ptr(), []).append(tensor)
    return sum(
        min(
            sum(tensor.numel() for tensor in tensors),
            tensors[0].untyped_storage().nbytes() // min(tensor.element_size() for tensor in tensors),
        )
        for tensors in shared.values()
    )


def check_vocabulary(config: ModelConfig, vocab_size: int, folder: Path) -> None:
    """Raise ModelError if the tokenizer of `folder`, of `vocab_size` tokens, has more tokens than its model."""
    if vocab_size > config.vocab_size:
        raise ModelError(
            f"{folder}: its tokenizer has {vocab_size:,} tokens, but its model only {config.vocab_size:,}; if tokens "
            f"were added to the tokenizer, resize the model to it with: maskling extend {folder} --tokenizer {folder} "
            f"--out NEW"
        )


def encoder_config(folder: Path) -> ModelConfig:
    """Return the configuration of the encoder in a model folder. Raises ModelError if it is not supported."""
    return from_hugging_face(read_config(folder), str(folder))


def is_encoder(folder: Path) -> bool:
    """Return whether a model folder is an encoder only: no masked-token head, and no class name that implies one.

    Raises ModelError as `build_encoder` does.
    """
    hf_config = read_config(folder)
    classes = hf_config.get("architectures")
    if isinstance(classes, list) and classes and not str(classes[0]).endswith("Model"):
        return False
    config, weights = from_hugging_face(hf_config, str(folder)), read_weights(folder)
    check_parameter_count(config, weights, folder)
    module = build_without_init(config)
    names = [module.canonical_name(name) or "" for name in weights]
    return not any(name.startswith(module.token_head_prefixes) for name in names)


def build_encoder(folder: Path, seed: int, *, fresh: bool = False, dropout: float | None = None) -> MaskedLM:
    """Load the encoder of a model folder, on the CPU in fp32, without heads.

    fresh: take only the configuration, and draw initial weights from (seed, 'weights'). dropout: also of attention
    weights; default: the folder's. Raises ModelError if the folder is not a supported model, is damaged, or lacks a
    weight.
    """
    config, weights = encoder_config(folder), read_weights(folder)
    check_parameter_count(config, weights, folder)
    if dropout is not None:
        config = config.model_copy(update={"dropout": dropout, "attention_dropout": dropout})
    if fresh:
        module = build_masked_lm(config, seed)
        module.drop_heads()
        return module
    module = build_without_init(config)
    module.drop_heads()
    try:
        missing = module.load_hugging_face(weights).missing
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from None
    if missing:
        raise ModelError(f"{folder} lacks the weight {missing[0]}; its files are incomplete or of another architecture")
    return module


def pool_rows(hidden: Tensor, first_positions: Tensor, pattern: AttentionPattern, pooling: Pooling) -> Tensor:
    """Pool each example of packed rows into a vector: the mean over its tokens, or its [CLS].

    hidden: (rows, seq, hidden). first_positions: (k,) int64, flat index of each example's [CLS], ascending. pattern: of
    the same rows. Returns (k, hidden).
    """
    if pooling == "mean":
        return mean_pool(hidden, first_positions, pattern)
    return hidden.flatten(0, 1).index_select(0, first_positions)
