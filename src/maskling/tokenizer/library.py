"""The one place where the `tokenizers` library is touched with things it may choke on.

Its Rust panics surface as exceptions outside Exception's tree, and its own errors are bare `Exception`s:
both become one TokenizerError line here.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import tokenizers

from maskling.errors import TokenizerError

# FOLDED DOCS
# [special] The five tokens a masked language model cannot do without: which they are, and whether they are there.


Tree = dict[str, Any]
_SURROGATE = re.compile("[\ud800-\udfff]")
MAX_WORD_CHARACTERS = 100  # BertTokenizer's limit: a longer word is [UNK]


@contextlib.contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn whatever the library throws while doing `what` into a TokenizerError."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, TokenizerError):
        raise
    except BaseException as error:
        # pyo3's PanicException derives from BaseException; nothing else that does can come from the library.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise TokenizerError(f"{what}: {reason}") from None


def mended(text: str) -> str:
    """A text that the library takes: half a surrogate pair (from a broken JSON escape) is no character."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def from_tree(tree: Tree, where: str) -> tokenizers.Tokenizer:
    """A tokenizer from the parsed tokenizer.json. Raises TokenizerError naming `where`."""
    with guarded(f"{where} is not a usable tokenizer.json"):
        library = tokenizers.Tokenizer.from_str(json.dumps(tree))
        # A file saved during fine-tuning often cuts at 512 tokens or pads; neither belongs to a vocabulary.
        library.no_truncation()
        library.no_padding()
    return library


def to_tree(library: tokenizers.Tokenizer) -> Tree:
    """tokenizer.json as nested dicts, in the library's own present form."""
    tree: Tree = json.loads(library.to_str())
    return tree


def without_specials(library: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """A copy that reads special tokens written in a text as plain text."""
    copy = tokenizers.Tokenizer.from_str(library.to_str())
    copy.encode_special_tokens = True
    return copy


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
