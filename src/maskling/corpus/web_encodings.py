"""Character encodings as web browsers read them: labels and decoders of the WHATWG Encoding Standard.

A page that declares iso-8859-1 is read as windows-1252, gb2312 as gb18030, shift_jis as windows-31j, and so on: the
pages were written for programs that did so. Python's codecs of the same names are stricter or older. The labels come
from webencodings; the decoders are Python's, with the differences to the standard's tables corrected here.
"""

from __future__ import annotations

import codecs
import functools
from collections.abc import Callable

import webencodings

# Names of the standard whose decoder in Python has another name. gb18030 decodes all of GBK.
_CODECS = {
    "big5": "big5hkscs",
    "euc-kr": "cp949",
    "gbk": "gb18030",
    "ibm866": "cp866",
    "iso-8859-8-i": "iso8859-8",
    "macintosh": "mac-roman",
    "shift_jis": "cp932",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "windows-874": "cp874",
    "x-mac-cyrillic": "mac-cyrillic",
}
_MULTI_BYTE = (
    "big5",
    "euc-jp",
    "euc-kr",
    "gb18030",
    "gbk",
    "iso-2022-jp",
    "shift_jis",
    "utf-8",
    "utf-16be",
    "utf-16le",
)
# Bytes of single-byte encodings that Python decodes to another character or not at all. Unassigned bytes from 80 to 9f
# are control characters in all of them.
_BYTES = {
    "koi8-u": {0xAE: "\u045e", 0xBE: "\u040e"},
    "windows-1255": {0xCA: "\u05ba"},
}
_UNASSIGNED = "\ufffe"  # as codecs.charmap_decode marks it

# Characters that Python's decoder gives, and those of the standard.
_FULL_WIDTH = {"\u301c": "～", "\u2016": "∥", "\u2212": "－", "\xa2": "￠", "\xa3": "￡", "\xac": "￢"}
_CHARACTERS = {
    "big5": dict(zip("\u2022\uff64\u203e\u223c\u2641\u2609\xa5\xa2\xa3", "‧﹑¯～⊕⊙￥￠￡", strict=True)),
    "euc-jp": _FULL_WIDTH,
    "iso-2022-jp": _FULL_WIDTH,
    # Assigned in GB 18030-2005 and 2022; Python has the version of 2000, in which they were private.
    "gb18030": {
        "\ue5e5": "\u3000",
        "\ue7c7": "\u1e3f",
        **dict(zip(map(chr, range(0xE78D, 0xE797)), "︐︒︑︓︔︕︖︗︘︙", strict=True)),
        **dict(zip("\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864", map(chr, range(0x9FB4, 0x9FBC)), strict=True)),
    },
}
_CHARACTERS["gbk"] = _CHARACTERS["gb18030"]
# Codes of Big5 that Python lacks: additions of HKSCS-2008, and second codes of characters.
_BIG5_CODES = (
    "877a-87df 8e69 8e6f 8e7e 8eab 8eb4 8ecd 8ed0 8f57 8f69 8f6e 8fcb-8fcc 8ffe 906d 907a 90dc 90f1 91bf 9244 "
    "92af-92b2 92c8 92d1 9447 94ca 95d9 9644 96ed 96fc 9b76 9b78 9b7b 9bc6 9bde 9bec 9bf6 9c42 9c53 9c62 9c68 "
    "9c6b 9c77 9cbc-9cbd 9cd0 9d57 9d5a 9dc4 9ea9 9eef 9efd 9f60 9f66 9fcb 9fd8 a063 a077 a0d5 a0df a0e4 "
    "a3c0-a3e1 c6cf c6d3 c6d5 c6d7 c6de-c6df fa5f fa66 fabd fac5 fad5 fb48 fbb8 fbf3 fbf9 fc4f fc6c fcb9 fce2 "
    "fcf1 fdb7-fdb8 fdbb fdf1 fe52 fe6f feaa fedd "
)
_BIG5_CHARACTERS = (
    "㡵𡵓𣚞𦀡㻬𥣞㫵竼龗𤅡𨤍𣇪𠪊𣉞䌊蒄龖鐯䤰蘓墖靊鈘秐稲晠権袝瑌篅枂稬剏遆㓦珄𥶹瓆鿇垳䤯呌䄱𣚎堘穲𧭥讏䚮𦺈䆁𥶙箮𢒼鿈𢓁𢓉𢓌鿉蔄𣖻䂴鿊䓡"
    "𪷿拁灮鿋箸簆糎緒縝者耨菁蒨萏覦覩起都銹靜響鼖蔃兙兛兝兞鍮瑹浧禛邗靝瀞嬨爁矗纇駖釔惞澶輶侻營鄄鷰菏尐秣婧輋筑拐恢痹汊鬮鼗僭弌蠏拎瑨"
    "煢牐␀␁␂␃␄␅␆␇␈␉␊␋␌␍␎␏␐␑␒␓␔␕␖␗␘␙␚␛␜␝␞␟␡€廴无癶隶〃仝倩偽包卄卿嘅婷幵廐彘悤撐晴杞沜渝港煮猪瑜瓩砉"
)


def web_encoding(label: str) -> str | None:
    """Return the name of the encoding that browsers use for a label, in lower case, or None for an unknown label.

    Encodings that browsers refuse to decode (hz-gb-2312, iso-2022-kr, ...) have the name 'replacement'.
    """
    found = webencodings.lookup(label)
    return None if found is None else str(found.name)


