"""Entities given as character spans of a text: doccano, Label Studio, Prodigy, spaCy, CLUENER, brat's .ann files.

The words of the text, as `predict` splits it, get BIO tags. Offsets count characters, or UTF-16 units as JavaScript
does, whichever fits.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from maskling.console import agreeing
from maskling.data.labelled.columns import TEXT_COLUMNS, Columns
from maskling.data.labelled.encode_tags import words_in
from maskling.data.labelled.read_labels import named_tags
from maskling.data.labelled.records import TaggedRecord
from maskling.data.labelled.tables import BadRowError, Fields, OpenFile, lines
from maskling.errors import DataError

_FIELDS: Final = ("entities", "spans", "label", "labels", "ner", "annotations", "annotation", "tags")
_STARTS: Final = ("start", "start_offset", "startOffset", "start_char", "begin")
_ENDS: Final = ("end", "end_offset", "endOffset", "end_char")
_TYPES: Final = ("label", "labels", "type", "entity_group", "entity_type", "entity", "tag", "category")
_SURFACES: Final = ("text", "word", "mention", "surface")
# Characters around a span in which its text is searched.
_NEAR: Final = 32
_BRAT_SPAN = re.compile(r"T\d+\t(\S+) (\d+) (\d+)((?:;\d+ \d+)*)\t(.*)")


@dataclass(frozen=True)
class _Span:
    """Characters start to end - 1 of a text. surface: the text there, if the file has it."""

    start: int
    end: int
    type: str
    surface: str | None = None


class SpanParser:
    """Turn texts with spans into sentences of tagged words, and count what does not fit."""

    def __init__(self, file: OpenFile, columns: Columns, names: Sequence[str]) -> None:
        """names: of types that are numbers."""
        self._file, self._columns, self._names = file, columns, names
        self._notes: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        self._field: str | None = None

    def parse(self, row: Fields, id_: str) -> list[TaggedRecord] | None:
        """Return the sentence of a row, none if the annotator left it out; None for a row of another form.

        Raises BadRowError for spans that do not fit their text.
        """
        if isinstance(row.get("data"), Mapping) and ("annotations" in row or "completions" in row):
            text, values = self._label_studio(row, id_)
        else:
            name = self._columns.text or next((name for name in TEXT_COLUMNS if isinstance(row.get(name), str)), None)
            field = self._find_field(row)
            if name is None or field is None or not isinstance(row.get(name), str):
                return None
            text, values = row[name], row[field]
        if row.get("answer") in ("reject", "ignore"):
            self.note("texts were rejected or ignored by the annotator and are left out", id_)
            return []
        if values is None:
            return []
        return self.tagged(text, self.fit(text, [*self._spans(values)], id_), id_)

    def tagged(self, text: str, spans: Sequence[_Span], id_: str) -> list[TaggedRecord]:
        """Return the words of a text with their tags."""
        words, tags = self._words(text, spans, id_)
        if not words:
            self.note("texts have no words and are left out", id_)
            return []
        return [TaggedRecord(id_, tuple(words), tuple(tags))]

    def warnings(self) -> list[str]:
        """Return a line per kind of problem."""
        counted = [(agreeing(count, what), self._first[what]) for what, count in self._notes.items()]
        return [f"{self._file.path}: {what} ({first})" for what, first in counted]

    def note(self, what: str, id_: str) -> None:
        """Count a problem. id_: where it is."""
        self._notes[what] += 1
        self._first.setdefault(what, id_)

    def _find_field(self, row: Fields) -> str | None:
        """Return the field with spans. The first row that has some decides, later ones may have none."""
        if self._field is not None and isinstance(row.get(self._field), list | Mapping):
            return self._field
        names = (self._columns.label,) if self._columns.label is not None else _FIELDS
        some = [name for name in names if name is not None and _is_spans(row.get(name))]
        self._field = next(iter(some), None)
        return self._field or next((name for name in names if name is not None and row.get(name) in ([], {})), None)

    def _label_studio(self, row: Fields, id_: str) -> tuple[str, list[Any] | None]:
        data = row["data"]
        texts = [name for name, value in data.items() if isinstance(value, str)]
        name = self._columns.text or next((name for name in TEXT_COLUMNS if name in texts), None)
        name = name or (texts[0] if len(texts) == 1 else None)
        if name is None or not isinstance(data.get(name), str):
            raise BadRowError(f"has no text in 'data' but {', '.join(data) or 'nothing'}; name it with columns.text")
        given = row.get("annotations", row.get("completions"))
        done = [one for one in given if isinstance(one, Mapping) and not one.get("was_cancelled")] if given else []
        if not done:
            self.note("texts have no annotation and are left out", id_)
            return data[name], None
        if len(done) > 1:
            self.note("texts have several annotations, of which the first is used", id_)
        values = [one.get("value") for one in done[0].get("result", ()) if isinstance(one, Mapping)]
        return data[name], [value for value in values if isinstance(value, Mapping) and "start" in value]

    def _spans(self, values: Any) -> Iterator[_Span]:
        """Yield the spans of a field: a list, or CLUENER's {type: {text: [[start, last], ...]}}."""
        if isinstance(values, Mapping):
            for type_, surface, place in _placed_by_type(values):
                if not isinstance(place, list) or len(place) != 2:
                    raise BadRowError(f"has {place!r} for a span of '{type_}', but [start, last] is expected")
                yield _Span(_index(place[0]), _index(place[1]) + 1, self._type(type_), surface)
            return
        for value in values:
            if isinstance(value, Mapping):
                yield from self._span_of_object(value)
                continue
            if not isinstance(value, list):
                raise BadRowError(f"has {value!r} where a span [start, end, type] is expected")
            numbers = [part for part in value if isinstance(part, int) and not isinstance(part, bool)]
            others = [part for part in value if isinstance(part, str)]
            if len(numbers) < 2 or not others:
                raise BadRowError(f"has {value!r} where a span [start, end, type] is expected")
            yield _Span(numbers[0], numbers[1], self._type(others[0]))

    def _span_of_object(self, value: Mapping[str, Any]) -> Iterator[_Span]:
        start = next((value[name] for name in _STARTS if name in value), None)
        end = next((value[name] for name in _ENDS if name in value), None)
        types = next((value[name] for name in _TYPES if value.get(name) is not None), None)
        surface = next((value[name] for name in _SURFACES if isinstance(value.get(name), str)), None)
        if types is None or start is None or end is None:
            raise BadRowError(f"has a span with {', '.join(value)}, but start, end and label are needed")
        for type_ in types if isinstance(types, list) else [types]:
            yield _Span(_index(start), _index(end), self._type(type_), surface)

    def _type(self, value: Any) -> str:
        if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
            raise BadRowError(f"has {value!r} for the type of a span, but a name is needed")
        (name,) = named_tags((str(value).strip(),), self._names, "the type of a span")
        return name

    def fit(self, text: str, spans: Sequence[_Span], id_: str) -> list[_Span]:
        """Return spans with offsets in characters: as they are, else in UTF-16 units, else where their text is."""
        wide = _from_utf16(text, spans)
        if wide is not None and _misfits(text, wide) < _misfits(text, spans):
            self.note("texts have offsets in UTF-16 units", id_)
            spans = wide
        return [self._placed(text, span, id_) for span in spans]

    def _placed(self, text: str, span: _Span, id_: str) -> _Span:
        surface = span.surface
        inside = 0 <= span.start < span.end <= len(text)
        if surface is None:
            if not inside:
                raise BadRowError(
                    f"has a span from {span.start} to {span.end}, but its text has {len(text):,} characters"
                )
            return span
        if inside and _same(text[span.start : span.end], surface):
            return span
        # An end may be that of the last character, or of the character after it.
        for end in (span.end - 1, span.end + 1):
            if span.start >= 0 and _same(text[span.start : end], surface) and surface.strip():
                return replace(span, end=end)
        found = [at.start() for at in re.finditer(re.escape(surface), text)] if surface else []
        near = sorted((abs(at - span.start), at) for at in found if abs(at - span.start) <= _NEAR)
        if not near:
            there = text[max(0, span.start) : max(0, span.end)][:40]
            raise BadRowError(
                f"has a span '{surface[:40]}' from {span.start} to {span.end}, but '{there}' is there in its text"
            )
        self.note("spans are a few characters off and were moved", id_)
        return replace(span, start=near[0][1], end=near[0][1] + len(surface))

    def _words(self, text: str, spans: Sequence[_Span], id_: str) -> tuple[list[str], list[str]]:
        _, words, begins = words_in(text)
        ends = [begin + len(word) for begin, word in zip(begins, words, strict=True)]
        tags = ["O"] * len(words)
        # The outermost of nested spans is kept: one tag per word cannot hold both.
        for span in sorted(spans, key=lambda span: (span.start - span.end, span.start)):
            inside = [at for at in range(len(words)) if begins[at] < span.end and ends[at] > span.start]
            if not inside:
                self.note("spans hold no word and are left out", id_)
                continue
            if any(tags[at] != "O" for at in inside):
                self.note("spans overlap a longer one and are left out", id_)
                continue
            piece = text[span.start : span.end]
            start = span.start + len(piece) - len(piece.lstrip())
            if begins[inside[0]] != start or ends[inside[-1]] != start + len(piece.strip()):
                self.note("spans end within a word, all of which is tagged", id_)
            for at in inside:
                tags[at] = f"{'B' if at == inside[0] else 'I'}-{span.type}"
        return words, tags


