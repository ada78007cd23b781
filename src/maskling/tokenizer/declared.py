"""What the configuration files of a folder declare: the class of its tokenizer, and its special and added tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tokenizers import AddedToken

from maskling import files
from maskling.errors import TokenizerError
from maskling.tokenizer.library import ROBERTA_SPECIAL_TOKENS, TokenizerJson

Config = Mapping[str, Any]

_MAX_BYTES: Final = 256 << 20  # of a tokenizer.json; the largest published ones have 40 MB
_FLAGS: Final = ("single_word", "lstrip", "rstrip", "normalized")
_EXTRA: Final = ("additional_special_tokens", "extra_special_tokens")


@dataclass(frozen=True)
class ClassDefaults:
    """What a class of transformers supplies where its folder declares nothing.

    special_tokens: the token of each role; two_separators: `<s> A </s></s> B </s>`; mask_lstrip: whether the mask token
    takes the space before it.
    """

    special_tokens: Mapping[str, str] = field(default_factory=dict)
    two_separators: bool = False
    mask_lstrip: bool = False


ROBERTA: Final = ClassDefaults(ROBERTA_SPECIAL_TOKENS, two_separators=True, mask_lstrip=True)
ESM: Final = "EsmTokenizer"

# The classes whose rules are those of BERT, by name without "Fast".
VOCAB_TXT_CLASSES: Final[Mapping[str, ClassDefaults]] = {
    **dict.fromkeys(
        (
            *("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "ConvBertTokenizer", "MobileBertTokenizer"),
            *("SqueezeBertTokenizer", "LayoutLMTokenizer", "LayoutLMv2Tokenizer", "LxmertTokenizer", "RealmTokenizer"),
            *("RetriBertTokenizer", "DPRReaderTokenizer", "DPRContextEncoderTokenizer", "DPRQuestionEncoderTokenizer"),
            *("ErnieTokenizer", "PreTrainedTokenizer", "TokenizersBackend"),
        ),
        ClassDefaults(),
    ),
    "MPNetTokenizer": ClassDefaults(ROBERTA_SPECIAL_TOKENS | {"unk": "[UNK]"}, two_separators=True, mask_lstrip=True),
    ESM: ClassDefaults({"pad": "<pad>", "unk": "<unk>", "cls": "<cls>", "sep": "<eos>", "mask": "<mask>"}),
}
# The classes that split text as GPT-2 does.
VOCAB_JSON_CLASSES: Final[Mapping[str, ClassDefaults]] = {
    **dict.fromkeys(
        ("RobertaTokenizer", "BartTokenizer", "LongformerTokenizer", "LEDTokenizer", "BlenderbotTokenizer"), ROBERTA
    ),
    "DebertaTokenizer": ClassDefaults(mask_lstrip=True),
    **dict.fromkeys(
        ("GPT2Tokenizer", "GPTNeoXTokenizer", "CodeGenTokenizer", "PreTrainedTokenizer", "TokenizersBackend"),
        ClassDefaults(),
    ),
}

# Classes that cut words with a program: no file holds their rules, and a tokenizer.json of theirs has others.
_CUT_BY_CODE: Final = {
    "BertJapaneseTokenizer": "MeCab, Sudachi or Juman++",
    "RoFormerTokenizer": "jieba",
    "CpmTokenizer": "jieba",
    "CpmAntTokenizer": "jieba",
    "DNATokenizer": "a program that makes k-mers",
    "PhobertTokenizer": "a Vietnamese segmenter",
    "XLMTokenizer": "Moses and other programs",
    "FlaubertTokenizer": "Moses",
}
# The class of each model type, for folders whose tokenizer_config.json names none.
_CLASS_OF_TYPE: Final = {
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "roberta": "RobertaTokenizer",
    "bart": "BartTokenizer",
    "longformer": "LongformerTokenizer",
    "led": "LEDTokenizer",
    "mpnet": "MPNetTokenizer",
    "gpt2": "GPT2Tokenizer",
    "deberta": "DebertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
    "mbart": "MBartTokenizer",
    "albert": "AlbertTokenizer",
    "xlnet": "XLNetTokenizer",
    "big_bird": "BigBirdTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "t5": "T5Tokenizer",
    "mt5": "T5Tokenizer",
    "llama": "LlamaTokenizer",
    "esm": ESM,
    "roformer": "RoFormerTokenizer",
    "xlm": "XLMTokenizer",
    "flaubert": "FlaubertTokenizer",
    "phobert": "PhobertTokenizer",
}


@dataclass(frozen=True)
class Declared:
    """What a folder declares about its tokenizer; empty for a file that is given alone.

    class_name: without "Fast"; config: tokenizer_config.json; token_map: special_tokens_map.json; added: tokens with
    their ids from added_tokens.json and `added_tokens_decoder`.
    """

    folder: Path | None = None
    class_name: str | None = None
    config: Config = field(default_factory=dict)
    token_map: Config = field(default_factory=dict)
    added: Mapping[str, int] = field(default_factory=dict)

    @property
    def sources(self) -> list[Config]:
        """The files that name special tokens, the first one preferred."""
        return [self.config, self.token_map]

    def defaults(self, classes: Mapping[str, ClassDefaults], form: str) -> ClassDefaults:
        """Return the defaults of the declared class. form: the file that holds the vocabulary.

        Raises TokenizerError for a class whose rules are not those of any of `classes`.
        """
        if self.class_name is None:
            return ClassDefaults()
        self.check_class(classes, form)
        return classes[self.class_name]

    def check_class(self, classes: Mapping[str, Any], form: str) -> None:
        """Raise TokenizerError if the declared class is not one of `classes`."""
        if self.class_name is not None and self.class_name not in classes:
            raise TokenizerError(
                f"{self.folder} declares the tokenizer class {self.class_name}, whose rules for {form} are not known "
                f"here; give a tokenizer.json that holds them (transformers writes one with "
                f"AutoTokenizer.from_pretrained(...).save_pretrained), or {form} itself if it needs no other rules"
            )

    def name_of(self, role: str, default: str) -> str:
        """Return the token that is declared for a role, under that name only."""
        names = (token_content(source.get(f"{role}_token")) for source in self.sources)
        return next((name for name in names if name), default)

    def extra_tokens(self) -> list[str]:
        """Return the special tokens beyond the five roles, in the order of the files."""
        names: dict[str, None] = {}
        for source in self.sources:
            for key in _EXTRA:
                found = source.get(key)
                values = found.values() if isinstance(found, Mapping) else found if isinstance(found, list) else ()
                names |= {name: None for name in map(token_content, values) if name}
        return list(names)

    def added_token(self, content: str, special: bool, lstrip: bool = False) -> AddedToken:
        """Return a token with its declared flags. special, lstrip: where none are declared."""
        flags: dict[str, Any] = {"lstrip": lstrip, "normalized": False, "special": special}
        for entry in self._entries(content):
            flags |= {name: entry[name] for name in (*_FLAGS, "special") if isinstance(entry.get(name), bool)}
        flags["special"] = bool(special or flags["special"])
        return AddedToken(content, **flags)

    def _entries(self, content: str) -> Iterator[Config]:
        """Yield the objects that describe a token, the decisive one last."""
        for source in reversed(self.sources):
            several = [value for key in _EXTRA for value in _values(source.get(key))]
            for value in [*source.values(), *several]:
                if isinstance(value, Mapping) and value.get("content") == content:
                    yield value
        for value in _values(self.config.get("added_tokens_decoder")):
            if isinstance(value, Mapping) and value.get("content") == content:
                yield value


def read_declared(folder: Path) -> Declared:
    """Read what a folder declares. Raises TokenizerError for damaged files, and for tokenizers that are programs."""
    config, model_config = (read_json(folder / name) for name in ("tokenizer_config.json", "config.json"))
    class_name = config.get("tokenizer_class") or model_config.get("tokenizer_class")
    if not isinstance(class_name, str):
        class_name = _CLASS_OF_TYPE.get(str(model_config.get("model_type")))
    if class_name is not None:
        class_name = class_name.removesuffix("Fast")
    _check_program(folder, config, class_name)
    return Declared(
        folder, class_name, config, read_json(folder / "special_tokens_map.json"), _added_tokens(folder, config)
    )


def _check_program(folder: Path, config: Config, class_name: str | None) -> None:
    advice = (
        "maskling cannot run it: give a tokenizer.json or vocab.txt that holds all of the rules (the file itself, not "
        "the folder), or train a tokenizer on your text with --tokenizer.kind"
    )
    mapped = config.get("auto_map")
    code = mapped.get("AutoTokenizer") if isinstance(mapped, Mapping) else mapped
    if names := [str(name) for name in (code if isinstance(code, list) else [code]) if name]:
        raise TokenizerError(
            f"{folder} declares the tokenizer {class_name or names[0]}, which is program code of its own ({names[0]}); "
            f"{advice}"
        )
    plain = config.get("word_tokenizer_type") == "basic" and config.get("subword_tokenizer_type") == "wordpiece"
    if class_name in _CUT_BY_CODE and not plain:
        raise TokenizerError(
            f"{folder} declares the tokenizer {class_name}, whose words are cut by {_CUT_BY_CODE[class_name]}; {advice}"
        )


def _added_tokens(folder: Path, config: Config) -> dict[str, int]:
    found = {
        str(content): id_ for content, id_ in read_json(folder / "added_tokens.json").items() if isinstance(id_, int)
    }
    decoder = config.get("added_tokens_decoder")
    for id_, value in decoder.items() if isinstance(decoder, Mapping) else ():
        content = token_content(value)
        if content is not None and str(id_).isdecimal():
            found[content] = int(id_)
    return dict(sorted(found.items(), key=lambda item: item[1]))


def token_content(value: Any) -> str | None:
    """Return a token from a configuration file, which writes a string or an object with its content."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None


def read_json(file: Path) -> Config:
    """Return the JSON object in a file, empty if there is no such file. Raises TokenizerError if it is damaged."""
    return json_object(file) if file.is_file() else {}


def json_object(file: Path) -> TokenizerJson:
    """Return the JSON object in a file. Raises TokenizerError if it holds anything else."""
    try:
        value = files.read_json(file, _MAX_BYTES)
    except ValueError as error:
        raise TokenizerError(f"{file} is not JSON: {error}; it is damaged, or not a tokenizer") from None
    except OSError as error:
        raise TokenizerError(f"{file} cannot be read: {error.strerror}") from None
    if not isinstance(value, dict):
        raise TokenizerError(f"{file} holds a JSON {type(value).__name__}, not an object; it is not a tokenizer")
    return value


def _values(value: Any) -> Sequence[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []
