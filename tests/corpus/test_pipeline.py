from __future__ import annotations

import pickle

import xxhash
from hypothesis import given
from hypothesis import strategies as st

from maskling.corpus.dedup import SeenDigests
from maskling.corpus.document import Document
from maskling.corpus.pipeline import CleanDocument, Rejected, drop_duplicates, process_document
from maskling.corpus.settings import CorpusSettings

SETTINGS = CorpusSettings()
BY_PARAGRAPH = CorpusSettings(dedup="paragraph")
A = "The first paragraph speaks of rain. It goes on for a while, so that it is longer than eighty characters."
B = "The second paragraph speaks of snow. It is long as well, and has three sentences to say so. Indeed it has."
C = "The third paragraph speaks of hail, in one sentence that takes its time to come to the end of the line."


def made(text: str, settings: CorpusSettings = SETTINGS, **more: object) -> CleanDocument:
    result = process_document(Document(text, "a:1", "a", **more), settings)  # type: ignore[arg-type]
    assert isinstance(result, CleanDocument)
    return result


def slices(document: CleanDocument) -> list[str]:
    pieces, start = [], 0
    for length in document.sentences:
        pieces.append(document.text[start : start + length])
        start += length
    assert start == len(document.text)
    return pieces


def test_a_document_is_cleaned_cut_and_named() -> None:
    document = made("\ufeff First  one here. Second\tone there.\r\n\r\n\r\nA new paragraph.")
    assert document.text == "First one here. Second one there.\n\nA new paragraph."
    assert slices(document) == ["First one here.", " Second one there.", "\n\nA new paragraph."]
    assert document.digest == xxhash.xxh3_64(document.text.encode()).intdigest()
    assert (document.id, document.source, document.paragraphs) == ("a:1", "a", [])


def test_lines_that_are_sentences_stay_whole_and_unjoined() -> None:
    document = made("Dr. No came. He left.\nThen it rained for a long time.", line_sentences=True)
    assert slices(document) == ["Dr. No came. He left.", "\nThen it rained for a long time."]


def test_a_rejected_document_says_why() -> None:
    assert process_document(Document("short", "a:1", "a"), SETTINGS) == Rejected("too_short")


def test_results_can_be_sent_between_processes() -> None:
    for result in (made(f"{A}\n\n{B}", BY_PARAGRAPH), Rejected("too_short")):
        assert pickle.loads(pickle.dumps(result)) == result


def test_only_the_first_of_equal_documents_is_kept() -> None:
    seen = SeenDigests()
    assert drop_duplicates(made(A), seen, SETTINGS) == made(A)
    # Only what is left after cleaning counts.
    assert drop_duplicates(made(f"  {A}\r\n"), seen, SETTINGS) == Rejected("duplicate")
    assert drop_duplicates(made(B), seen, SETTINGS) == made(B)
    assert drop_duplicates(made(A), seen, CorpusSettings(dedup="none")) == made(A)


def test_repeated_paragraphs_go_and_the_sentences_stay_true() -> None:
    seen = SeenDigests()
    first = made(f"{A}\n\n{B}", BY_PARAGRAPH)
    assert drop_duplicates(first, seen, BY_PARAGRAPH) == first
    second = drop_duplicates(made(f"{B}\n\n{C}\n\n{A}\n\nYes.\n\nYes.", BY_PARAGRAPH), seen, BY_PARAGRAPH)
    assert isinstance(second, CleanDocument)
    assert second.text == f"{C}\n\nYes.\n\nYes."
    assert slices(second) == [C, "\n\nYes.", "\n\nYes."]
    assert second.digest == made(second.text).digest
    assert drop_duplicates(made(f"{A}\n\n{C}", BY_PARAGRAPH), seen, BY_PARAGRAPH) == Rejected("duplicate")
    assert drop_duplicates(made(f"{A}\n\nToo little.", BY_PARAGRAPH), seen, BY_PARAGRAPH) == Rejected("too_short")


def test_a_paragraph_repeated_in_its_own_document_goes_too() -> None:
    document = drop_duplicates(made(f"{A}\n\n{B}\n\n{A}", BY_PARAGRAPH), SeenDigests(), BY_PARAGRAPH)
    assert isinstance(document, CleanDocument)
    assert document.text == f"{A}\n\n{B}"


def test_a_document_of_one_paragraph_is_no_duplicate_of_itself() -> None:
    assert drop_duplicates(made(A, BY_PARAGRAPH), SeenDigests(), BY_PARAGRAPH) == made(A, BY_PARAGRAPH)


@given(
    st.lists(
        st.lists(st.sampled_from([A, B, C, "Yes, I said so.", "No, not I, never."]), min_size=1, max_size=6), max_size=6
    )
)
def test_paragraph_dedup_agrees_with_a_slow_one(documents: list[list[str]]) -> None:
    seen, texts, paragraphs = SeenDigests(), set[str](), set[str]()
    for document in documents:
        text = "\n\n".join(document)
        result = process_document(Document(text, "", ""), BY_PARAGRAPH)
        if isinstance(result, Rejected):
            continue
        result = drop_duplicates(result, seen, BY_PARAGRAPH)
        kept = []
        if text not in texts:
            for paragraph in document:
                if len(paragraph) < 80 or paragraph not in paragraphs:
                    kept.append(paragraph)
                    if len(paragraph) >= 80:
                        paragraphs.add(paragraph)
        texts.add(text)
        if isinstance(result, CleanDocument):
            assert result.text == "\n\n".join(kept)
            slices(result)
        else:
            assert not kept or len("".join(kept)) < 200
