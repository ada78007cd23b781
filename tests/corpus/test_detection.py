from __future__ import annotations

import pytest

from maskling.corpus.detection import guess_encoding, guess_wide_encoding

# The first article of the Universal Declaration of Human Rights, and the like, often enough to have 25 letters.
TEXTS = {
    "windows-1252": "Où est passé l’été ? Les êtres humains naissent libres et égaux en dignité ; à bientôt, là-bas. ",
    "windows-1250": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności. Są obdarzeni rozumem. ",
    "windows-1251": "Все люди рождаются свободными и равными в своём достоинстве и правах. ",
    "koi8-r": "Все люди рождаются свободными и равными в своём достоинстве и правах. ",
    "windows-1253": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. ",
    "windows-1254": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler. ",
    "windows-1255": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון. ",
    "windows-1256": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا. ",
    "shift_jis": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "euc-jp": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "iso-2022-jp": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "gb18030": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "big5": "人人生而自由，在尊嚴和權利上一律平等。他們賦有理性和良心，並應以兄弟關係的精神相對待。",
    "euc-kr": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. ",
    "windows-874": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผล ",
}
PYTHON_NAMES = {"shift_jis": "cp932", "windows-874": "cp874", "euc-kr": "cp949"}


@pytest.mark.parametrize("name", TEXTS)
def test_text_of_a_page_is_recognized(name: str) -> None:
    guess = guess_encoding((TEXTS[name] * 10).encode(PYTHON_NAMES.get(name, name)))
    assert guess == (name, True)


@pytest.mark.parametrize("text", ["It’s a “fine” day – well…", "Die Bürger hören Musik über die Straße.", "Ein Café"])
def test_few_bytes_that_all_western_encodings_share_are_enough(text: str) -> None:
    assert guess_encoding(text.encode("cp1252")) == ("windows-1252", True)


@pytest.mark.parametrize(
    "data",
    [
        "où est-il, là?".encode("cp1252"),  # too few to know French from Slovak
        ("It’s what they don’t say, isn’t it. " * 20).encode("mac-roman"),  # it would be 'ItÕs' in windows-1252
        "c'est l’été".encode("mac-roman"),
        bytes(range(1, 256)) * 9,
    ],
)
def test_a_guess_is_never_sure_where_it_would_be_wrong(data: bytes) -> None:
    guess = guess_encoding(data)
    assert guess is None or not guess.sure or guess.encoding == "macintosh"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["plain words, and some more.\n", "中文没有标记的文字。\n一行 abc\n"])
def test_wide_encodings_without_a_mark(encoding: str, text: str) -> None:
    assert guess_wide_encoding((text * 9).encode(encoding)) == encoding


def test_binary_data_are_no_wide_text() -> None:
    for data in (b"\0\1" * 50, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 50, bytes(range(256)) * 4, b"ab\0"):
        assert guess_wide_encoding(data) is None
