"""The tokenizer: text to token ids and word starts, ids to text, loading and saving."""

from __future__ import annotations

import functools
import itertools
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tokenizers
from numpy.typing import ArrayLike, NDArray

from maskling import files
from maskling.errors import TokenizerError
from maskling.tokenizer import loading, saving
from maskling.tokenizer.encoding import Encoded, TokenSpans, from_encodings, token_spans
from maskling.tokenizer.fast_encoder import FastEncoder
from maskling.tokenizer.library import (
    UNUSED,
    SpecialIds,
    TokenizerJson,
    library_errors,
    library_from_json,
    library_to_json,
    replace_surrogates,
    with_special_as_text,
)
from maskling.tokenizer.pre_split import chunking
from maskling.tokenizer.segmentation import IDEOGRAPHS, WordRules, resolve_words
from maskling.tokenizer.settings import ChineseWords, OtherWords
from maskling.tokenizer.word_starts import TokenSpelling

_WIDE: Final = f"[{IDEOGRAPHS}、。〈〉《》「」『』【】！（），．：；？]"
_SPACE_BETWEEN_WIDE: Final = re.compile(f"(?<={_WIDE}) (?={_WIDE})")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one text, without special tokens around it.

    ids: (n,) int32; word_starts: (n,) bool, True where a token starts a word.
    """

    ids: NDArray[np.int32]
    word_starts: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)


class Tokenizer:
    """A WordPiece, BPE, Unigram or word-level tokenizer with its special tokens.

    Saved files load in transformers' AutoTokenizer with the same ids.
    """

    def __init__(
        self,
        library: tokenizers.Tokenizer,
        special_tokens: Mapping[str, str],
        max_length: int | None = None,
        token_types: bool = True,
        chinese_words: ChineseWords = "auto",
        words: OtherWords = "auto",
        recorded_words: WordRules | None = None,
    ) -> None:
        """Wrap a tokenizer of the `tokenizers` library.

        special_tokens: the token of each role (pad, unk, cls, sep, mask); max_length: maximum tokens per sequence,
        special tokens included; token_types: whether models of this tokenizer take token_type_ids; chinese_words: word
        segmentation of Chinese; words: of other scripts without spaces. A library that is named and not installed is an
        error only where a text needs it. recorded_words: what 'auto' stands for; without a library of these, see
        `check_words`.
        """
        self._library = library
        self._special_tokens = dict(special_tokens)
        self._json = library_to_json(library)
        self.max_length = max_length
        self.token_types = token_types
        auto = recorded_words or resolve_words("auto", "auto")
        usable = auto.where_installed()
        self.words = WordRules(
            usable.chinese if chinese_words == "auto" else chinese_words,
            usable.others if words == "auto" else words,
        )
        self._recorded_words = WordRules(
            auto.chinese if chinese_words == "auto" else chinese_words,
            auto.others if words == "auto" else words,
        )
        self.kind = str(self._json["model"]["type"])
        vocabulary = library.get_vocab(with_added_tokens=True)
        self._tokens = [token for token, _ in sorted(vocabulary.items(), key=lambda item: item[1])]
        self.vocab_size = len(self._tokens)
        self.special = SpecialIds(**{role: vocabulary[name] for role, name in self._special_tokens.items()})
        self._spelling = TokenSpelling(self._tokens, self._json["model"])
        split = chunking(self._json, set(self._special_tokens.values()))
        self._encoder = FastEncoder(self._plain, split, self._spelling, self.words)

    @classmethod
    def load(
        cls,
        path: Path | str,
        chinese_words: ChineseWords = "auto",
        words: OtherWords = "auto",
        add_missing: bool = False,
    ) -> Tokenizer:
        """Load a vocab.txt, a tokenizer.json, a SentencePiece model, or a Hugging Face or maskling folder with one.

        add_missing: add the special tokens of masked language models that a GPT-2 or Llama tokenizer lacks.
        Raises TokenizerError if there is none, it is damaged, or it lacks a special token.
        """
        loaded = loading.load_tokenizer_files(Path(path), add_missing)
        limit = loaded.config.get("model_max_length")
        inputs = loaded.config.get("model_input_names")
        return cls(
            loaded.library,
            loaded.special_tokens,
            max_length=int(limit) if isinstance(limit, int | float) and 0 < limit < 1e9 else None,
            token_types="token_type_ids" in inputs if isinstance(inputs, list) else loaded.token_types,
            chinese_words=chinese_words,
            words=words,
            recorded_words=WordRules.from_config(loaded.config),
        )

    def save(self, folder: Path | str, max_length: int | None = None, token_types: bool | None = None) -> None:
        """Write the files that AutoTokenizer reads.

        max_length: maximum tokens per sequence, default `self.max_length`; token_types: whether the model takes
        token_type_ids (ModernBERT does not), default `self.token_types`.
        """
        saving.save_tokenizer_files(
            Path(folder),
            self._json,
            self._special_tokens,
            self.max_length if max_length is None else max_length,
            self.token_types if token_types is None else token_types,
            self._recorded_words,
        )

    def check_words(self, texts: Sequence[str]) -> None:
        """Raise MissingExtra if the dictionary for the words of a text is recorded in the folder and not installed.

        Token ids do not depend on it. Used where words are: in scores, in held-out loss.
        """
        if self._recorded_words == self.words:
            return
        for text in texts:
            if self._recorded_words.apply_to(text):
                deque(self._recorded_words.words(text), maxlen=0)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of everything that determines ids: equal for tokenizers with equal pipelines and special tokens."""
        return files.fingerprint(saving.canonical_form(self._json, self._special_tokens))

    def matches(self, fingerprint: str) -> bool:
        """Return whether text has the same ids with the tokenizer of a fingerprint, up to typed mask tokens.

        Earlier versions did not read from vocab.json and merges.txt that the mask takes the space before it.
        """
        if fingerprint == self.fingerprint:
            return True
        added = [
            token | {"lstrip": not token["lstrip"]} if token["content"] == self.mask_token else token
            for token in self._json["added_tokens"]
        ]
        other = saving.canonical_form({**self._json, "added_tokens": added}, self._special_tokens)
        return fingerprint == files.fingerprint(other)

    @functools.cached_property
    def special_ids(self) -> NDArray[np.int64]:
        """(n,) int64, ascending: the five special tokens, and any others that the tokenizer marks as special."""
        marked = {int(token["id"]) for token in self._json["added_tokens"] if token["special"]}
        return np.array(sorted(marked | {self.id_of(name) for name in self._special_tokens.values()}), dtype=np.int64)

    @functools.cached_property
    def ordinary_ids(self) -> NDArray[np.int64]:
        """(n,) int64, ascending: ids of words and subwords: not special, not added, not [unusedN]."""
        added = {int(token["id"]) for token in self._json["added_tokens"]}
        unused = {id_ for id_, token in enumerate(self._tokens) if UNUSED.fullmatch(token)}
        excluded = added | unused | set(self.special_ids.tolist())
        return np.array([id_ for id_ in range(self.vocab_size) if id_ not in excluded], dtype=np.int64)

    @functools.cached_property
    def starts_word(self) -> NDArray[np.bool_]:
        """(vocab_size,) bool, True where a token can start a word; False for special and unused tokens."""
        starts = np.zeros(self.vocab_size, dtype=bool)
        starts[self.ordinary_ids] = self._spelling.can_start[self.ordinary_ids]
        return starts

    @property
    def tokenizer_json(self) -> TokenizerJson:
        """The parsed tokenizer.json; must not be modified."""
        return self._json

    def with_json(self, tokenizer_json: TokenizerJson) -> Tokenizer:
        """Return a tokenizer of another tokenizer.json, with the special tokens and limits of this one."""
        return _rebuild(tokenizer_json, *self._how)

    @property
    def mask_token(self) -> str:
        """The mask token as written in a text: '[MASK]' or '<mask>'."""
        return self._special_tokens["mask"]

    def encode(self, text: str, special_in_text: bool = False) -> Tokens:
        """Encode one text, without special tokens around it.

        special_in_text: encode a [PAD], [UNK], [CLS], [SEP] or [MASK] that is written in the text as that token;
        otherwise as plain text, so that a corpus cannot inject them. Other special tokens ('[URL]') are always tokens.
        Raises TokenizerError if the library fails.
        """
        return self.encode_batch([text], special_in_text)[0]

    def encode_batch(self, texts: Sequence[str], special_in_text: bool = False) -> list[Tokens]:
        """Encode texts as in `encode`. The arrays are views of one block: copy those that outlive the batch."""
        encoded = self.encode_flat(texts, special_in_text)
        ends = encoded.offsets.tolist()
        ids, starts = encoded.ids, encoded.word_starts
        return [Tokens(ids[first:end], starts[first:end]) for first, end in itertools.pairwise(ends)]

    def encode_flat(self, texts: Sequence[str], special_in_text: bool = False) -> Encoded:
        """Encode texts into one block of concatenated tokens with the offsets of each text: the fastest form.

        Pieces of a text that were cut before white space and include that white space (`split_sentences`) have
        together the tokens of the whole text.
        """
        if not special_in_text:
            return self._encoder.encode(texts)
        clean = [replace_surrogates(text) for text in texts]
        with library_errors("the tokenizer failed on a text"):
            encodings = self._library.encode_batch(clean, add_special_tokens=False)
        return from_encodings(clean, encodings, self._spelling, self.words)

    def encode_with_offsets(self, texts: Sequence[str]) -> list[TokenSpans]:
        """Encode texts with the character span of each token; the ids are those of `encode_batch`.

        Slower, because every text goes to the library. Raises TokenizerError if it fails.
        """
        clean = [replace_surrogates(text) for text in texts]
        with library_errors("the tokenizer failed on a text"):
            return token_spans(clean, self._plain.encode_batch(clean, add_special_tokens=False))

    @functools.cached_property
    def _plain(self) -> tokenizers.Tokenizer:
        return with_special_as_text(self._library, set(self._special_tokens.values()))

    @functools.cached_property
    def num_separators(self) -> int:
        """Number of [SEP] tokens between two segments: 2 for [CLS] A [SEP] [SEP] B [SEP] (RoBERTa), else 1."""
        return 2 if self._library.num_special_tokens_to_add(True) == 4 else 1

    @property
    def folds_to_dotless_i(self) -> bool:
        """Whether I is lowercased to ı, as in Turkish and Azeri."""
        return "ı" in self.normalized("I")

    def normalized(self, text: str) -> str:
        """Return a text after normalization: in lowercase, for instance."""
        normalizer = self._library.normalizer
        with library_errors("the tokenizer failed on a text"):
            return text if normalizer is None else str(normalizer.normalize_str(text))

    def pre_tokens(self, text: str) -> list[str]:
        """Normalize a text and split it into the pieces that no token crosses, spelled as in the vocabulary."""
        pre_tokenizer = self._library.pre_tokenizer
        with library_errors("the tokenizer failed on a text"):
            normal = self.normalized(text)
            return [normal] if pre_tokenizer is None else [p for p, _ in pre_tokenizer.pre_tokenize_str(normal)]

    def decode(self, ids: ArrayLike, skip_special: bool = False) -> str:
        """Return the text of token ids. Raises TokenizerError for an id outside the vocabulary.

        ids: any shape, flattened; skip_special: leave special tokens out.
        """
        flat = np.asarray(ids, dtype=np.int64).ravel()
        if len(flat) and not 0 <= int(flat.min()) <= int(flat.max()) < self.vocab_size:
            raise TokenizerError(
                f"token ids must be between 0 and {self.vocab_size - 1}, but these go from {flat.min()} to {flat.max()}"
            )
        with library_errors("the tokenizer failed to decode"):
            text = self._library.decode(flat.tolist(), skip_special_tokens=skip_special)
        # These decoders put no space between tokens: a space is one of the text.
        is_exact = (self._json["decoder"] or {}).get("type") in ("Fuse", "ByteLevel")
        return text if is_exact else _without_spaces_between_chinese(text)

    def token(self, id_: int) -> str:
        """Return the token of an id, spelled as in the vocabulary. Raises TokenizerError for an id outside it."""
        if not 0 <= id_ < self.vocab_size:
            raise TokenizerError(f"id {id_} is not in this vocabulary of {self.vocab_size} tokens")
        return self._tokens[id_]

    def id(self, token: str) -> int | None:
        """Return the id of a token, spelled as in the vocabulary, or None if there is none."""
        found: int | None = self._library.token_to_id(token)
        return found

    def id_of(self, token: str) -> int:
        """Return the id of a token. Raises TokenizerError if it is not in the vocabulary."""
        found = self.id(token)
        if found is None:
            raise TokenizerError(f"{token!r} is not in this vocabulary of {self.vocab_size} tokens")
        return found

    def __len__(self) -> int:
        return self.vocab_size

    def __repr__(self) -> str:
        return f"Tokenizer({self.kind}, vocab_size={self.vocab_size}, fingerprint={self.fingerprint[:8]})"

    def __reduce__(self) -> Any:
        # Worker processes get the vocabulary, not the tables of the fast encoder.
        return _rebuild, (self._json, *self._how)

    @property
    def _how(self) -> tuple[dict[str, str], int | None, bool, WordRules]:
        return self._special_tokens, self.max_length, self.token_types, self._recorded_words


def _rebuild(
    tokenizer_json: TokenizerJson,
    special_tokens: dict[str, str],
    max_length: int | None,
    token_types: bool,
    words: WordRules,
) -> Tokenizer:
    library = library_from_json(tokenizer_json, "a tokenizer")
    return Tokenizer(library, special_tokens, max_length, token_types, recorded_words=words)


def _without_spaces_between_chinese(text: str) -> str:
    """Remove the spaces that decoding puts between Chinese characters and punctuation."""
    return text if text.isascii() else _SPACE_BETWEEN_WIDE.sub("", text)
