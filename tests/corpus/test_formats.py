"""The settings and the table of readers know the same names."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from maskling.corpus.readers import READERS
from maskling.corpus.settings import FORMATS, CorpusSettings


def test_every_reader_can_be_asked_for_by_name_and_nothing_else():
    assert tuple(READERS) == FORMATS
    for name in READERS:
        assert CorpusSettings(format=name).format == name
    with pytest.raises(ValidationError, match="choose one of auto, plain, jsonl"):
        CorpusSettings(format="pdf")
