"""Inputs to try on the page: of the model's held-out data, of its card, or in the script of its vocabulary."""

from __future__ import annotations

import json
import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from maskling.data.labelled.columns import Columns
from maskling.data.labelled.encode_tags import join_words
from maskling.data.labelled.reader import RecordReader
from maskling.data.labelled.records import QuestionRecord, TaggedRecord, TextRecord
from maskling.data.shards import open_shards
from maskling.errors import MasklingError
from maskling.serve.service import Service

_EXAMPLES: Final = 8
# Characters of an example, and how many candidates are looked at for each one.
_SHORTEST, _LONGEST = 30, 220
_DENSE_SHORTEST: Final = 10
_LOOKED_AT: Final = 400
_LONGEST_CONTEXT: Final = 1500
# Ids of the vocabulary that are read to find its script.
_SAMPLED_IDS: Final = 3000
_MAX_UNKNOWN: Final = 0.1

_SENTENCES: Final = {
    "LATIN": (
        "The train to the coast was late because of the snow.",
        "She opened the window and listened to the rain.",
        "The committee will publish its report at the end of the year.",
        "A good map shows the roads, the rivers and the hills.",
    ),
    "CJK": (
        "今天的天气很好，我们一起去公园散步。",
        "这家图书馆收藏了很多古代的书籍。",
        "学生们正在教室里认真地听老师讲课。",
        "他每天早上坐地铁去公司上班。",
    ),
    "HIRAGANA": ("今日は天気がいいので、公園を散歩しました。", "図書館で新しい本を三冊借りました。"),
    "HANGUL": ("오늘은 날씨가 좋아서 공원에 갔습니다.", "도서관에서 새 책을 세 권 빌렸습니다."),
    "CYRILLIC": (
        "Сегодня хорошая погода, и мы пошли в парк.",
        "Поезд опоздал на час из-за сильного снега.",
    ),
    "GREEK": ("Σήμερα ο καιρός είναι καλός και πήγαμε στο πάρκο.", "Το τρένο άργησε λόγω του χιονιού."),
    "ARABIC": ("الطقس جميل اليوم وذهبنا إلى الحديقة.", "تأخر القطار بسبب الثلوج."),
    "HEBREW": ("מזג האוויר היום נעים והלכנו לפארק.", "הרכבת איחרה בגלל השלג."),
    "DEVANAGARI": ("आज मौसम अच्छा है और हम पार्क गए।", "बर्फ के कारण रेलगाड़ी देर से आई।"),
    "THAI": ("วันนี้อากาศดี เราไปเดินเล่นที่สวนสาธารณะ", "รถไฟมาช้าเพราะฝนตกหนัก"),
}
_LANGUAGES: Final = {
    "de": (
        "Der Zug an die Küste hatte wegen Schnee Verspätung.",
        "Sie öffnete das Fenster und hörte dem Regen zu.",
    ),
    "fr": (
        "Le train est arrivé en retard à cause de la neige.",
        "Elle ouvrit la fenêtre et écouta la pluie.",
    ),
    "es": ("El tren de la costa llegó tarde por la nieve.", "Ella abrió la ventana y escuchó la lluvia."),
}


def example_inputs(service: Service, of_data: bool = True) -> dict[str, Any]:
    """Return inputs to try.

    of_data: whether texts of the data that the model was made from may be shown. origin: "held-out" or "training" for
    data of the run that the model belongs to, "card" for the widget of the model card, "script" for sentences in the
    main script of the vocabulary. script: its Unicode name, such as LATIN.
    texts, pairs, questions: those the task takes, at most eight.
    """
    script = main_script(service)
    found = _Found(service, "CJK" in script or script in ("HIRAGANA", "THAI"))
    origin = _from_run(service, found) if of_data else ""
    if not found:
        origin = "card"
        found.add_texts(_widget_texts(service.model.folder / "README.md", service.model.tokenizer.mask_token))
    if not found:
        origin = "script"
        found.add_texts(_LANGUAGES.get(_language(service.model.folder / "README.md"), ()), whole=True)
        if not found:
            found.add_texts(_SENTENCES.get(script, _SENTENCES["LATIN"]), whole=True)
    return {"origin": origin, "script": script, **found.as_dict()}


