"""The one place where the `tokenizers` library is touched with things it may choke on.

Its Rust panics surface as exceptions outside Exception's tree, and its own errors are bare `Exception`s:
both become one TokenizerError line here.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import tokenizers

from maskling.errors import TokenizerError

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
