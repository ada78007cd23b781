"""Prepare a corpus: one file per stage (clean, tokenizer, tokenize), and what the stages share."""

from __future__ import annotations
