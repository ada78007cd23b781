"""Find, add and mark the five special tokens of a tokenizer, and set the template that puts them around a text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import tokenizers
from tokenizers import processors

from maskling.errors import TokenizerError
from maskling.tokenizer import pipeline
from maskling.tokenizer.declared import ClassDefaults, Config, Declared, token_content
from maskling.tokenizer.library import (
    BERT_SPECIAL_TOKENS,
    ROBERTA_SPECIAL_TOKENS,
    ROLES,
    SUBSTITUTE_ROLES,
    library_from_json,
    library_to_json,
)

# A token that several roles share stays with the first of them here; the others get a token of their own.
_KEEPS_SHARED: Final = ("unk", "sep", "cls", "pad", "mask")


def complete_special_tokens(
    library: tokenizers.Tokenizer, declared: Declared, defaults: ClassDefaults, where: str, add_missing: bool
) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """Return the tokenizer with its special tokens marked, and the special token of each role.

    They are those that the folder declares (added if its vocabulary lacks them, as transformers does), else those of
    its class, else BERT's or RoBERTa's names. add_missing: add a token for every other role.
    Raises TokenizerError naming the roles without a token, and a token that two roles share.
    """
    configs = [*declared.sources, {f"{role}_token": name for role, name in defaults.special_tokens.items()}]
    model = library_to_json(library)["model"]
    configs.append({"unk_token": _unknown_token(model)})
    vocabulary = library.get_vocab(with_added_tokens=True)
    found = _named(configs, vocabulary)
    for role in ROLES:
        if role not in found and (name := _first_name(declared.sources, role)) is not None:
            found[role] = name
    if add_missing:
        found = _with_own_tokens(found, configs, vocabulary)
    _check(found, where)
    spaced = _takes_spaces(library)
    for role in sorted(ROLES, key=lambda role: vocabulary.get(found[role], len(vocabulary))):
        lstrip = role == "mask" and (defaults.mask_lstrip or (found[role] not in vocabulary and spaced))
        _mark(library, declared, found[role], lstrip)
    if found["unk"] not in vocabulary:
        library = _with_unknown(library, found["unk"])
    return library, found


def set_template(library: tokenizers.Tokenizer, special_tokens: Mapping[str, str], two_separators: bool) -> None:
    """Set the template [CLS] A [SEP] B [SEP], in place, unless the tokenizer's own has this form.

    two_separators: [CLS] A [SEP] [SEP] B [SEP] with token type 0 only, as RoBERTa's.
    """
    ids = library.get_vocab(with_added_tokens=True)
    cls, sep = special_tokens["cls"], special_tokens["sep"]
    first, last = ids[cls], ids[sep]
    own = library_to_json(library)["post_processor"]
    if own is not None:
        single, pair = library.encode("").ids, library.encode("", "").ids
        if single == [first, last] and pair in ([first, last, last], [first, last, last, last]):
            return
    if two_separators:
        template: Any = processors.TemplateProcessing(
            single=f"{cls} $A {sep}", pair=f"{cls} $A {sep} {sep} $B {sep}", special_tokens=[(cls, first), (sep, last)]
        )
    else:
        template = pipeline.template(first, last, cls, sep)
    if own is not None and own["type"] == "ByteLevel":
        # Without it the offsets of a token would include the space before the word.
        template = processors.Sequence([library.post_processor, template])
    library.post_processor = template


def _named(configs: Sequence[Config], vocabulary: Mapping[str, int]) -> dict[str, str]:
    """Return the token of each role that is in the vocabulary."""
    found: dict[str, str] = {}
    for role in ROLES:
        names = [_first_name([config], role) for config in configs]
        for name in [*names, BERT_SPECIAL_TOKENS[role], ROBERTA_SPECIAL_TOKENS[role]]:
            if name is not None and name in vocabulary:
                found[role] = name
                break
    return found


def _first_name(configs: Sequence[Config], role: str) -> str | None:
    """Return the token that the first file names for a role: cls and sep may be called bos and eos."""
    names = (
        token_content(config.get(f"{key}_token"))
        for config in configs
        for key in (role, SUBSTITUTE_ROLES.get(role, role))
    )
    return next((name for name in names if name), None)


def _with_own_tokens(found: dict[str, str], configs: Sequence[Config], vocabulary: Mapping[str, int]) -> dict[str, str]:
    """Return a different token for every role: the found ones, then new ones in the style of the vocabulary."""
    declared = {role: {token_content(config.get(f"{role}_token")) for config in configs} for role in ROLES}
    own: dict[str, str] = {}
    # A role that names a shared token itself comes before one that only substitutes it (GPT-2's bos for cls).
    for role in sorted(found, key=lambda role: (found[role] not in declared[role], _KEEPS_SHARED.index(role))):
        if found[role] not in own.values():
            own[role] = found[role]
    angular = any(name.startswith("<") and not name.startswith("<|") for name in own.values())
    names = ROBERTA_SPECIAL_TOKENS if angular else BERT_SPECIAL_TOKENS
    for role in ROLES:
        if role not in own:
            candidates = (names[role], BERT_SPECIAL_TOKENS[role], f"[{role.upper()}2]")
            own[role] = next(name for name in candidates if name not in vocabulary and name not in own.values())
    return own


def _check(found: Mapping[str, str], where: str) -> None:
    missing = [role for role in ROLES if role not in found]
    if missing:
        wanted = ", ".join(f"{BERT_SPECIAL_TOKENS[role]} (or {ROBERTA_SPECIAL_TOKENS[role]})" for role in missing)
        raise TokenizerError(
            f"{where} has no {wanted}, which masked language modelling needs; add what is missing with "
            f"tokenizer.add_missing = true, or choose another vocabulary"
        )
    if len(set(found.values())) < len(ROLES):
        roles = ", ".join(f"{role} {name}" for role, name in found.items())
        raise TokenizerError(
            f"{where} uses one token for two special roles ({roles}), but masked language modelling needs five "
            f"different special tokens; give each role its own token in special_tokens_map.json, or add tokens with "
            f"tokenizer.add_missing = true"
        )


def _mark(library: tokenizers.Tokenizer, declared: Declared, name: str, lstrip: bool) -> None:
    """Mark a token as special, with its declared flags; one that is marked already keeps its flags."""
    marked = {token["content"] for token in library_to_json(library)["added_tokens"] if token["special"]}
    if name not in marked:
        library.add_special_tokens([declared.added_token(name, special=True, lstrip=lstrip)])


def _with_unknown(library: tokenizers.Tokenizer, name: str) -> tokenizers.Tokenizer:
    """Return a tokenizer whose model uses a new unknown token, if it can meet unknown characters at all."""
    tokenizer_json = library_to_json(library)
    model = tokenizer_json["model"]
    in_bytes = "ByteLevel" in json.dumps(tokenizer_json["pre_tokenizer"]) or model.get("byte_fallback")
    if in_bytes or not isinstance(model["vocab"], dict):
        return library
    # The model finds its unknown token in its own vocabulary only, where all ids must be without gaps.
    for token in sorted(tokenizer_json["added_tokens"], key=lambda token: int(token["id"])):
        model["vocab"].setdefault(token["content"], token["id"])
    model["unk_token"] = name
    return library_from_json(tokenizer_json, "the tokenizer")


def _takes_spaces(library: tokenizers.Tokenizer) -> bool:
    """Return whether the tokens of words include the space before them, as in byte-level BPE and SentencePiece."""
    pieces = library.get_vocab(with_added_tokens=False)
    return sum(piece[:1] in ("Ġ", "▁") for piece in pieces) > 0.05 * len(pieces)


def _unknown_token(model: Mapping[str, Any]) -> str | None:
    """Return the unknown token that the model itself names."""
    if model["type"] == "Unigram":
        unk_id = model["unk_id"]
        return None if unk_id is None else str(model["vocab"][unk_id][0])
    name = model.get("unk_token")
    return name if isinstance(name, str) else None
