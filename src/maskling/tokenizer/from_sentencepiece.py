"""Build the library's tokenizer from a SentencePiece model, with the ids that the classes of transformers give it.

The text is normalized and split as the model's own flags say, so that the ids are those of `sentencepiece` itself. Some
published models have other ids than their `.model` file: fairseq's (XLM-R, CamemBERT, mBART) put their own special
tokens first and shift the rest, T5 appends its sentinels. `LAYOUTS` has these by the name of the class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from maskling.errors import TokenizerError
from maskling.tokenizer.declared import ROBERTA, ClassDefaults, Config
from maskling.tokenizer.library import ROBERTA_SPECIAL_TOKENS, library_errors
from maskling.tokenizer.sentencepiece_file import (
    BPE,
    CHAR,
    CONTROL,
    NORMAL,
    SPACE,
    UNIGRAM,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    WORD,
    Piece,
    SentencePieceModel,
    read_model,
)

Vocabulary = list[tuple[str, float]]

_UNREACHABLE: Final = -100.0  # the score that transformers gives to pieces that should not be used
_MBART_LANGUAGES: Final = (
    *("ar_AR", "cs_CZ", "de_DE", "en_XX", "es_XX", "et_EE", "fi_FI", "fr_XX", "gu_IN", "hi_IN", "it_IT", "ja_XX"),
    *("kk_KZ", "ko_KR", "lt_LT", "lv_LV", "my_MM", "ne_NP", "nl_XX", "ro_RO", "ru_RU", "si_LK", "tr_TR", "vi_VN"),
    "zh_CN",
)
_MBART50_LANGUAGES: Final = (
    *_MBART_LANGUAGES,
    *("af_ZA", "az_AZ", "bn_IN", "fa_IR", "he_IL", "hr_HR", "id_ID", "ka_GE", "km_KH", "mk_MK", "ml_IN", "mn_MN"),
    *("mr_IN", "pl_PL", "ps_AF", "pt_XX", "sv_SE", "sw_KE", "ta_IN", "te_IN", "th_TH", "tl_XX", "uk_UA", "ur_PK"),
    *("xh_ZA", "gl_ES", "sl_SI"),
)
_NO_DEFAULTS: Final = ClassDefaults()
_DIGIT_COMMA: Final = re.compile(r".*\d,", re.DOTALL)


@dataclass(frozen=True)
class Layout:
    """How a class of transformers arranges the pieces of its model.

    head: tokens in the place of the first `skipped` pieces; tail: tokens after the last piece, from the content of
    tokenizer_config.json; defaults: of the class; changes: normalizers before the model's own; avoids_digit_comma:
    whether pieces such as "1," are split.
    """

    head: tuple[tuple[str, float], ...] = ()
    skipped: int = 0
    tail: Callable[[Config], Sequence[str]] = lambda _: ()
    defaults: ClassDefaults = _NO_DEFAULTS
    changes: Callable[[Config], list[Any]] = lambda _: []
    avoids_digit_comma: bool = False


@dataclass(frozen=True)
class Converted:
    """A library tokenizer without special tokens. control: tokens that stand for no text, such as <s>."""

    library: tokenizers.Tokenizer
    control: tuple[str, ...]
    defaults: ClassDefaults


def load_sentencepiece(file: Path, class_name: str | None, config: Config) -> Converted:
    """Read a SentencePiece model as the class of transformers does.

    class_name: without "Fast"; None keeps the ids of the file. config: the content of tokenizer_config.json.
    Raises TokenizerError for a damaged file, and for a model that the library cannot reproduce.
    """
    model = read_model(file)
    _check_supported(model, file)
    layout = LAYOUTS[class_name] if class_name is not None else Layout()
    tail = layout.tail(config)
    kept = model.pieces[layout.skipped :]
    vocabulary = [
        *layout.head,
        *((piece.text, _score(piece, layout)) for piece in kept),
        *((name, 0.0) for name in tail),
    ]
    if len(dict(vocabulary)) < len(vocabulary):
        raise TokenizerError(f"{file} holds a token that {class_name} adds itself; it is not a model of this class")
    with library_errors(f"{file} cannot be used"):
        library = tokenizers.Tokenizer(_model(model, vocabulary, layout))
        library.normalizer = normalizers.Sequence([*layout.changes(config), *_normalizers(model)])
        steps = _pre_tokenizers(model, config)
        if steps:
            library.pre_tokenizer = pre_tokenizers.Sequence(steps)
        library.decoder = _decoder(model)
        library.add_tokens([AddedToken(text, normalized=False) for text in _changed_by_charsmap(model)])
    added = [name for name, _ in layout.head] + list(tail)
    control = [piece.text for piece in kept if piece.kind in (CONTROL, UNKNOWN)]
    return Converted(library, (*added, *control), layout.defaults)


def _check_supported(model: SentencePieceModel, file: Path) -> None:
    unsupported = {
        "of type WORD": model.model_type == WORD,
        "with treat_whitespace_as_suffix": model.treat_whitespace_as_suffix,
        "with escape_whitespaces=false": not model.escape_whitespaces,
        "with unused pieces": any(piece.kind == UNUSED for piece in model.pieces),
        f"of type {model.model_type}": model.model_type not in (UNIGRAM, BPE, WORD, CHAR),
    }
    if reason := next((reason for reason, found in unsupported.items() if found), None):
        raise TokenizerError(
            f"{file} is a SentencePiece model {reason}, which is not read; train another tokenizer on your text with "
            f"--tokenizer.kind unigram"
        )


def _score(piece: Piece, layout: Layout) -> float:
    # ALBERT and XLNet split a comma from the digits before it.
    return piece.score + _UNREACHABLE * (layout.avoids_digit_comma and bool(_DIGIT_COMMA.fullmatch(piece.text)))


def _model(model: SentencePieceModel, vocabulary: Vocabulary, layout: Layout) -> Any:
    unk_id = model.unk_id
    if unk_id < layout.skipped:
        unk_id = next(
            index for index, (name, _) in enumerate(layout.head) if name == layout.defaults.special_tokens["unk"]
        )
    else:
        unk_id += len(layout.head) - layout.skipped
    if model.model_type == UNIGRAM:
        return models.Unigram(vocabulary, unk_id=unk_id, byte_fallback=model.byte_fallback)
    return models.BPE(
        vocab={token: id_ for id_, (token, _) in enumerate(vocabulary)},
        merges=_merges(model),
        unk_token=vocabulary[unk_id][0],
        fuse_unk=True,
        byte_fallback=model.byte_fallback,
        # User-defined pieces are split off whole and have no merges.
        ignore_merges=bool(_user_defined(model)),
    )


def _merges(model: SentencePieceModel) -> list[tuple[str, str]]:
    """Return the pairs of pieces that make another piece, in the order in which SentencePiece merges them."""
    if model.model_type == CHAR:
        return []
    scores = {piece.text: piece.score for piece in model.pieces if piece.kind == NORMAL}
    merges = [
        (-score, index, text[:cut], text[cut:])
        for index, (text, score) in enumerate(scores.items())
        for cut in range(1, len(text))
        if text[:cut] in scores and text[cut:] in scores
    ]
    return [(left, right) for _, _, left, right in sorted(merges)]


def _user_defined(model: SentencePieceModel) -> list[str]:
    return [piece.text for piece in model.pieces if piece.kind == USER_DEFINED]


def _changed_by_charsmap(model: SentencePieceModel) -> list[str]:
    """Return the user-defined pieces that the charsmap would change; SentencePiece takes them before it."""
    if not model.precompiled_charsmap:
        return []
    charsmap = normalizers.Precompiled(model.precompiled_charsmap)
    return [text for text in _user_defined(model) if charsmap.normalize_str(text) != text]


def _normalizers(model: SentencePieceModel) -> list[Any]:
    steps: list[Any] = []
    if model.precompiled_charsmap:
        charsmap = normalizers.Precompiled(model.precompiled_charsmap)
        # The library looks up at most five bytes together, which a Korean syllable of three jamo exceeds. A charsmap
        # that composes gives the same for composed text.
        if charsmap.normalize_str("e\u0301") == "é":
            steps.append(normalizers.NFC())
        steps.append(charsmap)
    if model.remove_extra_whitespaces:
        # Spaces only: without a charsmap SentencePiece leaves other white space, such as line ends, alone.
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    steps.append(normalizers.Replace(" ", SPACE))
    if model.add_dummy_prefix:
        # Metaspace puts no prefix before a text that begins with "▁"; SentencePiece always does.
        steps.append(normalizers.Replace(Regex(rf"\A{SPACE}"), 2 * SPACE))
    return steps


def _pre_tokenizers(model: SentencePieceModel, config: Config) -> list[Any]:
    steps: list[Any] = []
    if config.get("split_by_punct") is True:
        steps.append(pre_tokenizers.Punctuation("isolated"))
    if model.add_dummy_prefix:
        steps.append(pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=False))
    if own := _user_defined(model):
        pattern = "|".join(re.escape(text) for text in sorted(own, key=len, reverse=True))
        steps.append(pre_tokenizers.Split(Regex(pattern), behavior="isolated"))
    if _splits_at_spaces(model):
        # No piece crosses a word, so the library can encode and remember word by word; the ids are the same.
        steps.append(pre_tokenizers.Split(SPACE, behavior="merged_with_next"))
    return steps


def _splits_at_spaces(model: SentencePieceModel) -> bool:
    """Return whether every piece has "▁" at its start only, and "▁" alone is known."""
    texts = [piece.text for piece in model.pieces if piece.kind in (NORMAL, USER_DEFINED)]
    return SPACE in texts and not any(SPACE in text[1:] for text in texts)


def _decoder(model: SentencePieceModel) -> Any:
    if not model.byte_fallback:
        return decoders.Metaspace(
            replacement=SPACE, prepend_scheme="always" if model.add_dummy_prefix else "never", split=False
        )
    steps: list[Any] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*steps, *([decoders.Strip(content=" ", left=1)] if model.add_dummy_prefix else [])])


def _albert_changes(config: Config) -> list[Any]:
    """Return the normalizers of ALBERT's class: quotes, then accents and case by its flags."""
    steps: list[Any] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if config.get("keep_accents", False) is not True:
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if config.get("do_lower_case", True) is not False:
        steps.append(normalizers.Lowercase())
    return steps


