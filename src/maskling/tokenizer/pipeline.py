"""What happens to text before the vocabulary sees it, for each kind that is trained here."""

from __future__ import annotations

from typing import Any

from tokenizers import Regex, decoders, normalizers, pre_tokenizers, processors

from maskling.tokenizer.library import BERT_NAMES
from maskling.tokenizer.settings import TokenizerSettings

# A mark of punctuation is a piece of its own, with the space before it if there is one.
_UNIGRAM_PIECE = r"▁?[\p{P}$+<=>^`|~]"


def normalizer(settings: TokenizerSettings) -> Any:
    """BERT's own for WordPiece; composed Unicode, with case and accents as asked, for the others."""
    if settings.kind == "wordpiece":
        return bert_normalizer(settings.lowercase, settings.strip_accents, settings.split_chinese)
    steps: list[Any] = [normalizers.Lowercase()] if settings.lowercase else []
    if settings.strips_accents:
        steps += [normalizers.NFD(), normalizers.StripAccents()]
    return normalizers.Sequence([*steps, normalizers.NFC()])


def bert_normalizer(lowercase: bool, strip_accents: bool | None, split_chinese: bool) -> Any:
    """What `BertTokenizer` of transformers builds from its three flags."""
    return normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=split_chinese, strip_accents=strip_accents, lowercase=lowercase
    )


def pre_tokenizer(kind: str) -> Any:
    """What cuts a text into the pieces that tokens never cross."""
    if kind == "wordpiece":
        return pre_tokenizers.BertPreTokenizer()
    if kind == "bpe":
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=False),
            pre_tokenizers.Split(Regex(_UNIGRAM_PIECE), behavior="isolated"),
        ]
    )


def decoder(kind: str) -> Any:
    """What puts tokens together again."""
    if kind == "wordpiece":
        return decoders.WordPiece(prefix="##")
    if kind == "bpe":
        return decoders.ByteLevel()
    return decoders.Metaspace(replacement="▁", prepend_scheme="always", split=False)


def template(cls_id: int, sep_id: int, cls: str = BERT_NAMES["cls"], sep: str = BERT_NAMES["sep"]) -> Any:
    """[CLS] A [SEP] B [SEP], with token types 0 and 1."""
    return processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, cls_id), (sep, sep_id)],
    )