def is_brat_folder(path: str) -> bool:
    """Return whether a path is a folder with .ann files of brat."""
    return Path(path).is_dir() and any(Path(path).rglob("*.ann"))


def brat_folder(file: OpenFile, parser: SpanParser) -> Iterator[TaggedRecord]:
    """Yield the sentences of all .ann files in a folder."""
    for path in sorted(Path(file.path).rglob("*.ann")):
        one = OpenFile(str(path), file.skip, file.encoding)
        yield from brat_sentences(one, parser)
        file.bad_rows, file.first_fault = file.bad_rows + one.bad_rows, file.first_fault or one.first_fault


def brat_sentences(file: OpenFile, parser: SpanParser) -> Iterator[TaggedRecord]:
    """Yield the lines of the text beside a brat .ann file, with the entities as tags. Raises DataError."""
    path = Path(file.path)
    beside = path.with_suffix(".txt")
    if not beside.is_file():
        raise DataError(f"{path} has spans of {beside}, which does not exist; put the text beside it")
    text = "\n".join(line for _, line in lines(OpenFile(str(beside), encoding=file.encoding)))
    spans: list[_Span] = []
    for number, line in lines(file):
        if not line.startswith("T"):
            continue  # relations, events, attributes and notes
        found = _BRAT_SPAN.fullmatch(line)
        if found is None:
            file.fault(number, "is not 'T1<TAB>TYPE START END<TAB>text'")
        elif found[4]:
            parser.note("spans are discontinuous and are left out", f"{path.name}:{number}")
        else:
            spans.append(_Span(int(found[2]), int(found[3]), found[1], found[5]))
    try:
        spans = parser.fit(text, spans, path.name)
    except BadRowError as error:
        file.fault(0, str(error))
        return
    first = 0
    for number, (begin, end) in enumerate(_parts(text, spans), 1):
        inside = [replace(span, start=span.start - begin, end=span.end - begin, surface=None) for span in spans[first:]]
        inside = [span for span in inside if 0 <= span.start < end - begin]
        if text[begin:end].strip():
            yield from parser.tagged(text[begin:end], inside, f"{beside.name}:{number}")


