"""Language variants in the text, '-{zh-hans:计算机;zh-hant:電腦}-': one variant is chosen, by a fallback chain.

Only what a page marks is chosen. The rest of a Chinese text stays in the script that it was written in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# The order in which MediaWiki takes another variant where the text has none of its own.
_CHAINS: Final = {
    "zh-hans": ("zh-hans", "zh-cn", "zh-sg", "zh-my", "zh"),
    "zh-hant": ("zh-hant", "zh-tw", "zh-hk", "zh-mo", "zh"),
    "zh-cn": ("zh-cn", "zh-hans", "zh-sg", "zh-my", "zh"),
    "zh-sg": ("zh-sg", "zh-hans", "zh-cn", "zh-my", "zh"),
    "zh-my": ("zh-my", "zh-hans", "zh-sg", "zh-cn", "zh"),
    "zh-tw": ("zh-tw", "zh-hant", "zh-hk", "zh-mo", "zh"),
    "zh-hk": ("zh-hk", "zh-hant", "zh-mo", "zh-tw", "zh"),
    "zh-mo": ("zh-mo", "zh-hant", "zh-hk", "zh-tw", "zh"),
}
CHINESE_VARIANTS: Final = tuple(_CHAINS)
_OTHERS: Final = (
    *("sr-ec", "sr-el", "sr-cyrl", "sr-latn", "sh-cyrl", "sh-latn", "kk-cyrl", "kk-latn", "kk-arab", "kk-kz", "kk-tr"),
    *("kk-cn", "ku-latn", "ku-arab", "uz-latn", "uz-cyrl", "tg-cyrl", "tg-latn", "crh-latn", "crh-cyrl", "iu-cans"),
    *("iu-latn", "gan-hans", "gan-hant", "shi-tfng", "shi-latn", "ban-x-dharma", "mni-beng", "mni-mtei", "tly-cyrl"),
)
_CODES: Final = frozenset((*_CHAINS, "zh", *_OTHERS))
# Flags of rules that show nothing where they stand: hidden, removed, the title, a description, a language name.
_SILENT: Final = frozenset(("h", "-", "t", "d", "n"))


def chosen_text(flags: str | None, body: str, variant: str) -> str:
    """Return what '-{flags|body}-' shows in a variant. flags: None without '|'."""
    named = {flag.strip().lower() for flag in flags.split(";")} if flags is not None else set()
    if named & _SILENT:
        return ""
    texts = {} if "r" in named else _alternatives(body)
    if not texts:
        return body
    chain = _CHAINS.get(variant, (variant,))
    return next((texts[code] for code in chain if code in texts), next(iter(texts.values())))


def _alternatives(body: str) -> Mapping[str, str]:
    """Return the texts by variant, in their order; none if the body names no variant."""
    texts: dict[str, list[str]] = {}
    last: list[str] = []
    for piece in body.split(";"):
        # A rule in one direction: 'text => zh-tw:text'.
        code, colon, text = piece.rpartition("=>")[2].partition(":")
        code = code.strip().lower()
        if colon and code in _CODES:
            last = [text.strip()]
            texts.setdefault(code, last)
        elif last and piece.strip():
            last.append(piece)  # the text has a semicolon itself
    return {code: ";".join(pieces) for code, pieces in texts.items()}