def codec_decoder(name: str, errors: str) -> codecs.IncrementalDecoder:
    """Return a new decoder for a label of the web, or else for an encoding of Python."""
    web = None if name.startswith("utf") or name == "ascii" else web_encoding(_label(name))
    if web is None or web == "replacement":
        return codecs.getincrementaldecoder(name)(errors)
    return web_decoder(web, errors)


def _label(name: str) -> str:
    """Return the label of a name in Python's spelling ('latin-1', 'euc_kr'); other names are returned as they are."""
    if web_encoding(name) is not None:
        return name
    try:
        return codecs.lookup(name).name.replace("_", "-")
    except LookupError:
        return name


def page_encoding(label: str) -> str | None:
    """Return the name of the encoding for a label inside a page, or None for an unknown label.

    The label was found as ASCII letters, so UTF-16 cannot be true, and browsers read UTF-8 (HTML Standard, 13.2.3.2).
    """
    name = web_encoding(label)
    if name in ("utf-16le", "utf-16be"):
        return "utf-8"
    return "windows-1252" if name == "x-user-defined" else name


def web_decoder(name: str, errors: str) -> codecs.IncrementalDecoder:
    """Return a new decoder for an encoding of the standard. errors: the name of an error handler."""
    if name not in _MULTI_BYTE:
        return _TableDecoder(name, errors)
    repair = _REPAIRS.get(name)
    if repair is not None:
        handler = f"maskling.{name}.{errors}"
        codecs.register_error(handler, functools.partial(_repaired, repair, codecs.lookup_error(errors)))
        errors = handler
    decoder = codecs.getincrementaldecoder(_CODECS.get(name, name))(errors)
    return _TranslatingDecoder(decoder, _CHARACTERS[name]) if name in _CHARACTERS else decoder


class _TableDecoder(codecs.IncrementalDecoder):
    def __init__(self, name: str, errors: str) -> None:
        super().__init__(errors)
        self._table = _table(name)

    def decode(self, data: bytes, final: bool = False) -> str:  # type: ignore[override]  # noqa: ARG002
        return codecs.charmap_decode(data, self.errors, self._table)[0]


class _TranslatingDecoder(codecs.IncrementalDecoder):
    def __init__(self, decoder: codecs.IncrementalDecoder, characters: dict[str, str]) -> None:
        super().__init__()
        self._decoder = decoder
        self._characters = str.maketrans(characters)

    def decode(self, data: bytes, final: bool = False) -> str:  # type: ignore[override]
        return self._decoder.decode(data, final).translate(self._characters)

    def getstate(self) -> tuple[bytes, int]:
        return self._decoder.getstate()

    def setstate(self, state: tuple[bytes, int]) -> None:
        self._decoder.setstate(state)

    def reset(self) -> None:
        self._decoder.reset()


@functools.cache
def _table(name: str) -> str:
    """Return the 256 characters of a single-byte encoding."""
    if name == "x-user-defined":
        return "".join(chr(code if code < 128 else 0xF700 + code) for code in range(256))
    characters = []
    for code in range(256):
        try:
            character = bytes([code]).decode(_CODECS.get(name, name))
        except UnicodeDecodeError:
            character = chr(code) if code < 0xA0 else _UNASSIGNED
        characters.append(_BYTES.get(name, {}).get(code, character))
    return "".join(characters)


def _repaired(
    repair: Callable[[bytes], tuple[str, int] | None],
    otherwise: Callable[[UnicodeError], tuple[str | bytes, int]],
    error: UnicodeError,
) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeDecodeError):
        found = repair(error.object[error.start : error.start + 2])
        if found is not None:
            return found[0], error.start + found[1]
    return otherwise(error)


def _repair_gb18030(pair: bytes) -> tuple[str, int] | None:
    return ("€", 1) if pair[:1] == b"\x80" else None


def _repair_big5(pair: bytes) -> tuple[str, int] | None:
    character = _big5().get(pair)
    return None if character is None else (character, 2)


def _repair_japanese(pair: bytes) -> tuple[str, int] | None:
    """Decode a character of the rows that NEC and IBM added to JIS X 0208, of which Python's cp932 alone knows."""
    row, cell = ((byte & 0x7F) - 0x21 for byte in pair) if len(pair) == 2 else (-1, -1)
    if not (0 <= row < 94 and 0 <= cell < 94 and (pair[0] ^ pair[1]) < 0x80):
        return None
    lead, trail = divmod(row * 94 + cell, 188)
    code = bytes([lead + (0x81 if lead < 0x1F else 0xC1), trail + (0x40 if trail < 0x3F else 0x41)])
    try:
        return code.decode("cp932"), 2
    except UnicodeDecodeError:
        return None


_REPAIRS = {
    "big5": _repair_big5,
    "euc-jp": _repair_japanese,
    "iso-2022-jp": _repair_japanese,
    "gb18030": _repair_gb18030,
    "gbk": _repair_gb18030,
}


@functools.cache
def _big5() -> dict[bytes, str]:
    codes: list[bytes] = []
    for run in _BIG5_CODES.split():
        first, _, last = run.partition("-")
        code = int(first, 16)
        codes.append(code.to_bytes(2, "big"))
        while code < int(last or first, 16):
            # A second byte is from 40 to 7e or from a1 to fe.
            code += 0x23 if code & 0xFF == 0x7E else 1
            codes.append(code.to_bytes(2, "big"))
    return dict(zip(codes, _BIG5_CHARACTERS, strict=True))
