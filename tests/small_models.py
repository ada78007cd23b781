"""Vocabularies and models small enough to hold in the head, and large enough to disagree with a wrong answer."""

from __future__ import annotations

import json
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from maskling.model.build import build_masked_lm
from maskling.model.config import BertConfig, ModelConfig, ModernConfig
from maskling.model.masked_lm import MaskedLM
from maskling.tokenizer.tokenizer import Tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "a", "gift", "so", "in", "of", "paris", "sees"]
PLAIN = [*WORDS, ",", ".", "!", "?"]
PARTS = ["##uven", "##ir", "##s", "##ing", "##ed", "##fox"]
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
VOCABULARY = [*SPECIAL, "[unused0]", *PLAIN, *PARTS, *(letter for letter in LETTERS if letter not in PLAIN)]

PROSE = """The quick brown fox jumps over the lazy dog. The lazy dog sees the quick brown fox, the fox hears the dog.
A souvenir of Paris is a gift. Is the fox jumping over a gift? The foxes and the dogs jumped over the brown gifts.
"""


def wordpiece(folder: Path) -> Tokenizer:
    """An uncased WordPiece vocabulary of some sixty tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return Tokenizer.load(folder / "vocab.txt")


def byte_level(folder: Path) -> Tokenizer:
    """RoBERTa's kind: byte-level BPE, a mask that takes the space before it along."""
    folder.mkdir(parents=True, exist_ok=True)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator([PROSE] * 5, trainer)
    library.add_special_tokens([tokenizers.AddedToken("<mask>", lstrip=True, special=True)])
    library.save(str(folder / "tokenizer.json"))
    names = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "sep": "</s>", "pad": "<pad>", "cls": "<s>", "mask": "<mask>"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast"} | {f"{role}_token": name for role, name in names.items()}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return Tokenizer.load(folder)


def bert(tokenizer: Tokenizer, *, pair_head: bool = False, max_positions: int = 67) -> MaskedLM:
    """Two layers of BERT with weights so large that its guesses differ."""
    return _built(
        BertConfig(
            hidden_size=24,
            num_layers=2,
            num_heads=3,
            intermediate_size=40,
            max_positions=max_positions,
            initializer_range=0.3,
            pair_head=pair_head,
        ),
        tokenizer,
    )


def roberta(tokenizer: Tokenizer) -> MaskedLM:
    """The same as RoBERTa."""
    config = BertConfig(
        hidden_size=24,
        num_layers=2,
        num_heads=3,
        intermediate_size=40,
        max_positions=67,
        type_vocab_size=1,
        initializer_range=0.3,
        norm_eps=1e-5,
        family="roberta",
        position_offset=tokenizer.special.pad + 1,
    )
    return _built(config, tokenizer)


def modern(tokenizer: Tokenizer) -> MaskedLM:
    """Four layers of ModernBERT, the middle two with a window far shorter than a text."""
    config = ModernConfig(
        hidden_size=24,
        num_layers=4,
        num_heads=3,
        intermediate_size=40,
        max_positions=211,
        local_window=6,
        initializer_range=0.3,
    )
    return _built(config, tokenizer)


def _built(config: ModelConfig, tokenizer: Tokenizer) -> MaskedLM:
    special = tokenizer.special
    return build_masked_lm(
        config.with_vocabulary(len(tokenizer), pad=special.pad, cls=special.cls, sep=special.sep), seed=7
    ).eval()
