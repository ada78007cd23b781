"""Views of a tokenizer: its vocabulary, and the tokens of a text."""

from __future__ import annotations

from pathlib import Path

from maskling.cli.format import table
from maskling.cli.views import View
from maskling.console import counted
from maskling.data.manifest import MANIFEST, load_manifest
from maskling.tokenizer.tokenizer import Tokenizer


def view_tokenizer(path: Path, text: str | None) -> View:
    """Show sizes and special tokens; with `text`, also its tokens."""
    prepared = (path / MANIFEST).is_file()
    tokenizer = Tokenizer.load(path, *(load_manifest(path).word_rules if prepared else ()))
    special = {name: tokenizer.token(getattr(tokenizer.special, name)) for name in ("pad", "unk", "cls", "sep", "mask")}
    starting = int(tokenizer.starts_word.sum())
    rows = [
        ["vocabulary", f"{counted(tokenizer.vocab_size, 'token')}, {starting:,} can start a word"],
        ["special", "  ".join(f"{name} {token}" for name, token in special.items())],
        ["fingerprint", tokenizer.fingerprint],
    ]
    view = View(
        [f"tokenizer {path}", *table(rows)],
        {"vocab_size": tokenizer.vocab_size, "special": special, "fingerprint": tokenizer.fingerprint},
    )
    if text is not None:
        view.add(view_tokens(tokenizer, text))
    return view


def view_tokens(tokenizer: Tokenizer, text: str) -> View:
    """Show the tokens of a text, a bar before each that starts a word."""
    encoded = tokenizer.encode(text, special_in_text=True)
    ids = [int(token) for token in encoded.ids]
    tokens = [tokenizer.token(token) for token in ids]
    pieces = [f"|{token}" if starts else token for token, starts in zip(tokens, encoded.word_starts, strict=True)]
    words, num_bytes = int(encoded.word_starts.sum()), len(text.encode("utf-8", "replace"))
    per_token = f", {num_bytes / len(ids):.2f} bytes per token" if ids else ""
    lines = [
        f"{counted(len(ids), 'token')}, {counted(words, 'word')}{per_token}",
        *table(
            [
                ["pieces", " ".join(pieces)],
                ["ids", " ".join(map(str, ids))],
                ["read back", tokenizer.decode(encoded.ids)],
            ]
        ),
    ]
    return View(lines, {"text": text, "tokens": tokens, "ids": ids, "words": words})
