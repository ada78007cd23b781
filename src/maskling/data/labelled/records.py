"""Labelled text as a person gives it: texts with a label, words with tags, questions with answers."""

from __future__ import annotations

from dataclasses import dataclass

Label = str | tuple[str, ...] | float | None


@dataclass(frozen=True, slots=True)
class TextRecord:
    """A text, or a pair of texts, with what is to be said of it.

    id: where it is from ("train.jsonl:17").
    label: a name, several names (none of them fitting is the empty tuple), a number, or None where there is none.
    negative: a text that looks as if it went with `text` and does not, where a file has such.
    """

    id: str
    text: str
    text_pair: str | None = None
    label: Label = None
    negative: str | None = None


@dataclass(frozen=True, slots=True)
class TaggedRecord:
    """The words of a sentence with a tag for each; tags: None where there are none.

    id: where its first word is from ("train.conll:17").
    """

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A piece of a context. start: its first character there, -1 where the context does not have it."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """The character after its last."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class QuestionRecord:
    """A question about a text.

    id: the question's own, as predictions name it, or where it is from ("dev.jsonl:17").
    answers: all that count as right; none of a question without labels. impossible: the context does not answer it.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()
    impossible: bool = False
