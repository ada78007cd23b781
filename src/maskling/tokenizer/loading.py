"""Tokenizers that exist already: vocab.txt, tokenizer.json, and the folders that hold them."""

from __future__ import annotations

import itertools
import json
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
from maskling.tokenizer import pipeline
from maskling.tokenizer.library import MAX_WORD_CHARACTERS, Tree, find_names, from_tree, guarded, to_tree

_INSIDE: Final = ("tokenizer", "model")
_NAME: Final = re.compile(r"\[.*\]|<.*>")
_BERT_CLASSES: Final = ("BertTokenizer", "BertTokenizerFast")


@dataclass(frozen=True)
class Found:
    """A tokenizer read from disk: the library's object, the token of each special role, and what its folder says."""

    library: tokenizers.Tokenizer
    names: dict[str, str]
    config: Mapping[str, Any]

    @property
    def token_types(self) -> bool:
        """Whether its models take token_type_ids, as far as the tokenizer tells: RoBERTa's do not."""
        return (to_tree(self.library)["post_processor"] or {}).get("type") != "RobertaProcessing"


def read(path: Path) -> Found:
    """Read whatever tokenizer `path` is or holds. Raises TokenizerError if there is none or it cannot be used."""
    if path.is_dir():
        found = _read_folder(path)
    elif path.is_file():
        found = _read_file(path, {})
    else:
        raise TokenizerError(
            f"{path}: there is no such file or folder; give a vocab.txt, a tokenizer.json or a folder that holds one"
        )
    return found


def _read_folder(folder: Path) -> Found:
    config = _read_json(folder / "tokenizer_config.json")
    if (folder / "tokenizer.json").is_file():
        return _read_file(folder / "tokenizer.json", config)
    if (folder / "vocab.txt").is_file():
        return _read_file(folder / "vocab.txt", config)
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        library = _byte_level(folder / "vocab.json", folder / "merges.txt", config)
        return _with_names(library, config, folder)
    for name in _INSIDE:
        if (folder / name).is_dir():
            return _read_folder(folder / name)
    raise TokenizerError(
        f"{folder} holds no tokenizer (tokenizer.json, vocab.txt, or vocab.json with merges.txt, there or in "
        f"'tokenizer' or 'model' inside it); give a folder that holds one"
    )


def _read_file(file: Path, config: Mapping[str, Any]) -> Found:
    if file.suffix == ".json":
        tree = _with_flags(_json_object(file), config)
        return _with_names(from_tree(tree, str(file)), config, file)
    vocabulary = read_vocab(file)
    names = find_names(vocabulary, [config], str(file))
    lowercase = config.get("do_lower_case")
    if not isinstance(lowercase, bool):
        lowercase = looks_uncased(vocabulary)
    strip_accents = config.get("strip_accents")
    if not isinstance(strip_accents, bool):
        # None follows lowercase, as in BERT: right but for a vocabulary of small letters that has accents.
        strip_accents = False if lowercase and "strip_accents" not in config and looks_accented(vocabulary) else None
    split_chinese = config.get("tokenize_chinese_chars") is not False
    library = wordpiece(vocabulary, names, pipeline.bert_normalizer(lowercase, strip_accents, split_chinese))
    return Found(library, names, config)


