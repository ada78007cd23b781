"""Kinds of models that the server tests serve, and the types of their fixtures."""

from __future__ import annotations

from collections.abc import Callable

from fastapi.testclient import TestClient

from maskling.infer.model import Model
from maskling.model.tasks.config import AnswerSettings, HeadConfig

HEADS = {
    "classify": HeadConfig("classify", ("bad", "good")),
    "pairs": HeadConfig("classify", ("other", "same"), answer_settings=AnswerSettings(pairs=True)),
    "multi-label": HeadConfig("multi-label", ("a", "b", "c")),
    "regress": HeadConfig("regress", ("score",)),
    "tag": HeadConfig("tag", ("O", "B-PER", "I-PER")),
    "pos": HeadConfig("tag", ("NOUN", "VERB", "X")),
    "answer": HeadConfig("answer", ("start", "end")),
}

Opened = Callable[[str], Model]
Client = Callable[[str], TestClient]
Address = Callable[[str], str]