def _xlnet_changes(config: Config) -> list[Any]:
    return _albert_changes({"do_lower_case": False, **config})


def _deberta_changes(config: Config) -> list[Any]:
    return [*([normalizers.Lowercase()] if config.get("do_lower_case") is True else []), normalizers.Strip()]


def _sentinels(config: Config) -> list[str]:
    count = config.get("extra_ids", 100)
    return [f"<extra_id_{index}>" for index in reversed(range(count if isinstance(count, int) else 100))]


_FAIRSEQ_HEAD: Final = (("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0))
_CAMEMBERT_HEAD: Final = (
    *(("<s>NOTUSED", 0.0), ("<pad>", 0.0), ("</s>NOTUSED", 0.0), ("<unk>", 0.0)),
    ("<unk>NOTUSED", _UNREACHABLE),
)
_ALBERT: Final = ClassDefaults(
    {"pad": "<pad>", "unk": "<unk>", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}, mask_lstrip=True
)
_XLNET: Final = ClassDefaults(ROBERTA_SPECIAL_TOKENS | {"cls": "<cls>", "sep": "<sep>"}, mask_lstrip=True)

# By the name of the class in transformers, without "Fast".
LAYOUTS: Final[Mapping[str, Layout]] = {
    "XLMRobertaTokenizer": Layout(_FAIRSEQ_HEAD, 3, lambda _: ["<mask>"], ROBERTA),
    "CamembertTokenizer": Layout(_CAMEMBERT_HEAD, 1, lambda _: ["<mask>"], ROBERTA),
    "MBartTokenizer": Layout(_FAIRSEQ_HEAD, 3, lambda _: [*_MBART_LANGUAGES, "<mask>"], ROBERTA),
    "MBart50Tokenizer": Layout(_FAIRSEQ_HEAD, 3, lambda _: [*_MBART50_LANGUAGES, "<mask>"], ROBERTA),
    "AlbertTokenizer": Layout(defaults=_ALBERT, changes=_albert_changes, avoids_digit_comma=True),
    "XLNetTokenizer": Layout(defaults=_XLNET, changes=_xlnet_changes, avoids_digit_comma=True),
    "BigBirdTokenizer": Layout(defaults=_ALBERT),
    "DebertaV2Tokenizer": Layout(tail=lambda _: ["[MASK]"], changes=_deberta_changes),
    "T5Tokenizer": Layout(tail=_sentinels, defaults=ClassDefaults({"sep": "</s>"})),
    **dict.fromkeys(
        ("LlamaTokenizer", "GemmaTokenizer", "ReformerTokenizer", "PreTrainedTokenizer", "TokenizersBackend"), Layout()
    ),
}
