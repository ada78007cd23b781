"""The text that a template leaves: a pattern filled from its arguments.

A pattern is literal text with fields in braces. A field names arguments, and the first one that is not empty counts:

    {2}         the second argument          {label,1}   the argument 'label', else the first
    {-1}        the last argument            {*}         all arguments, with spaces between them
    {**}        all arguments, with nothing between them

A pattern that begins with '@' is one of the functions below.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_FIELD: Final = re.compile(r"\{([^{}]*)\}")
_NUMBER: Final = re.compile(r"[-+−±]?[\d.,\s]*\d(?:[.,/⁄]\d+)?(?:e[-+]?\d+)?|\d+[+ ]\d+/\d+")
_BETWEEN_NUMBERS: Final = {
    "-": "–",
    "–": "–",
    "to": " to ",
    "to(-)": "–",
    "and": " and ",
    "and(-)": " and ",
    "or": " or ",
    "x": " × ",
    "×": " × ",
    "by": " by ",
    "xx": " × ",
    "+/-": " ± ",
    "±": " ± ",
    "*": " × ",
    "&": " and ",
    "bis": " bis ",
    "à": " à ",
    "et": " et ",
    "a": " a ",
    "y": " y ",
    "e": " e ",
    "до": " до ",
    "至": "至",
}
_UNITS: Final = {
    "c": "°C",
    "f": "°F",
    "km2": "km²",
    "m2": "m²",
    "cm2": "cm²",
    "m3": "m³",
    "km3": "km³",
    "sqmi": "sq mi",
    "sqft": "sq ft",
    "sqm": "m²",
    "sqkm": "km²",
    "cuft": "cu ft",
    "cumi": "cu mi",
    "km/h": "km/h",
    "kph": "km/h",
    "in": "in",
    "°c": "°C",
    "°f": "°F",
}
_SUPERSCRIPTS: Final = str.maketrans("0123456789+-−=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿⁱ")
_RAISED: Final = frozenset("0123456789+-−=()")


def fill(pattern: str, arguments: Sequence[str]) -> str:
    """Return the text of a template. arguments: as written, without its name."""
    places, names = _named(arguments)
    if pattern.startswith("@"):
        return _FUNCTIONS[pattern](places)
    values = [_value(name, places, names) for name in _FIELD.findall(pattern)]
    if not values:
        return pattern
    if not any(values):
        return ""
    # The spaces between two fields stay behind where the second one is empty.
    return _FIELD.sub(lambda _: values.pop(0), pattern).strip(" ")


def superscript(text: str) -> str:
    """Return digits and signs as superscripts, so that 10 to the power of 6 is not 106; other text as it is."""
    stripped = text.strip()
    # A letter alone may be raised beside digits (2n), but 'n' and 'i' alone are more often words.
    if stripped and _RAISED.issuperset(stripped) and any(map(str.isdigit, stripped)):
        return stripped.translate(_SUPERSCRIPTS)
    return text


def _named(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the arguments by place and those by name, without white space around them."""
    places: list[str] = []
    names: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            places.append(argument.strip())
            continue
        key = key.strip()
        if key.isdecimal() and len(key) < 3:
            index = int(key)
            places += [""] * (index - len(places))
            if index:
                places[index - 1] = value.strip()
        else:
            names[key.casefold()] = value.strip()
    return places, names


def _value(field: str, places: Sequence[str], names: dict[str, str]) -> str:
    if field == "*":
        return " ".join(filter(None, places))
    if field == "**":
        return "".join(places)
    for name in field.split(","):
        if name == "-1":
            found = places[-1] if places else ""
        elif name.isdecimal():
            index = int(name)
            found = places[index - 1] if index <= len(places) else ""
        else:
            found = names.get(name, "")
        if found:
            return found
    return ""


def _convert(places: Sequence[str]) -> str:
    """Return a quantity as given, without its conversions: 5 km; 5 to 10 km; 5 ft 10 in."""
    shown = ""
    index = 0
    while index < len(places):
        shown += places[index]
        following = places[index + 1] if index + 1 < len(places) else ""
        if following.lower() in _BETWEEN_NUMBERS and index + 2 < len(places):
            shown += _BETWEEN_NUMBERS[following.lower()]
            index += 2
            continue
        if not following:
            return shown
        shown += f" {_UNITS.get(following.lower(), following)}"
        # 5 ft 10 in: a number and a unit again.
        again = places[index + 2 : index + 4]
        is_number = len(again) == 2 and len(again[0]) < 30 and _NUMBER.fullmatch(again[0]) is not None
        if is_number and following in ("ft", "lb", "st", "mi", "yd", "oz"):
            shown += " "
            index += 2
            continue
        return shown
    return shown


def _fraction(places: Sequence[str]) -> str:
    if len(places) >= 3:
        return f"{places[0]} {places[1]}/{places[2]}"
    if len(places) == 2:
        return f"{places[0]}/{places[1]}"
    return f"1/{places[0]}" if places else ""


def _superscript(places: Sequence[str]) -> str:
    return superscript(places[0]) if places else ""


_FUNCTIONS: Final = {"@convert": _convert, "@fraction": _fraction, "@superscript": _superscript}
