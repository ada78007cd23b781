"""The columns of a labelled file: as set by the user, else matched against the names that published datasets use."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from maskling.corpus.settings import Encoding
from maskling.corpus.tables import TableSettings
from maskling.errors import DataError, SettingsError, listing, suggestion

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
# "negative", "hard_negatives", "text_neg", and with numbers: "negative_1", "negative_2", ...
_NEGATIVE_COLUMN = re.compile(r"(hard_?)?negatives?(_?\d+)?|(text_)?neg(_?\d+)?", re.IGNORECASE)
TEXT_COLUMNS = (
    "text",
    "sentence",
    "review",
    "content",
    "document",
    "tweet",
    "comment",
    "comment_text",
    "utterance",
    "body",
    "text_a",
)
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


# Columns that number or name the sentence of a table with one word per row.
SENTENCE_COLUMNS = ("Sentence #", "sentence_id", "sentence_idx", "sent_id", "sentence", "sentence_number")


class Columns(TableSettings):
    """The columns of texts and labels. A number is a column index, from 0, of a table without a header."""

    text: str | None = Field(
        None, description="column of the text (or of the words); default: matched by name, ignoring case"
    )
    text_pair: str | None = Field(None, description="column of the second text of a pair")
    negative: str | None = Field(
        None,
        description="for similarity, column of hard negatives, texts that resemble a match but are not one, or several "
        "columns separated by commas",
    )
    label: str | None = Field(
        None,
        description="column of the label (or of the tags), or several columns of 0 and 1 separated by commas, one per "
        "label",
    )
    label_names: str | None = Field(
        None,
        description="names of labels or tags that are numbers, in the order of the numbers from 0: separated by "
        "commas, or a file with one per line",
    )
    sentence: str | None = Field(
        None, description="for tags in a table with one word per row, column of the number or name of the sentence"
    )
    encoding: Encoding = Field(
        "auto", description="character encoding of files that are not UTF-8; 'auto': detected from the bytes"
    )
    separator: str | None = Field(
        None, description="separator between several labels of one text in a table, as in 'joy|surprise'"
    )
    on_bad_row: Literal["stop", "skip"] = Field(
        "stop",
        description="what to do with a row that cannot be read, or lacks the label that training or evaluation needs",
    )

    @property
    def given(self) -> tuple[str, ...]:
        """The columns that are named here."""
        one = (self.text, self.text_pair, self.sentence)
        return (*(name for name in one if name is not None), *names_in(self.negative), *names_in(self.label))

    def read_label_names(self) -> tuple[str, ...]:
        """Return the names of numbered labels, none if they are not given. Raises SettingsError."""
        given = self.label_names
        if given is None:
            return ()
        try:
            text = Path(given).read_text(encoding="utf-8-sig") if Path(given).is_file() else None
        except (OSError, ValueError) as error:
            raise SettingsError(f"columns.label_names: {given} cannot be read: {error}") from None
        parts = [part.strip() for part in (given.split(",") if text is None else text.splitlines())]
        names = tuple(part for part in parts if part)
        if len(names) < 2 or len(set(names)) < len(names):
            raise SettingsError(
                f"columns.label_names is {given!r}; give two or more different names separated by commas, or the name "
                f"of a file that exists and has one per line"
            )
        return names


def names_in(setting: str | None) -> tuple[str, ...]:
    """Return the columns that a setting names, separated by commas."""
    return tuple(part for part in map(str.strip, (setting or "").split(",")) if part)


@dataclass(frozen=True)
class ColumnMatch:
    """The column names of one file; None for a column that the file does not have.

    label_columns: the columns of 0 and 1, if each label has one; `label` is then the first. negatives: columns of hard
    negatives.
    """

    text: str
    text_pair: str | None = None
    label: str | None = None
    negatives: tuple[str, ...] = ()
    label_columns: tuple[str, ...] = ()


def find_columns(names: Sequence[str], columns: Columns, where: str) -> ColumnMatch:
    """Match the columns of a file with texts.

    Raises DataError, listing the columns of the file, if a column named in the settings is missing or no column has a
    known name for texts.
    """
    negatives, labels = _several(columns.negative, names), _several(columns.label, names)
    for wanted in (columns.text, columns.text_pair, *negatives, *labels):
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
    label = labels[0] if labels else None
    label = label or next((name for name in spelt.all_of(LABEL_COLUMNS) if name not in (text, pair)), None)
    if pair is not None and not negatives:
        negatives = negative_columns(names, (text, pair, label))
    return ColumnMatch(
        text=text, text_pair=pair, label=label, negatives=negatives, label_columns=labels if len(labels) > 1 else ()
    )


def negative_columns(names: Iterable[str], used: Sequence[str | None]) -> tuple[str, ...]:
    """Return the columns with a name known for hard negatives, with or without a number, except those `used`."""
    return tuple(name for name in names if _NEGATIVE_COLUMN.fullmatch(name) and name not in used)


def _several(setting: str | None, names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that a setting names; the name of a column may itself have commas."""
    return (setting,) if setting is not None and setting in names else names_in(setting)


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


def find_sentence_column(names: Sequence[str], columns: Columns, where: str) -> str:
    """Match the column that tells sentences apart in a table with one word per row. Raises DataError."""
    found = columns.sentence or next(iter(_Spellings(names).all_of(SENTENCE_COLUMNS)), None)
    if found is not None and found in names:
        return found
    if found is not None:
        raise DataError(f"{where} has no column '{found}'{suggestion(found, names)}; the columns are {_quoted(names)}")
    raise DataError(
        f"{where} has one word per row and no column with a name known for the number of the sentence, but "
        f"{_quoted(names)}; name it with columns.sentence"
    )


def no_label_column(names: Sequence[str], what: str = "labels") -> str:
    """Return the message, to follow 'train.csv:1 ', for a training file without a column of labels."""
    several = " (or several of 0 and 1, separated by commas)" if what == "labels" else ""
    return f"has no column with a name known for {what}, but {_quoted(names)}; name it with columns.label{several}"


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
