"""A vocabulary with its rules: text to ids and words, ids to text."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tokenizers
from numpy.typing import ArrayLike, NDArray

from maskling import files as whole_files
from maskling.errors import TokenizerError
from maskling.tokenizer import loading, saving
from maskling.tokenizer.characters import IDEOGRAPHS, resolve_words
from maskling.tokenizer.encoding import Encoded, Located, located
from maskling.tokenizer.fast_encoder import Encoder, by_encodings
from maskling.tokenizer.library import UNUSED, SpecialIds, Tree, from_tree, guarded, mended, to_tree, without_specials
from maskling.tokenizer.pre_split import chunking
from maskling.tokenizer.settings import ChineseWords
from maskling.tokenizer.word_starts import Looks

# FOLDED DOCS
# [spelling] Decoded text as a person writes it.


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as tokens, without special tokens around it.

    ids: (n,) int32; word_starts: (n,) bool, whether a word starts with this token.
    """

    ids: NDArray[np.int32]
    word_starts: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)


class Tokenizer:
    """Encodes and decodes; knows its special tokens; saves itself so that others read it the same way."""

    def __init__(
        self,
        library: tokenizers.Tokenizer,
        names: Mapping[str, str],
        max_length: int | None = None,
        token_types: bool = True,
        chinese_words: ChineseWords = "auto",
    ) -> None:
        """library: the tokenizer; names: the token of each special role; max_length: of a sequence, with specials.

        token_types: whether models of this tokenizer take token_type_ids.
        """
        self._library = library
        self._names = dict(names)
        self._tree = to_tree(library)
        self.max_length = max_length
        self.token_types = token_types
        self.chinese_words = resolve_words(chinese_words)
        self.kind = str(self._tree["model"]["type"])
        vocabulary = library.get_vocab(with_added_tokens=True)
        self._tokens = [token for token, _ in sorted(vocabulary.items(), key=lambda item: item[1])]
        self.vocab_size = len(self._tokens)
        self.special = SpecialIds(**{role: vocabulary[name] for role, name in self._names.items()})
        self._looks = Looks(self._tokens, self._tree["model"])
        self._encoder = Encoder(self._plain, chunking(self._tree), self._looks, self.chinese_words == "jieba")

    @classmethod
    def load(cls, path: Path | str, chinese_words: ChineseWords = "auto") -> Tokenizer:
        """Open a vocab.txt, a tokenizer.json, or a folder that holds one (Hugging Face's, or one of maskling's).

        Raises TokenizerError if there is none, it is damaged, or it lacks what masked language modelling needs.
        """
        found = loading.read(Path(path))
        limit = found.config.get("model_max_length")
        inputs = found.config.get("model_input_names")
        return cls(
            found.library,
            found.names,
            max_length=int(limit) if isinstance(limit, int | float) and 0 < limit < 1e9 else None,
            token_types="token_type_ids" in inputs if isinstance(inputs, list) else found.token_types,
            chinese_words=chinese_words,
        )

    def save(self, folder: Path | str, max_length: int | None = None, token_types: bool | None = None) -> None:
        """Write the files that AutoTokenizer reads.

        max_length: most tokens of a sequence, `self.max_length` if left out; token_types: whether the model takes
        token_type_ids (ModernBERT does not), `self.token_types` if left out.
        """
        saving.write(
            Path(folder),
            self._tree,
            self._names,
            self.max_length if max_length is None else max_length,
            self.token_types if token_types is None else token_types,
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """The same for two tokenizers exactly if they give every text the same ids and special tokens."""
        return whole_files.fingerprint(saving.decides_ids(self._tree, self._names))

    @functools.cached_property
    def special_ids(self) -> NDArray[np.int64]:
        """(n,) int64, ascending: every special token, the five and any others the tokenizer marks as special."""
        marked = {int(token["id"]) for token in self._tree["added_tokens"] if token["special"]}
        return np.array(sorted(marked | {self.id_of(name) for name in self._names.values()}), dtype=np.int64)

    @functools.cached_property
    def ordinary_ids(self) -> NDArray[np.int64]:
        """(n,) int64, ascending: ids that may stand for a word: not special, not added, not [unusedN]."""
        added = {int(token["id"]) for token in self._tree["added_tokens"]}
        unused = {id_ for id_, token in enumerate(self._tokens) if UNUSED.fullmatch(token)}
        left_out = added | unused | set(self.special_ids.tolist())
        return np.array([id_ for id_ in range(self.vocab_size) if id_ not in left_out], dtype=np.int64)

    @functools.cached_property
    def starts_word(self) -> NDArray[np.bool_]:
        """(vocab_size,) bool: whether a token can start a word; False for special and unused tokens."""
        starts = np.zeros(self.vocab_size, dtype=bool)
        starts[self.ordinary_ids] = self._looks.can_start[self.ordinary_ids]
        return starts

    @property
    def tree(self) -> Tree:
        """The parsed tokenizer.json. Not to be written to."""
        return self._tree

    def with_tree(self, tree: Tree) -> Tokenizer:
        """A tokenizer of another tokenizer.json, with the special tokens and limits of this one."""
        return _rebuild(tree, self._names, self.max_length, self.token_types, self.chinese_words)

    @property
    def mask_token(self) -> str:
        """How the mask is written in a text: '[MASK]' or '<mask>'."""
        return self._names["mask"]

    def encode(self, text: str, special_in_text: bool = False) -> Tokens:
        """The tokens of a text, without special tokens around it.

        special_in_text: read a special token written in the text ('[MASK]') as that token; otherwise it is plain
        text, so that a corpus cannot smuggle in specials. Raises TokenizerError if the library fails.
        """
        return self.encode_batch([text], special_in_text)[0]

    def encode_batch(self, texts: Sequence[str], special_in_text: bool = False) -> list[Tokens]:
        """The tokens of each text. The arrays are views of one block: copy what outlives the batch."""
        encoded = self.encode_flat(texts, special_in_text)
        ends = encoded.offsets.tolist()
        ids, starts = encoded.ids, encoded.word_starts
        return [Tokens(ids[first:end], starts[first:end]) for first, end in itertools.pairwise(ends)]

    def encode_flat(self, texts: Sequence[str], special_in_text: bool = False) -> Encoded:
        """The tokens of all texts end to end, with the offsets of each: the fastest form.

        Pieces of a text cut before white space, that bring the white space with them (`split_sentences`), have
        together the tokens of the whole text.
        """
        if not special_in_text:
            return self._encoder.encode(texts)
        clean = [mended(text) for text in texts]
        with guarded("the tokenizer failed on a text"):
            encodings = self._library.encode_batch(clean, add_special_tokens=False)
        return by_encodings(clean, encodings, self._looks, self.chinese_words == "jieba")

    def encode_with_offsets(self, texts: Sequence[str]) -> list[Located]:
        """The tokens of each text and the characters they stand for; the ids are those of `encode_batch`.

        Slower: the library is asked for every text. Raises TokenizerError if it fails.
        """
        clean = [mended(text) for text in texts]
        with guarded("the tokenizer failed on a text"):
            return located(clean, self._plain.encode_batch(clean, add_special_tokens=False))

    @functools.cached_property
    def _plain(self) -> tokenizers.Tokenizer:
        return without_specials(self._library)

    @functools.cached_property
    def separators(self) -> int:
        """How many [SEP] part two segments: 2 where [CLS] A [SEP] [SEP] B [SEP] is the model's form (RoBERTa)."""
        return 2 if self._library.num_special_tokens_to_add(True) == 4 else 1

    def normalized(self, text: str) -> str:
        """A text as the vocabulary sees it: in small letters, for instance."""
        normalizer = self._library.normalizer
        with guarded("the tokenizer failed on a text"):
            return text if normalizer is None else str(normalizer.normalize_str(text))

    def pre_tokens(self, text: str) -> list[str]:
        """A text normalized and cut into the pieces that no token crosses, as the vocabulary spells them."""
        pre_tokenizer = self._library.pre_tokenizer
        with guarded("the tokenizer failed on a text"):
            normal = self.normalized(text)
            return [normal] if pre_tokenizer is None else [p for p, _ in pre_tokenizer.pre_tokenize_str(normal)]

    def decode(self, ids: ArrayLike, skip_special: bool = False) -> str:
        """The text of some ids as a person would write it. Raises TokenizerError for an id outside the vocabulary."""
        numbers = np.asarray(ids, dtype=np.int64).ravel()
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < self.vocab_size:
            raise TokenizerError(
                f"ids must lie in 0 to {self.vocab_size - 1}, but {numbers.min()} to {numbers.max()} came"
            )
        with guarded("the tokenizer failed to decode"):
            return tidy(self._library.decode(numbers.tolist(), skip_special_tokens=skip_special))

    def token(self, id_: int) -> str:
        """The token of an id, as the vocabulary spells it."""
        if not 0 <= id_ < self.vocab_size:
            raise TokenizerError(f"id {id_} is not in this vocabulary of {self.vocab_size} tokens")
        return self._tokens[id_]

    def id(self, token: str) -> int | None:
        """The id of a token as the vocabulary spells it, or None."""
        found: int | None = self._library.token_to_id(token)
        return found

    def id_of(self, token: str) -> int:
        """The id of a token that is known to exist. Raises TokenizerError if it does not."""
        found = self.id(token)
        if found is None:
            raise TokenizerError(f"{token!r} is not in this vocabulary of {self.vocab_size} tokens")
        return found

    def __len__(self) -> int:
        return self.vocab_size

    def __repr__(self) -> str:
        return f"Tokenizer({self.kind}, vocab_size={self.vocab_size}, fingerprint={self.fingerprint[:8]})"

    def __reduce__(self) -> Any:
        # Worker processes get the vocabulary, not the cache.
        return _rebuild, (self._tree, self._names, self.max_length, self.token_types, self.chinese_words)


def _rebuild(
    tree: dict[str, Any], names: dict[str, str], max_length: int | None, token_types: bool, chinese_words: ChineseWords
) -> Tokenizer:
    return Tokenizer(from_tree(tree, "a tokenizer"), names, max_length, token_types, chinese_words)


_WIDE: Final = f"[{IDEOGRAPHS}、。〈〉《》「」『』【】！（），．：；？]"
_BETWEEN_WIDE: Final = re.compile(f"(?<={_WIDE}) (?={_WIDE})")


def tidy(text: str) -> str:
    """Take out the spaces that decoding puts between Chinese characters and marks."""
    return text if text.isascii() else _BETWEEN_WIDE.sub("", text)
