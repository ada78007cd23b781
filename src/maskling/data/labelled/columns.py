"""The columns of a labelled file: as set by the user, else matched against the names that published datasets use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from maskling.config import Settings
from maskling.errors import DataError, listing, suggestion

# The column names of GLUE (original files and Hugging Face hub), CLUE and Sentence-Transformers, and common names of
# single-text columns.
PAIR_COLUMNS = (
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("text", "text_pair"),
    ("text1", "text2"),
    ("query", "passage"),
    ("query", "answer"),
    ("anchor", "positive"),
    ("query", "positive"),
    ("#1 String", "#2 String"),
)
NEGATIVE_COLUMNS = ("negative", "hard_negative", "text_neg")
TEXT_COLUMNS = ("text", "sentence", "review", "content", "document", "tweet", "comment", "utterance", "body", "text_a")
LABEL_COLUMNS = (
    "label",
    "labels",
    "gold_label",
    "label_text",
    "score",
    "similarity_score",
    "similarity",
    "is_duplicate",
    "Quality",
    "sentiment",
    "class",
    "category",
    "intent",
    "stars",
    "rating",
    "target",
)
WORD_COLUMNS = ("words", "tokens", "word", "token")
TAG_COLUMNS = ("tags", "ner_tags", "pos_tags", "labels", "tag", "ner", "upos", "label")
# Header cells that the first line of a CoNLL file may have.
WORD_HEADERS = (*WORD_COLUMNS, "form", "text")
TAG_HEADERS = (*TAG_COLUMNS, "ner_tag", "pos_tag", "pos", "xpos", "bio", "iob")


class Columns(Settings):
    """The columns of texts and labels. A number is a column index, from 0, of a table without a header."""

    text: str | None = Field(
        None, description="column of the text (or of the words); default: matched by name, ignoring case"
    )
    text_pair: str | None = Field(None, description="column of the second text of a pair")
    negative: str | None = Field(
        None, description="for similarity, column of a hard negative: a text that resembles a match but is not one"
    )
    label: str | None = Field(None, description="column of the label (or of the tags)")
    separator: str | None = Field(
        None, description="separator between several labels of one text in a table, as in 'joy|surprise'"
    )
    on_bad_row: Literal["stop", "skip"] = Field(
        "stop",
        description="what to do with a row that cannot be read, or lacks the label that training or evaluation needs",
    )


@dataclass(frozen=True)
class ColumnMatch:
    """The column names of one file; None for a column that the file does not have."""

    text: str
    text_pair: str | None = None
    label: str | None = None
    negative: str | None = None


def find_columns(names: Sequence[str], columns: Columns, where: str) -> ColumnMatch:
    """Match the columns of a file with texts.

    Raises DataError, listing the columns of the file, if a column named in the settings is missing or no column has a
    known name for texts.
    """
    for wanted in (columns.text, columns.text_pair, columns.negative, columns.label):
        if wanted is not None and wanted not in names:
            raise DataError(
                f"{where} has no column '{wanted}'{suggestion(wanted, names)}; the columns are {_quoted(names)}"
            )
    text, pair = columns.text, columns.text_pair
    spelt = _Spellings(names)
    if text is None:
        found = next((both for both in map(spelt.all_of, PAIR_COLUMNS) if len(both) == 2), None)
        if found is not None and pair in (None, found[1]):
            text, pair = found
        else:
            text = next((name for name in spelt.all_of(TEXT_COLUMNS) if name != pair), None)
    if text is None:
        raise DataError(
            f"{where} has no column with a name known for texts, but {_quoted(names)}; name it "
            f"with columns.text and columns.label (in a table without a header by index, from 0)"
        )
    label = columns.label or next((name for name in spelt.all_of(LABEL_COLUMNS) if name not in (text, pair)), None)
    known = NEGATIVE_COLUMNS if pair is not None else ()
    negative = columns.negative or next(iter(spelt.all_of(known)), None)
    return ColumnMatch(text=text, text_pair=pair, label=label, negative=negative)


def find_word_columns(names: Sequence[str], columns: Columns, where: str) -> ColumnMatch:
    """Match the columns of words and their tags, as `find_columns`."""
    for wanted in (columns.text, columns.label):
        if wanted is not None and wanted not in names:
            raise DataError(
                f"{where} has no field '{wanted}'{suggestion(wanted, names)}; the columns are {_quoted(names)}"
            )
    spelt = _Spellings(names)
    text = columns.text or next(iter(spelt.all_of(WORD_COLUMNS)), None)
    if text is None:
        raise DataError(
            f"{where} has no field with a name known for words ({', '.join(WORD_COLUMNS[:2])}), but {_quoted(names)}; "
            f"name it with columns.text"
        )
    label = columns.label or next((name for name in spelt.all_of(TAG_COLUMNS) if name != text), None)
    return ColumnMatch(text=text, label=label)


def no_label_column(names: Sequence[str], what: str = "labels") -> str:
    """Return the message, to follow 'train.csv:1 ', for a training file without a column of labels."""
    return f"has no column with a name known for {what}, but {_quoted(names)}; name it with columns.label"


class _Spellings:
    """Known column names as a file spells them: exactly, else ignoring case if that match is unique."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        counts = Counter(name.casefold() for name in names)
        self._folded = {name.casefold(): name for name in names if counts[name.casefold()] == 1}

    def all_of(self, known: Sequence[str]) -> tuple[str, ...]:
        """Return the known names that the file has, in the spelling of the file."""
        found = (name if name in self._names else self._folded.get(name.casefold()) for name in known)
        return tuple(name for name in found if name is not None)


def _quoted(names: Sequence[str]) -> str:
    return listing([f"'{name}'" for name in names], 12)