def _parts(text: str, spans: Sequence[_Span]) -> Iterator[tuple[int, int]]:
    """Yield the lines of a text; a line that ends within a span goes on in the next."""
    breaks = [at.start() for at in re.finditer("\n", text)]
    breaks = [at for at in breaks if not any(span.start <= at < span.end for span in spans)]
    return zip([0, *(at + 1 for at in breaks)], [*breaks, len(text)], strict=True)


def _is_spans(value: Any) -> bool:
    """Return whether a field has spans: lists or objects with offsets, or CLUENER's objects of types."""
    if isinstance(value, Mapping):
        inner = [*_placed_by_type(value)]
        return bool(inner) and all(isinstance(place, list) for _, _, place in inner)
    if not isinstance(value, list) or not value:
        return False
    first = value[0]
    if isinstance(first, Mapping):
        return any(name in first for name in _STARTS)
    return isinstance(first, list) and sum(isinstance(part, int) for part in first) >= 2


def _placed_by_type(values: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield type, text and place of CLUENER's {type: {text: [[start, last], ...]}}; what is no place, as it is."""
    for type_, found in values.items():
        for surface, places in found.items() if isinstance(found, Mapping) else [("", found)]:
            for place in places if isinstance(places, list) else [places]:
                yield type_, surface, place


def _index(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip().isdecimal():
        raise BadRowError(f"has {value!r} for the offset of a span, but a number of characters is needed")
    return int(value)


def _same(one: str, other: str) -> bool:
    return one == other or (one.split() == other.split() and bool(one.split()))


def _from_utf16(text: str, spans: Sequence[_Span]) -> list[_Span] | None:
    """Return spans that count UTF-16 units in characters, None if they cannot be such, or it makes no difference."""
    units = [2 if ord(character) > 0xFFFF else 1 for character in text]
    if len(units) == sum(units):
        return None
    at = {offset: index for index, offset in enumerate(accumulate(units, initial=0))}
    if not all(span.start in at and span.end in at for span in spans):
        return None
    return [replace(span, start=at[span.start], end=at[span.end]) for span in spans]


def _misfits(text: str, spans: Sequence[_Span]) -> int:
    """Count the spans that have another text than the file says, are outside of it, or cut a word."""
    return sum(not _fits(text, span) for span in spans)


def _fits(text: str, span: _Span) -> bool:
    if not 0 <= span.start < span.end <= len(text):
        return False
    if span.surface is not None:
        return _same(text[span.start : span.end], span.surface)
    begins_inside = span.start > 0 and text[span.start - 1 : span.start + 1].isalnum()
    return not begins_inside and not (span.end < len(text) and text[span.end - 1 : span.end + 1].isalnum())
