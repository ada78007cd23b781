"""Which column of a file holds what: as a person says, else by the names that published sets use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from maskling.config import Settings
from maskling.errors import DataError, suggestion

# GLUE's files, its columns on the hub, CLUE's, Sentence-Transformers' and the usual names of a single text.
PAIRS = (
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
NEGATIVES = ("negative", "hard_negative", "text_neg")
TEXTS = ("text", "sentence", "review", "content", "document", "tweet", "comment", "utterance", "body", "text_a")
LABELS = (
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
WORDS = ("words", "tokens", "word", "token")
TAGS = ("tags", "ner_tags", "pos_tags", "labels", "tag", "ner", "upos", "label")
# What the first line of columns of words may call them; as tags, "pos" or "label" would be odd.
WORD_HEADERS = (*WORDS, "form", "text")
TAG_HEADERS = (*TAGS, "ner_tag", "pos_tag", "pos", "xpos", "bio", "iob")


class Columns(Settings):
    """Where the texts and labels are. A number counts columns from 0 and says that there is no header."""

    text: str | None = Field(
        None, description="column of the text (or of the words); found by its name, in any case, if left out"
    )
    text_pair: str | None = Field(None, description="column of the second text of a pair")
    negative: str | None = Field(
        None, description="for similarity, column of a text that does not belong to the pair but looks like it"
    )
    label: str | None = Field(None, description="column of the label (or of the tags)")
    separator: str | None = Field(
        None, description="what stands between several labels of one text in a table, as in 'joy|surprise'"
    )
    on_bad_row: Literal["stop", "skip"] = Field(
        "stop", description="what to do with a row that cannot be read, or lacks the label it is to teach or test"
    )


class ColumnMatch(Settings):
    """The columns of one file: text and text_pair by name; label and negative None where the file has none."""

    text: str
    text_pair: str | None
    label: str | None
    negative: str | None = None


def find_columns(names: Sequence[str], columns: Columns, where: str) -> ColumnMatch:
    """The columns for texts among those a file has.

    Raises DataError, with the names there are, if one that was asked for is missing or none is known for the text.
    """
    for wanted in (columns.text, columns.text_pair, columns.negative, columns.label):
        if wanted is not None and wanted not in names:
            raise DataError(f"{where} has no column '{wanted}'{suggestion(wanted, names)}; there are {_shown(names)}")
    text, pair = columns.text, columns.text_pair
    spelt = _Spellings(names)
    if text is None:
        found = next((both for both in map(spelt.all_of, PAIRS) if len(both) == 2), None)
        if found is not None and pair in (None, found[1]):
            text, pair = found
        else:
            text = next((name for name in spelt.all_of(TEXTS) if name != pair), None)
    if text is None:
        raise DataError(
            f"{where} has no column with a name known for texts, but {_shown(names)}; say which it is "
            f"with columns.text and columns.label (in a table without a header by number, from 0)"
        )
    label = columns.label or next((name for name in spelt.all_of(LABELS) if name not in (text, pair)), None)
    known = NEGATIVES if pair is not None else ()
    negative = columns.negative or next(iter(spelt.all_of(known)), None)
    return ColumnMatch(text=text, text_pair=pair, label=label, negative=negative)


def find_word_columns(names: Sequence[str], columns: Columns, where: str) -> ColumnMatch:
    """The columns for words and their tags, as `find_columns`."""
    for wanted in (columns.text, columns.label):
        if wanted is not None and wanted not in names:
            raise DataError(f"{where} has no field '{wanted}'{suggestion(wanted, names)}; there are {_shown(names)}")
    spelt = _Spellings(names)
    text = columns.text or next(iter(spelt.all_of(WORDS)), None)
    if text is None:
        raise DataError(
            f"{where} has no field with a name known for words ({', '.join(WORDS[:2])}), but {_shown(names)}; "
            f"say which it is with columns.text"
        )
    label = columns.label or next((name for name in spelt.all_of(TAGS) if name != text), None)
    return ColumnMatch(text=text, text_pair=None, label=label)


def no_label_column(names: Sequence[str], what: str = "labels") -> str:
    """What goes on after 'train.csv:1 ' where a file to learn from has no column of labels."""
    return f"has no column with a name known for {what}, but {_shown(names)}; say which it is with columns.label"


class _Spellings:
    """How a file spells the names that are known: as they are, else in the only other case it has."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        counts = Counter(name.casefold() for name in names)
        self._folded = {name.casefold(): name for name in names if counts[name.casefold()] == 1}

    def all_of(self, known: Sequence[str]) -> tuple[str, ...]:
        """Those of the known names that the file has, as it spells them."""
        found = (name if name in self._names else self._folded.get(name.casefold()) for name in known)
        return tuple(name for name in found if name is not None)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:12]) + (", ..." if len(names) > 12 else "") if names else "none"
