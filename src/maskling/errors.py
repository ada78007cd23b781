"""Every error that a user can fix, in one tree.

    MasklingError            exit code 2; the message says what was wrong, where, and what to do
    ├── SettingsError        an unknown key, a value out of range, settings that contradict each other
    ├── CorpusError          text that cannot be read: missing, unreadable, broken, not text
    ├── TokenizerError       a vocabulary that cannot be used, or text it cannot encode
    ├── DataError            a prepared folder that is missing, damaged or made for something else
    ├── ModelError           a model folder or configuration that cannot be used
    ├── CheckpointError      a run folder or checkpoint that is missing, damaged or of another run
    ├── RankError            another process of the same run has failed
    ├── NumericsError        a loss or gradient that is not a number (NaN) or infinite
    └── MissingExtra         an optional package is needed; names the extra to install

An OSError (disk full, permission denied) and a lack of memory are reported in the same way. Any other exception that
escapes is a bug: exit code 1, with a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class MasklingError(Exception):
    """Base class: what went wrong, where, and what to do about it, in one line."""


class SettingsError(MasklingError):
    """A setting is unknown, out of range, or contradicts another."""


class CorpusError(MasklingError):
    """Text could not be read."""


class TokenizerError(MasklingError):
    """A tokenizer could not be trained, loaded or used."""


class DataError(MasklingError):
    """A prepared folder is missing, damaged, or was made for something else."""


class ModelError(MasklingError):
    """A model folder or its configuration cannot be used."""


class CheckpointError(MasklingError):
    """A run folder or checkpoint is missing, damaged, or belongs to another run."""


class RankError(MasklingError):
    """Another process of the same run failed, was killed, or does not respond."""


class NumericsError(MasklingError):
    """A loss or gradient became NaN or infinite."""


class MissingExtra(MasklingError):  # noqa: N818  (an extra is missing: the name says it)
    """An optional package is needed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package '{package}': run  pip install 'maskling[{extra}]'")
        self.package = package
        self.extra = extra
        self.purpose = purpose

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str, str]]:
        # Pickled in a worker process, it must keep its type.
        return MissingExtra, (self.package, self.extra, self.purpose)


def listing(values: Sequence[object], shown: int = 5) -> str:
    """Return the first values for a message, separated by commas, with '...' for the rest; 'none' without values."""
    return ", ".join(map(str, values[:shown])) + (", ..." if len(values) > shown else "") if values else "none"


def suggestion(word: str, known: Sequence[str]) -> str:
    """Return '; did you mean X?' for the known word most similar to `word`, or an empty string."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


# Names in other programs, by the last part of their names here.
_NAMES_ELSEWHERE = {
    "learning_rate": "lr",
    "max_lr": "lr",
    "num_epochs": "epochs",
    "num_train_epochs": "epochs",
    "max_steps": "steps",
    "num_steps": "steps",
    "train_batch_size": "batch_size",
    "per_device_train_batch_size": "batch_size",
    "gradient_accumulation_steps": "micro_batch_tokens",
    "gradient_checkpointing": "checkpoint_activations",
    "grad_clip": "clip",
    "max_grad_norm": "clip",
    "warmup_steps": "warmup",
    "warmup_ratio": "warmup",
    "max_length": "seq_length",
    "max_seq_length": "seq_length",
    "mlm_probability": "rate",
    "mask_rate": "rate",
    "early_stopping": "patience",
    "num_workers": "workers",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "precision": "dtype",
    "bf16": "dtype",
}


def settings_by_name(word: str, paths: Sequence[str], exact: bool = False, shown: int = 3) -> list[str]:
    """Return the dotted settings whose last part is `word`, or is similar to it unless `exact`; at most `shown`.

    Names of the same thing in other programs are known, as 'learning_rate' for 'lr'.
    """
    name = word.replace("-", "_").rpartition(".")[2].lower()
    lasts = {path.rpartition(".")[2] for path in paths}
    if name not in lasts:
        name = _NAMES_ELSEWHERE.get(name, name)
    if name not in lasts and not exact:
        close = difflib.get_close_matches(name, sorted(lasts), n=1, cutoff=0.75)
        name = close[0] if close else name
    return [path for path in paths if path.rpartition(".")[2] == name][:shown]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out: Python's and numpy's, and torch's on any device."""
    if isinstance(error, MemoryError):
        return True
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)  # torch's, without importing it
    text = str(error)
    return named or (isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text))
