from __future__ import annotations

from pathlib import Path

import pytest

from maskling.corpus.opening import ReadReport
from maskling.corpus.pipeline import CleanDocument, process_document
from maskling.corpus.reading import read_documents
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand

# Documents by the tables in the README.md of each folder.
COUNTS = {
    "english/books.jsonl.gz": 591,
    "english/encyclopedia.jsonl.gz": 154,
    "english/speeches.jsonl.gz": 124,
    "english/textbooks.jsonl.gz": 615,
    "chinese/classical.jsonl.gz": 1615,
    "chinese/debian_docs_zh_cn.jsonl.gz": 195,
    "chinese/luxun.jsonl.gz": 305,
    "chinese/wikipedia_zh.jsonl.gz": 1104,
}


@pytest.mark.parametrize("name", COUNTS)
def test_every_document_is_read_kept_and_cut_without_loss(shared_data: Path, name: str) -> None:
    report = ReadReport()
    settings = CorpusSettings()
    sentences = characters = 0
    for _, document in read_documents(expand([str(shared_data / name)]), settings, report):
        result = process_document(document, settings)
        assert isinstance(result, CleanDocument), document.id
        assert sum(result.sentences) == len(result.text)
        sentences += len(result.sentences)
        characters += len(result.text)
    assert report.documents == COUNTS[name]
    assert report.problems() == []
    # 100 to 200 characters an English sentence with headings and speech, 10 to 100 a Chinese one.
    low, high = (90, 200) if name.startswith("english") else (10, 100)
    assert low < characters / sentences < high


def test_a_folder_of_tasks_is_read_and_what_is_not_text_is_named(shared_data: Path) -> None:
    report, documents = ReadReport(), 0
    for _, document in read_documents(expand([str(shared_data / "tasks")], report), CorpusSettings(), report):
        process_document(document, CorpusSettings())
        documents += not Path(document.source).parent.name.startswith("asr_")  # other tasks, whose sizes change
    assert report.skipped == {".conll": 10}
    # Pairs have 'text_a' and 'text_b'; every one of their files says so in one line.
    bad = {Path(file.name).parent.name for file in report.bad_files}
    assert bad >= {"mrpc", "stsb"}
    (first, *_) = (file for file in report.bad_files if Path(file.name).parent.name == "mrpc")
    assert "its fields: text_a, text_b, label" in first.problem()  # type: ignore[operator]
    assert documents == 12_000 + 2_000 + 9_613 + 1  # chnsenticorp, movie reviews, sst2, README.md


def test_minimal_pairs_by_field(shared_data: Path) -> None:
    report = ReadReport()
    settings = CorpusSettings(text_field="sentence_good")
    sources = expand([str(shared_data / "blimp" / "*.jsonl.gz")])
    assert len(sources) == 67
    assert sum(1 for _ in read_documents(sources, settings, report)) == 67_000
    assert report.problems() == []


@pytest.mark.parametrize(("name", "tokens"), [("bert-base-uncased", 30_522), ("bert-base-chinese", 21_128)])
def test_vocabularies_line_by_line_are_not_split_at_exotic_line_ends(shared_data: Path, name: str, tokens: int) -> None:
    settings = CorpusSettings(plain="line")
    report = ReadReport()
    found = [
        d.text.removesuffix("\n")
        for _, d in read_documents(expand([str(shared_data / "vocab" / f"{name}-vocab.txt")]), settings, report)
    ]
    # The Chinese one has U+2028 as a token: a line of white space only, which is no document.
    assert len(found) == tokens - (name == "bert-base-chinese")
    assert found[101:104] == ["[CLS]", "[SEP]", "[MASK]"]
