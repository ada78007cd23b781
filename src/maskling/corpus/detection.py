"""Recognize the encoding of text that declares none and is not UTF-8, from its bytes.

chardet makes a guess. A guess is used only if the text that it gives could have been written by a person: a wrong
encoding puts symbols and capital letters inside words, or mixes alphabets in one word. Otherwise the file is refused,
and the guess is named in the message.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from itertools import pairwise
from typing import NamedTuple

from maskling.corpus.web_encodings import codec_decoder, web_encoding

# Encodings in which text is found today, in Python's names. Rarer ones are taken for these, or these for them.
_CANDIDATES = (
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"),
    *("iso8859-1", "iso8859-2", "iso8859-5", "iso8859-7", "iso8859-9", "iso8859-15"),
    *("koi8-r", "koi8-u", "cp866", "cp437", "cp850", "cp852", "mac-roman", "mac-cyrillic"),
    *("gb18030", "big5hkscs", "cp932", "euc-jp", "cp949", "iso-2022-jp", "iso2022_kr", "hz", "utf-7"),
)
# chardet's names that are no labels of the web.
_WEB_NAMES = {
    "big5hkscs": "big5",
    "cp874": "windows-874",
    "cp932": "shift_jis",
    "cp949": "euc-kr",
    "euc_jis_2004": "euc-jp",
    "iso2022_jp_2": "iso-2022-jp",
    "mac-cyrillic": "x-mac-cyrillic",
    "mac-roman": "macintosh",
    "shift_jis_2004": "shift_jis",
}
# Of two encodings that agree on a text so far, the one that more text is in.
_MORE_FREQUENT = {"iso-8859-2": "windows-1250", "iso-8859-7": "windows-1253", "iso-8859-15": "windows-1252"}
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_FEW = 25  # letters beyond ASCII; fewer do not tell the alphabets of Europe apart
_SURE_QUOTES = 5
_SAMPLE_BYTES = 1 << 16
_MOST_ODD = 0.02
_PRINTABLE = 0.97
_SPACE_SHARE = 0.01

# The bytes that windows-1250, -1252, -1254 and -1257 read as the same letter or mark: most of German, the dashes and
# quotation marks of typesetting programs, and some letters of most Latin alphabets.
_SHARED = frozenset(
    code
    for code in range(0x80, 0x100)
    if len({bytes([code]).decode(f"cp{page}", "replace") for page in (1250, 1252, 1254, 1257)} - {"\ufffd"}) == 1
    and "\ufffd" not in bytes([code]).decode("cp1252", "replace")
) - {*range(0x81, 0x85), *range(0x86, 0x90), 0x9A}  # these are é, ê, ä, ö, ... of DOS and the Macintosh
_QUOTES = frozenset(range(0x91, 0x98))
# Quotation marks and dashes of windows-125x where they belong, which letters of other encodings would not keep to.
_TYPOGRAPHIC = re.compile(
    rb"(?<![A-Za-z])[\x91\x93](?=\w)|(?<=[\w.,!?])[\x92\x94](?![A-Za-z])"
    rb"|(?<=[A-Za-z])\x92(?=[a-z])|(?<= )[\x96\x97](?= )"
)
# Signs between two letters of Europe that a wrong encoding puts there; apostrophes, dashes and points may stand there.
_BETWEEN_LETTERS = re.compile(
    r"(?<=[A-Za-z\u00aa-\u052f])[^\w\s\x00-\x7f\xad\xb4\xb7’‘‛‧‐-―…“”„«»•\u0300-\u036f](?=[A-Za-z\u00aa-\u052f])"
)
# In windows-1258: a vowel beyond ASCII, then a tone.
_TONES = re.compile(rb"[\xc2\xca\xd4\xe2\xea\xf4\xe3\xf5\xfd\xd5\xdd][\xcc\xd2\xde\xec\xf2]")
_WORD = re.compile(r"[^\W\d_]+")
_AFTER_POINT = re.compile(r"(?<=[a-z][.,;:!?])[^\W\d_]")


class Guess(NamedTuple):
    """An encoding that fits some bytes. sure: nothing speaks against it."""

    encoding: str
    sure: bool


def guess_encoding(sample: bytes) -> Guess | None:
    """Return the likely encoding of text that is not UTF-8, or None if it looks like no text."""
    high = sample.translate(None, bytes(range(0x80)))
    marks = 0x85 not in high or not _QUOTES.isdisjoint(high)  # alone, it may be à of DOS
    if high and marks and _SHARED.issuperset(high) and _is_plausible(sample.decode("cp1252", "replace")):
        return Guess("windows-1252", sure=True)
    import chardet  # takes 60 ms to import, and few corpora need it

    found = chardet.detect(sample[:_SAMPLE_BYTES], compat_names=False, include_encodings=_CANDIDATES)["encoding"]
    if found is None:
        return None
    web = web_encoding(_WEB_NAMES.get(found, found))
    name = web if web is not None and web != "replacement" else found
    try:
        text = codec_decoder(name, "strict").decode(sample)
    except UnicodeDecodeError:
        return Guess(name, sure=False)
    other = _MORE_FREQUENT.get(name)
    if other is not None and text == codec_decoder(other, "replace").decode(sample):
        name = other
    if _is_vietnamese(high):
        return Guess("windows-1258", sure=False)
    if found in ("utf-7", "hz"):  # written in ASCII, so that other text may look like it
        return Guess(name, sure=False)
    letters = sum(character > "\x7f" and character.isalpha() for character in text)
    # With enough quotation marks and dashes of windows-125x, what is open is only the letters of a few foreign words.
    if letters < _FEW and _is_plausible(western := sample.decode("cp1252", "replace")):
        quotes = len(_TYPOGRAPHIC.findall(sample))
        return Guess("windows-1252", sure=name == "windows-1252" and quotes >= _SURE_QUOTES and text == western)
    return Guess(name, sure=letters >= _FEW and _is_plausible(text))


def _is_vietnamese(high: bytes) -> bool:
    """Return whether bytes beyond ASCII are those of windows-1258, whose tones are bytes of their own after a vowel."""
    return len(_TONES.findall(high)) > 0.15 * len(high)


def guess_wide_encoding(sample: bytes) -> str | None:
    """Return the UTF-16 or UTF-32 that bytes with zeros among them are text in, or None."""
    for encoding in _WIDE:
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(sample)
        except UnicodeDecodeError:
            continue
        visible = sum(character.isprintable() or character in "\t\n\r\f" for character in text)
        between = sum(map(text.count, " \n\t。，、"))
        if visible >= _PRINTABLE * len(text) and between >= _SPACE_SHARE * len(text) > 0:
            return encoding
    return None


def _is_plausible(text: str) -> bool:
    """Return whether next to no word of a text has letters or signs that a wrong encoding would put there."""
    beyond = [character for character in text if character > "\x7f"]
    if not beyond or any("\x80" <= character <= "\x9f" or character == "\ufffd" for character in beyond):
        return False
    odd = len(_BETWEEN_LETTERS.findall(text))
    odd += sum(letter[0] > "\x7f" and letter[0].isupper() for letter in _AFTER_POINT.finditer(text))
    words = 0
    for found in _WORD.finditer(text):
        word = found[0]
        if word.isascii():
            continue
        words += 1
        odd += _is_odd(word)
    return odd <= _MOST_ODD * max(words, len(beyond) / 4)


def _is_odd(word: str) -> bool:
    """Return whether a word mixes alphabets, or has a letter beyond ASCII that is a capital after a small letter."""
    if any(a.islower() and b > "\x7f" and b.isupper() for a, b in pairwise(word)):
        return True
    scripts = {unicodedata.name(letter, "?").split(" ", 1)[0] for letter in word if letter > "\x7f"}
    ascii_too = any(letter <= "\x7f" for letter in word)
    return bool(scripts & {"CYRILLIC", "GREEK", "ARABIC", "HEBREW", "THAI"}) and (ascii_too or len(scripts) > 1)