def read_vocab(file: Path) -> dict[str, int]:
    """vocab.txt as {token: line number from 0}. Raises TokenizerError if it is not such a file.

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
        raise TokenizerError(f"{file} is empty; a vocabulary has one token on each line")
    vocabulary = {token: line for line, token in reversed(list(enumerate(tokens)))}
    if len(vocabulary) < len(tokens):
        token, count = Counter(tokens).most_common(1)[0]
        raise TokenizerError(
            f"{file} has the token {token!r} on {count} lines (first on line {vocabulary[token] + 1}), and "
            f"{len(tokens) - len(vocabulary)} duplicates in all; every line must be another token: mend the file"
        )
    return dict(sorted(vocabulary.items(), key=lambda item: item[1]))


def looks_uncased(vocabulary: Mapping[str, int]) -> bool:
    """True if no token has an upper-case letter: then text must be lower-cased to be found in it.

    Tokens in brackets are names, not text ([CLS], and <S> in BERT's Chinese vocabulary).
    """
    return not any(token != token.lower() for token in vocabulary if not _NAME.fullmatch(token))


def looks_accented(vocabulary: Mapping[str, int]) -> bool:
    """True if some token has an accent, so that accents must not be stripped from the text."""
    marks = (unicodedata.category(c) for token in vocabulary for c in unicodedata.normalize("NFD", token))
    return "Mn" in marks


def wordpiece(vocabulary: Mapping[str, int], names: Mapping[str, str], normalizer: Any) -> tokenizers.Tokenizer:
    """BERT's tokenizer over a vocabulary, as transformers' BertTokenizer builds it."""
    with guarded("this vocabulary cannot be used as WordPiece"):
        library = tokenizers.Tokenizer(
            models.WordPiece(
                vocab=dict(vocabulary),
                unk_token=names["unk"],
                max_input_chars_per_word=MAX_WORD_CHARACTERS,
                continuing_subword_prefix="##",
            )
        )
        library.normalizer = normalizer
        library.pre_tokenizer = pipeline.pre_tokenizer("wordpiece")
        library.decoder = pipeline.decoder("wordpiece")
    return with_specials(library, names)


def with_specials(library: tokenizers.Tokenizer, names: Mapping[str, str]) -> tokenizers.Tokenizer:
    """Mark the special tokens as such, and add the template where there is no post-processor."""
    tree = to_tree(library)
    marked = {token["content"] for token in tree["added_tokens"] if token["special"]}
    library.add_special_tokens([AddedToken(name, normalized=False) for name in names.values() if name not in marked])
    if library.post_processor is None:
        cls, sep = names["cls"], names["sep"]
        ids = library.get_vocab(with_added_tokens=True)
        library.post_processor = pipeline.template(ids[cls], ids[sep], cls, sep)
    return library


def _byte_level(vocab: Path, merges: Path, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    with guarded(f"{vocab} and {merges.name} are not a byte-level BPE"):
        library = tokenizers.Tokenizer(models.BPE.from_file(str(vocab), str(merges)))
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(config.get("add_prefix_space", False)))
        library.decoder = pipeline.decoder("bpe")
    return library


def _with_names(library: tokenizers.Tokenizer, config: Mapping[str, Any], where: Path) -> Found:
    _check_ids(library, where)
    folder = where if where.is_dir() else where.parent
    said = [config, _read_json(folder / "special_tokens_map.json")] if config or where.is_dir() else [config]
    names = find_names(library.get_vocab(with_added_tokens=True), said, str(where))
    with guarded(f"{where} cannot be used"):
        library = with_specials(library, names)
        # The first text finds what the file's own checks did not (a broken pattern, an unknown token out of range).
        library.encode_batch(["A first try: 中文 ünïcödé \U0001f600", ""])
    return Found(library, names, config)


def _with_flags(tree: Tree, config: Mapping[str, Any]) -> Tree:
    """Case and accents as tokenizer_config.json says, where transformers would follow it rather than tokenizer.json."""
    normalizer = tree.get("normalizer")
    if config.get("tokenizer_class") in _BERT_CLASSES and isinstance(normalizer, dict):
        flags = {
            "do_lower_case": "lowercase",
            "strip_accents": "strip_accents",
            "tokenize_chinese_chars": "handle_chinese_chars",
        }
        if normalizer.get("type") == "BertNormalizer":
            changes = {ours: config[theirs] for theirs, ours in flags.items() if theirs in config}
            return {**tree, "normalizer": {**normalizer, **changes}}
    return tree


def _check_ids(library: tokenizers.Tokenizer, where: Path) -> None:
    # Before anything else is asked of the library: it makes a row for every number up to the highest id, and where
    # a file gives a token the id 2**31 that ends the process.
    vocabulary = library.get_vocab(with_added_tokens=True)
    ids = sorted(vocabulary.values())
    if ids != list(range(len(ids))):
        repeated = next((one for one, next_ in itertools.pairwise(ids) if one == next_), None)
        wrong = f"id {repeated} twice" if repeated is not None else f"{len(ids)} tokens but ids up to {ids[-1]}"
        raise TokenizerError(
            f"{where} has {wrong}; the ids must be 0, 1, 2, ... without gaps, because each is a row of the model: "
            f"renumber them, or add placeholders such as [unused0]"
        )


def _read_json(file: Path) -> Mapping[str, Any]:
    return _json_object(file) if file.is_file() else {}


def _json_object(file: Path) -> Tree:
    try:
        value = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{file} is not JSON: {error}; it is damaged, or not a tokenizer") from None
    except OSError as error:
        raise TokenizerError(f"{file} cannot be read: {error.strerror}") from None
    if not isinstance(value, dict):
        raise TokenizerError(f"{file} holds a JSON {type(value).__name__}, not an object; it is not a tokenizer")
    return value