def main_script(service: Service) -> str:
    """Return the script of most letters among the tokens of a vocabulary, as Unicode names it; Han counts as CJK.

    A vocabulary with any number of kana is Japanese: HIRAGANA. Chinese vocabularies list Latin words too, but most of
    their own characters are one token each, so a fifth of the tokens is enough.
    """
    tokenizer = service.model.tokenizer
    ids = tokenizer.ordinary_ids
    counts: Counter[str] = Counter()
    for id_ in ids[:: max(1, len(ids) // _SAMPLED_IDS)]:
        letter = next(filter(str.isalpha, tokenizer.decode([int(id_)])), "")
        if letter:
            counts[unicodedata.name(letter, "").split(" ")[0]] += 1
    total = max(1, counts.total())
    if counts["HIRAGANA"] + counts["KATAKANA"] > 0.02 * total and counts["CJK"] > 0.05 * total:
        return "HIRAGANA"
    if counts["CJK"] > 0.2 * total:
        return "CJK"
    return counts.most_common(1)[0][0] if counts else "LATIN"


class _Found:
    """Inputs found so far; each must fit the model and be encodable."""

    def __init__(self, service: Service, dense: bool) -> None:
        self._tokenizer, self._shortest = service.model.tokenizer, _DENSE_SHORTEST if dense else _SHORTEST
        self._pairs, self._room = service.takes_pairs, service.model.max_length - 2
        self._texts: list[str] = []
        self._two: list[tuple[str, str]] = []
        self._questions: list[dict[str, str]] = []

    def __bool__(self) -> bool:
        return bool(self._texts or self._two or self._questions)

    def add_texts(self, texts: Iterable[str], whole: bool = False) -> None:
        """Add texts. whole: they are sentences; otherwise the first sentences of the right length are taken."""
        fragments = []
        for text in islice(texts, _LOOKED_AT):
            if len(self._texts) == _EXAMPLES:
                return
            short = " ".join(text.split()) if whole else self._sentences(text)
            if short and short not in self._texts and self._readable(short):
                self._texts.append(short)
            elif not short and self._readable(fragment := _fragment(text)):
                fragments.append(fragment)
        if not self._texts:
            self._texts = fragments[:_EXAMPLES]

    def add_records(self, records: Iterable[Any]) -> None:
        """Add labelled records."""
        for record in islice(records, _LOOKED_AT):
            match record:
                case TextRecord(text=text, text_pair=str(pair)) if len(self._two) < _EXAMPLES:
                    if len(text) + len(pair) <= 2 * _LONGEST and self._readable(text + " " + pair):
                        self._two.append((text, pair))
                case TextRecord(text=text, text_pair=None):
                    self.add_texts([text], whole=len(text) <= _LONGEST)
                case TaggedRecord(words=words) if _DENSE_SHORTEST <= len(text := join_words(words)[0]) <= _LONGEST:
                    self.add_texts([text], whole=True)
                case QuestionRecord(question=question, context=context) if len(self._questions) < _EXAMPLES:
                    if len(context) <= _LONGEST_CONTEXT and self._readable(context):
                        self._questions.append({"question": question, "context": context})

    def as_dict(self) -> dict[str, Any]:
        return {"texts": self._texts, "pairs": self._two, "questions": self._questions}

    def _sentences(self, text: str) -> str:
        """Return the first sentences up to a length that reads well, "" if there are none."""
        kept = ""
        for sentence in re.split(r"(?<=[.!?])\s+|(?<=[。！？])|\n+", text):
            if len(kept) >= 2 * self._shortest or len(kept) + len(sentence) > _LONGEST:
                break
            kept = " ".join(f"{kept} {sentence}".split()) if sentence.isascii() else kept + sentence.strip()
        return kept if len(kept) >= self._shortest else ""

    def _readable(self, text: str) -> bool:
        ids = self._tokenizer.encode(text, special_in_text=True).ids
        unknown = int((ids == self._tokenizer.special.unk).sum()) if self._tokenizer.special.unk is not None else 0
        return 0 < len(ids) <= self._room and unknown <= _MAX_UNKNOWN * len(ids)


def _fragment(text: str) -> str:
    """Return the start of a text without sentences."""
    return " ".join(text[:_LONGEST].split()) if len(text) <= _LONGEST else " ".join(text[:_LONGEST].split()[:-1])


def _from_run(service: Service, found: _Found) -> str:
    """Add inputs of the data of a run; return their origin. Nothing is added if the data are gone or damaged."""
    model = service.model.folder.resolve()
    for run in (model.parent, model):
        try:
            settings = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        data = settings.get("data")
        if not isinstance(data, dict):
            continue
        try:
            if isinstance(data.get("path"), str):
                found.add_texts(_held_out(_existing(data["path"], run), service))
                return "held-out"
            return _add_labelled(settings, data, run, found)
        except (MasklingError, OSError, ValueError, IndexError):
            continue
    return "script"


def _held_out(folder: Path, service: Service) -> Iterator[str]:
    """Yield documents of the validation split. Data of another vocabulary have none."""
    shards = open_shards(folder)
    if shards.manifest.vocab_size != service.model.tokenizer.vocab_size:
        return
    unknown = service.model.tokenizer.special.unk
    for block in shards.first_shard("validation").blocks():
        step = max(1, (len(block.documents) - 1) // _LOOKED_AT)
        for first, last in list(zip(block.documents[:-1], block.documents[1:], strict=True))[::step]:
            # Sentences keep the line breaks apart; a few are enough.
            stop = min(int(last), int(first) + 6)
            ids = block.tokens[block.sentences[first] : block.sentences[stop]]
            if not (ids == unknown).any():
                yield service.model.tokenizer.decode(ids)


def _add_labelled(settings: dict[str, Any], data: dict[str, Any], run: Path, found: _Found) -> str:
    kind = settings.get("task", {}).get("kind", "classify")
    columns = settings.get("columns", {})
    given = {key: value for key, value in columns.items() if value != "none"}
    for name in ("dev", "test", "train"):
        path = data.get(name)
        if isinstance(path, str) and path not in ("", "none"):
            reader = RecordReader(
                str(_existing(path, run)),
                kind if kind in ("multi-label", "regress", "tag", "answer") else "classify",
                Columns.model_validate(given),
                labels="ignored",
            )
            found.add_records(reader.records())
            if found:
                return "training" if name == "train" else "held-out"
    return "script"


def _existing(path: str, run: Path) -> Path:
    """Return a path of a run's settings, which is relative to the folder that the run was started in."""
    for base in (Path(), *run.parents[:4]):
        if (base / path).exists():
            return base / path
    return Path(path)


def _widget_texts(card: Path, mask_token: str) -> list[str]:
    """Return the texts of the widget of a model card, with the model's own mask token."""
    quoted = re.findall(r"^\s*(?:-\s*)?text:\s*(\S.*)$", _metadata(card), re.MULTILINE)
    return [re.sub(r"\[MASK\]|<mask>", lambda _: mask_token, _unquoted(text)) for text in quoted]


def _unquoted(text: str) -> str:
    text = text.strip()
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            return text.strip('"')
    return text[1:-1].replace("''", "'") if text[:1] == text[-1:] == "'" else text


def _language(card: Path) -> str:
    match = re.search(r"^language:\s*(?:-\s*)?([a-z]{2})\b", _metadata(card), re.MULTILINE)
    return match[1] if match else ""


def _metadata(card: Path) -> str:
    try:
        text = card.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.partition("---\n")[2].partition("\n---")[0] if text.startswith("---\n") else ""
