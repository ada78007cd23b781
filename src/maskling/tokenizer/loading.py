"""Load existing tokenizers: tokenizer.json, vocab.txt, vocab.json with merges.txt, SentencePiece models, and folders.

In a folder tokenizer.json wins: it holds every rule. The others are completed by what the folder declares (`declared`)
and by the rules of the class that is named there.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tokenizers
from tokenizers import AddedToken, Regex, models, pre_tokenizers, processors

from maskling.adapters import base_folder, is_adapter
from maskling.errors import TokenizerError
from maskling.files import read_bounded
from maskling.tokenizer import older, pipeline
from maskling.tokenizer.declared import (
    ESM,
    ROBERTA,
    VOCAB_JSON_CLASSES,
    VOCAB_TXT_CLASSES,
    ClassDefaults,
    Declared,
    json_object,
    read_declared,
)
from maskling.tokenizer.library import (
    BERT_SPECIAL_TOKENS,
    MAX_WORD_CHARACTERS,
    ROBERTA_SPECIAL_TOKENS,
    TokenizerJson,
    library_errors,
    library_from_json,
    library_to_json,
)
from maskling.tokenizer.sentencepiece_file import MODEL_NAMES
from maskling.tokenizer.special_tokens import complete_special_tokens, set_template

_MAX_VOCAB_BYTES: Final = 64 << 20
_SUBFOLDERS: Final = ("tokenizer", "model")  # of prepared folders, and of run folders
_MODEL_SUFFIXES: Final = (".model", ".spm", ".gguf", ".tiktoken")
_NOT_READ: Final = {
    "*.gguf": "a GGUF file, and the tokenizer inside it is not read",
    "*.tiktoken": "a tiktoken vocabulary, which does not hold the rules that split the text",
    "tekken.json": "a tekken vocabulary, which is not read",
    "vocab.json": "a vocabulary without its merges.txt",
}
_BRACKETED: Final = re.compile(r"\[.*\]|<.*>")
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
        processor = library_to_json(self.library)["post_processor"] or {}
        pair = processor.get("pair")
        if not isinstance(pair, list):
            return processor.get("type") != "RobertaProcessing"
        return any(part["type_id"] for entry in pair for part in entry.values())


def load_tokenizer_files(path: Path, add_missing: bool = False) -> LoadedTokenizer:
    """Load the tokenizer from a file or folder. Raises TokenizerError if there is none or it cannot be used.

    add_missing: add the special tokens that masked language modelling needs and the tokenizer lacks.
    """
    if path.is_dir():
        files = ("tokenizer.json", "vocab.txt", "vocab.json", *MODEL_NAMES)
        if is_adapter(path) and not any((path / name).is_file() for name in files):
            path = base_folder(path)
        return _load_folder(path, add_missing)
    if path.is_file():
        return _load_file(path, add_missing)
    raise TokenizerError(
        f"{path}: there is no such file or folder; give a vocab.txt, a tokenizer.json, a SentencePiece model or a "
        f"folder that holds one"
    )


def read_vocab(file: Path) -> dict[str, int]:
    """Read vocab.txt as {token: line number, from 0}. Raises TokenizerError if it is not such a file.

    Lines end at "\\n" only: BERT's Chinese vocabulary has U+2028 as a token, where str.splitlines would cut.
    """
    try:
        text = read_bounded(file, _MAX_VOCAB_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TokenizerError(
            f"{file} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    except ValueError as error:
        raise TokenizerError(f"{file} is not a vocabulary: {error}") from None
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
    return with_special_tokens(_wordpiece(vocabulary, special_tokens["unk"], normalizer), special_tokens)


def with_special_tokens(
    library: tokenizers.Tokenizer,
    special_tokens: Mapping[str, str],
    others: Sequence[str] = (),
    mask_takes_space: bool = False,
) -> tokenizers.Tokenizer:
    """Mark special tokens as special, in place; add the [CLS] A [SEP] template if there is no post-processor.

    special_tokens: the token of each role; others: further special tokens; mask_takes_space: the space before a mask
    belongs to it, as in RoBERTa.
    """
    marked = {token["content"] for token in library_to_json(library)["added_tokens"] if token["special"]}
    missing = [token for token in [*special_tokens.values(), *others] if token not in marked]
    mask = special_tokens["mask"]
    library.add_special_tokens(
        [AddedToken(token, normalized=False, lstrip=mask_takes_space and token == mask) for token in missing]
    )
    if library.post_processor is None:
        cls, sep = special_tokens["cls"], special_tokens["sep"]
        ids = library.get_vocab(with_added_tokens=True)
        library.post_processor = pipeline.template(ids[cls], ids[sep], cls, sep)
    return library


def _load_folder(folder: Path, add_missing: bool) -> LoadedTokenizer:
    declared = read_declared(folder)
    if (folder / "tokenizer.json").is_file():
        return _load_json(folder / "tokenizer.json", declared, add_missing)
    model = next((folder / name for name in MODEL_NAMES if (folder / name).is_file()), None)
    if model is not None:
        from maskling.tokenizer.from_sentencepiece import LAYOUTS

        if declared.class_name in LAYOUTS or not (folder / "vocab.txt").is_file():
            return _load_model(model, declared, add_missing)
    if (folder / "vocab.txt").is_file():
        return _load_vocab(folder / "vocab.txt", declared, add_missing)
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _load_byte_level(folder, declared, add_missing)
    for name in _SUBFOLDERS:
        if (folder / name).is_dir():
            return _load_folder(folder / name, add_missing)
    for pattern, reason in _NOT_READ.items():
        if (found := next(folder.glob(pattern), None)) is not None:
            raise TokenizerError(f"{found} is {reason}; give a tokenizer.json of the same model")
    raise TokenizerError(
        f"{folder} holds no tokenizer (tokenizer.json, vocab.txt, vocab.json with merges.txt, or a SentencePiece "
        f"model: {', '.join(MODEL_NAMES)}; directly or in its subfolder 'tokenizer' or 'model'); give a folder that "
        f"holds one"
    )


def _load_file(file: Path, add_missing: bool) -> LoadedTokenizer:
    if file.suffix == ".json":
        return _load_json(file, Declared(), add_missing)
    if file.suffix in _MODEL_SUFFIXES:
        return _load_model(file, Declared(), add_missing)
    return _load_vocab(file, Declared(), add_missing)


def _load_json(file: Path, declared: Declared, add_missing: bool) -> LoadedTokenizer:
    library = library_from_json(_with_flags(json_object(file), declared.config), str(file))
    return _checked(library, declared, ClassDefaults(), file, add_missing)


def _load_model(file: Path, declared: Declared, add_missing: bool) -> LoadedTokenizer:
    from maskling.tokenizer.from_sentencepiece import LAYOUTS, load_sentencepiece

    declared.check_class(LAYOUTS, file.name)
    converted = load_sentencepiece(file, declared.class_name, declared.config)
    library = converted.library
    library.add_special_tokens([declared.added_token(name, special=True) for name in converted.control])
    return _checked(_with_declared_tokens(library, declared, file), declared, converted.defaults, file, add_missing)


def _load_vocab(file: Path, declared: Declared, add_missing: bool) -> LoadedTokenizer:
    vocabulary, config = read_vocab(file), declared.config
    defaults = declared.defaults(VOCAB_TXT_CLASSES, "vocab.txt")
    unk = next((name for name in _unknown_names(declared, defaults) if name in vocabulary), BERT_SPECIAL_TOKENS["unk"])
    if declared.class_name == ESM:
        library = _token_by_token(vocabulary, unk, [*defaults.special_tokens.values()])
    else:
        lowercase = config.get("do_lower_case")
        if not isinstance(lowercase, bool):
            lowercase = looks_uncased(vocabulary)
        strip_accents = config.get("strip_accents")
        if not isinstance(strip_accents, bool):
            # None follows lowercase, as in BERT; wrong only for a lower-case vocabulary that has accents.
            has_accents = lowercase and "strip_accents" not in config and looks_accented(vocabulary)
            strip_accents = False if has_accents else None
        split_chinese = config.get("tokenize_chinese_chars") is not False
        library = _wordpiece(vocabulary, unk, pipeline.bert_normalizer(lowercase, strip_accents, split_chinese))
    return _checked(_with_declared_tokens(library, declared, file), declared, defaults, file, add_missing)


def _load_byte_level(folder: Path, declared: Declared, add_missing: bool) -> LoadedTokenizer:
    vocab, merges = folder / "vocab.json", folder / "merges.txt"
    defaults = declared.defaults(VOCAB_JSON_CLASSES, "vocab.json with merges.txt")
    with library_errors(f"{vocab} and {merges.name} are not a byte-level BPE"):
        library = tokenizers.Tokenizer(models.BPE.from_file(str(vocab), str(merges)))
        spaced = declared.config.get("add_prefix_space") is True
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
        library.decoder = pipeline.decoder("bpe")
        if declared.class_name is None and set(ROBERTA.special_tokens.values()) <= library.get_vocab().keys():
            defaults = ROBERTA
        if defaults.two_separators:
            ids = library.get_vocab()
            sep, cls = declared.name_of("sep", "</s>"), declared.name_of("cls", "<s>")
            library.post_processor = processors.RobertaProcessing(
                (sep, ids[sep]), (cls, ids[cls]), trim_offsets=True, add_prefix_space=spaced
            )
    return _checked(_with_declared_tokens(library, declared, folder), declared, defaults, folder, add_missing)


def _wordpiece(vocabulary: Mapping[str, int], unk: str, normalizer: Any) -> tokenizers.Tokenizer:
    with library_errors("this vocabulary cannot be used as WordPiece"):
        library = tokenizers.Tokenizer(
            models.WordPiece(
                vocab=dict(vocabulary),
                unk_token=unk,
                max_input_chars_per_word=MAX_WORD_CHARACTERS,
                continuing_subword_prefix="##",
            )
        )
        library.normalizer = normalizer
        library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        library.decoder = pipeline.decoder("wordpiece")
    return library


def _unknown_names(declared: Declared, defaults: ClassDefaults) -> list[str]:
    own = [declared.name_of("unk", ""), defaults.special_tokens.get("unk", "")]
    return [*own, BERT_SPECIAL_TOKENS["unk"], ROBERTA_SPECIAL_TOKENS["unk"]]


def _token_by_token(vocabulary: Mapping[str, int], unk: str, special: Sequence[str]) -> tokenizers.Tokenizer:
    """Return a tokenizer that takes the longest token at each place, as EsmTokenizer does; the rest is unknown."""
    pattern = _longest_first([token for token in vocabulary if token not in special])
    with library_errors("this vocabulary cannot be used token by token"):
        library = tokenizers.Tokenizer(models.WordLevel(vocab=dict(vocabulary), unk_token=unk))
        library.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.WhitespaceSplit()]
        )
    return library


def _longest_first(tokens: Iterable[str]) -> str:
    """Return a regular expression that matches the longest of some tokens, as a tree of their characters.

    A plain list of alternatives tries each of them at each place: a minute per megabyte for DNA's 4,096 6-mers.
    """
    tree: dict[str, Any] = {}
    for token in tokens:
        at = tree
        for character in token:
            at = at.setdefault(character, {})
        at[""] = {}

    def pattern(node: dict[str, Any]) -> str:
        rest = [re.escape(character) + pattern(below) for character, below in node.items() if character]
        if not rest:
            return ""
        return f"(?:{'|'.join(rest)})" + ("?" if "" in node else "")

    return pattern(tree)


def _with_declared_tokens(library: tokenizers.Tokenizer, declared: Declared, where: Path) -> tokenizers.Tokenizer:
    """Add the tokens that a folder declares beside its vocabulary, in place. Raises TokenizerError for wrong ids."""
    vocabulary = library.get_vocab(with_added_tokens=True)
    extra = declared.extra_tokens()
    for content, id_ in declared.added.items():
        new = content not in vocabulary
        library.add_tokens([declared.added_token(content, special=content in extra)])
        if new and library.token_to_id(content) != id_:
            raise TokenizerError(
                f"{where.parent if where.is_file() else where} declares the id {id_:,} for the added token "
                f"{content!r}, but it would be {library.token_to_id(content):,}; a part of the vocabulary is missing"
            )
    library.add_special_tokens(
        [declared.added_token(name, special=True) for name in extra if name not in declared.added]
    )
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


def _checked(
    library: tokenizers.Tokenizer, declared: Declared, defaults: ClassDefaults, where: Path, add_missing: bool
) -> LoadedTokenizer:
    """Check the ids, find the special tokens, and encode a first text. Raises TokenizerError naming `where`."""
    _check_ids(library, where)
    with library_errors(f"{where} cannot be used"):
        library, special_tokens = complete_special_tokens(library, declared, defaults, str(where), add_missing)
        set_template(library, special_tokens, defaults.two_separators)
        tokenizer_json = library_to_json(library)
        if (mended := older.mended(tokenizer_json)) is not tokenizer_json:
            library = library_from_json(mended, str(where))
        # Encoding finds what the checks of the file did not (a broken pattern, an unknown token out of range).
        library.encode_batch(["A first try: 中文 ünïcödé \U0001f600", ""])
    return LoadedTokenizer(library, special_tokens, declared.config)


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
