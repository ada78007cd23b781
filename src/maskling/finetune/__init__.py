"""A pretrained encoder put to a task of its own: classes, scores, tags, answers, vectors."""

from __future__ import annotations


# FOLDED DOCS
# [__init__] An encoder trained to give vectors: what it learns from, how, and how it is judged.
