"""The five tokens a masked language model cannot do without: which they are, and whether they are there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from maskling.errors import TokenizerError

ROLES: Final = ("pad", "unk", "cls", "sep", "mask")
BERT_NAMES: Final = {role: f"[{role.upper()}]" for role in ROLES}
_ROBERTA_NAMES: Final = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
_STAND_INS: Final = {"cls": "bos", "sep": "eos"}
UNUSED: Final = re.compile(r"\[unused\d+\]")


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """The ids of the five special tokens."""

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int


def find_names(vocabulary: Mapping[str, int], configs: list[Mapping[str, Any]], where: str) -> dict[str, str]:
    """The token of each role: as the folder's configuration files say, else by the names of BERT or RoBERTa.

    Raises TokenizerError naming the roles that nothing fills.
    """
    names: dict[str, str] = {}
    for role in ROLES:
        said = [
            _content(config.get(f"{name}_token")) for config in configs for name in (role, _STAND_INS.get(role, role))
        ]
        for name in [*said, BERT_NAMES[role], _ROBERTA_NAMES[role]]:
            if name is not None and name in vocabulary:
                names[role] = name
                break
    missing = [role for role in ROLES if role not in names]
    if missing:
        wanted = ", ".join(f"{BERT_NAMES[role]} (or {_ROBERTA_NAMES[role]})" for role in missing)
        raise TokenizerError(
            f"{where} has no {wanted}, and masked language modelling needs it; add the token to the vocabulary, "
            f"choose another vocabulary, or leave tokenizer.path out to train one"
        )
    if len(set(names.values())) < len(ROLES):
        raise TokenizerError(
            f"{where} uses one token for two special roles ({names}); masked language modelling needs five different "
            f"ones: give each its own token in special_tokens_map.json"
        )
    return names


def _content(value: Any) -> str | None:
    """A token as configuration files write it: a string, or an object with its content."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None
