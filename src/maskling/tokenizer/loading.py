"""Load existing tokenizers: vocab.txt, tokenizer.json, vocab.json with merges.txt, and folders that hold them."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tokenizers
from tokenizers import AddedToken, models, pre_tokenizers

from maskling.errors import TokenizerError
from maskling.files import read_json
from maskling.tokenizer import pipeline
from maskling.tokenizer.library import (
    MAX_WORD_CHARACTERS,
    TokenizerJson,
    find_special_tokens,
    library_errors,
    library_from_json,
    library_to_json,
)

_SUBFOLDERS: Final = ("tokenizer", "model")  # of prepared folders, and of run folders
_BRACKETED: Final = re.compile(r"\[.*\]|<.*>")
_MAX_BYTES: Final = 256 << 20  # of a tokenizer.json; the largest published ones have 40 MB
_BERT_CLASSES: Final = ("BertTokenizer", "BertTokenizerFast")


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer as loaded from disk.

    special_tokens: the token of each special role; config: the content of tokenizer_config.json, or empty.
    """

    library: tokenizers.Tokenizer
    special_tokens: dict[str, str]
    config: Mapping[str, Any]

    @property
    def token_types(self) -> bool:
        """Whether its models take token_type_ids, as far as the tokenizer shows: RoBERTa's do not."""
        return (library_to_json(self.library)["post_processor"] or {}).get("type") != "RobertaProcessing"


def load_tokenizer_files(path: Path) -> LoadedTokenizer:
    """Load the tokenizer from a file or folder. Raises TokenizerError if there is none or it cannot be used."""
    if path.is_dir():
        return _load_folder(path)
    if path.is_file():
        return _load_file(path, {})
    raise TokenizerError(
        f"{path}: there is no such file or folder; give a vocab.txt, a tokenizer.json or a folder that holds one"
    )


def read_vocab(file: Path) -> dict[str, int]:
    """Read vocab.txt as {token: line number, from 0}. Raises TokenizerError if it is not such a file.

    Lines end at "\\n" only: BERT's Chinese vocabulary has U+2028 as a token, where str.splitlines would cut.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TokenizerError(
            f"{file} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    except OSError as error:
        raise TokenizerError(f"{file} cannot be read: {error.strerror}") from None
    tokens = text.split("\n")
    if all(token.endswith("\r") for token in tokens[:-1]):
        tokens = [token.removesuffix("\r") for token in tokens]
    while tokens and not tokens[-1]:
        tokens.pop()
    if not tokens:
        raise TokenizerError(f"{file} is empty; a vocabulary has one token per line")
    vocabulary = {token: line for line, token in reversed(list(enumerate(tokens)))}
    if len(vocabulary) < len(tokens):
        token, count = Counter(tokens).most_common(1)[0]
        raise TokenizerError(
            f"{file} has the token {token!r} on {count} lines (first on line {vocabulary[token] + 1}), and "
            f"{len(tokens) - len(vocabulary)} duplicates in all; every line must be a different token: fix the file"
        )
    return dict(sorted(vocabulary.items(), key=lambda item: item[1]))


def looks_uncased(vocabulary: Mapping[str, int]) -> bool:
    """Return whether no token has an upper-case letter, so that text must be lowercased to be found.

    Tokens in brackets are names, not text ([CLS], and <S> in BERT's Chinese vocabulary).
    """
    return not any(token != token.lower() for token in vocabulary if not _BRACKETED.fullmatch(token))


def looks_accented(vocabulary: Mapping[str, int]) -> bool:
    """Return whether some token has an accent, so that accents must not be stripped from the text."""
    categories = (unicodedata.category(c) for token in vocabulary for c in unicodedata.normalize("NFD", token))
    return "Mn" in categories


def wordpiece(
    vocabulary: Mapping[str, int], special_tokens: Mapping[str, str], normalizer: Any
) -> tokenizers.Tokenizer:
    """Return a WordPiece tokenizer over a vocabulary, as transformers' BertTokenizer builds it."""
    with library_errors("this vocabulary cannot be used as WordPiece"):
        library = tokenizers.Tokenizer(
            models.WordPiece(
                vocab=dict(vocabulary),
                unk_token=special_tokens["unk"],
                max_input_chars_per_word=MAX_WORD_CHARACTERS,
                continuing_subword_prefix="##",
            )
        )
        library.normalizer = normalizer
        library.pre_tokenizer = pipeline.pre_tokenizer("wordpiece")
        library.decoder = pipeline.decoder("wordpiece")
    return with_special_tokens(library, special_tokens)


def with_special_tokens(library: tokenizers.Tokenizer, special_tokens: Mapping[str, str]) -> tokenizers.Tokenizer:
    """Mark the special tokens as special, in place; add the [CLS] A [SEP] template if there is no post-processor."""
    marked = {token["content"] for token in library_to_json(library)["added_tokens"] if token["special"]}
    missing = [token for token in special_tokens.values() if token not in marked]
    library.add_special_tokens([AddedToken(token, normalized=False) for token in missing])
    if library.post_processor is None:
        cls, sep = special_tokens["cls"], special_tokens["sep"]
        ids = library.get_vocab(with_added_tokens=True)
        library.post_processor = pipeline.template(ids[cls], ids[sep], cls, sep)
    return library


def _load_folder(folder: Path) -> LoadedTokenizer:
    config = _read_json(folder / "tokenizer_config.json")
    if (folder / "tokenizer.json").is_file():
        return _load_file(folder / "tokenizer.json", config)
    if (folder / "vocab.txt").is_file():
        return _load_file(folder / "vocab.txt", config)
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _checked(_byte_level(folder / "vocab.json", folder / "merges.txt", config), config, folder)
    for name in _SUBFOLDERS:
        if (folder / name).is_dir():
            return _load_folder(folder / name)
    raise TokenizerError(
        f"{folder} holds no tokenizer (tokenizer.json, vocab.txt, or vocab.json with merges.txt, directly or in its "
        f"subfolder 'tokenizer' or 'model'); give a folder that holds one"
    )


def _load_file(file: Path, config: Mapping[str, Any]) -> LoadedTokenizer:
    if file.suffix == ".json":
        tokenizer_json = _with_flags(_json_object(file), config)
        return _checked(library_from_json(tokenizer_json, str(file)), config, file)
    vocabulary = read_vocab(file)
    special_tokens = find_special_tokens(vocabulary, [config], str(file))
    lowercase = config.get("do_lower_case")
    if not isinstance(lowercase, bool):
        lowercase = looks_uncased(vocabulary)
    strip_accents = config.get("strip_accents")
    if not isinstance(strip_accents, bool):
        # None follows lowercase, as in BERT; wrong only for a lower-case vocabulary that has accents.
        strip_accents = False if lowercase and "strip_accents" not in config and looks_accented(vocabulary) else None
    split_chinese = config.get("tokenize_chinese_chars") is not False
    library = wordpiece(vocabulary, special_tokens, pipeline.bert_normalizer(lowercase, strip_accents, split_chinese))
    return LoadedTokenizer(library, special_tokens, config)


def _byte_level(vocab: Path, merges: Path, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    with library_errors(f"{vocab} and {merges.name} are not a byte-level BPE"):
        library = tokenizers.Tokenizer(models.BPE.from_file(str(vocab), str(merges)))
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(config.get("add_prefix_space", False)))
        library.decoder = pipeline.decoder("bpe")
    return library


def _with_flags(tokenizer_json: TokenizerJson, config: Mapping[str, Any]) -> TokenizerJson:
    """Apply the flags of tokenizer_config.json (case, accents) where transformers prefers them to tokenizer.json."""
    normalizer = tokenizer_json.get("normalizer")
    if config.get("tokenizer_class") in _BERT_CLASSES and isinstance(normalizer, dict):
        flags = {
            "do_lower_case": "lowercase",
            "strip_accents": "strip_accents",
            "tokenize_chinese_chars": "handle_chinese_chars",
        }
        if normalizer.get("type") == "BertNormalizer":
            changes = {ours: config[theirs] for theirs, ours in flags.items() if theirs in config}
            return {**tokenizer_json, "normalizer": {**normalizer, **changes}}
    return tokenizer_json


def _checked(library: tokenizers.Tokenizer, config: Mapping[str, Any], where: Path) -> LoadedTokenizer:
    """Check the ids, find the special tokens, and encode a first text. Raises TokenizerError naming `where`."""
    _check_ids(library, where)
    folder = where if where.is_dir() else where.parent
    configs = [config, _read_json(folder / "special_tokens_map.json")] if config or where.is_dir() else [config]
    special_tokens = find_special_tokens(library.get_vocab(with_added_tokens=True), configs, str(where))
    with library_errors(f"{where} cannot be used"):
        library = with_special_tokens(library, special_tokens)
        # Encoding finds what the checks of the file did not (a broken pattern, an unknown token out of range).
        library.encode_batch(["A first try: 中文 ünïcödé \U0001f600", ""])
    return LoadedTokenizer(library, special_tokens, config)


def _check_ids(library: tokenizers.Tokenizer, where: Path) -> None:
    # Must be the first check: the library makes a row for every id up to the highest, so an id of 2**31 in the file
    # would end the process.
    vocabulary = library.get_vocab(with_added_tokens=True)
    ids = sorted(vocabulary.values())
    if ids != list(range(len(ids))):
        repeated = next((one for one, next_ in itertools.pairwise(ids) if one == next_), None)
        wrong = f"id {repeated} twice" if repeated is not None else f"{len(ids)} tokens but ids up to {ids[-1]}"
        raise TokenizerError(
            f"{where} has {wrong}; the ids must be 0, 1, 2, ... without gaps, because each is a row of the model's "
            f"embedding: renumber them, or add placeholders such as [unused0]"
        )


def _read_json(file: Path) -> Mapping[str, Any]:
    return _json_object(file) if file.is_file() else {}


def _json_object(file: Path) -> TokenizerJson:
    try:
        value = read_json(file, _MAX_BYTES)
    except ValueError as error:
        raise TokenizerError(f"{file} is not JSON: {error}; it is damaged, or not a tokenizer") from None
    except OSError as error:
        raise TokenizerError(f"{file} cannot be read: {error.strerror}") from None
    if not isinstance(value, dict):
        raise TokenizerError(f"{file} holds a JSON {type(value).__name__}, not an object; it is not a tokenizer")
    return value
