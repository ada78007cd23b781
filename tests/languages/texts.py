"""Texts in many languages and domains: the Universal Declaration of Human Rights, and made-up lines of eight domains.

The declaration is in the public domain (United Nations, 1948); each language has its thirty articles, a paragraph each.
"""

from __future__ import annotations

import base64
import json
import lzma
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_DECLARATION = Path(__file__).with_name("udhr.jsonl.xz")


@dataclass(frozen=True)
class Sample:
    """Texts of one language or domain. train: to train a vocabulary on; held_out: other texts of the same kind."""

    name: str
    train: list[str]
    held_out: list[str]


def languages() -> list[Sample]:
    """Return the declaration in every language; each fifth article is held out."""
    lines = lzma.decompress(_DECLARATION.read_bytes()).decode().splitlines()
    return [
        Sample(
            record["language"],
            [text for number, text in enumerate(record["articles"]) if number % 5 != 4],
            [text for number, text in enumerate(record["articles"]) if number % 5 == 4],
        )
        for record in map(json.loads, lines)
    ]


def domains() -> list[Sample]:
    """Return eight domains, of lines that are drawn from a fixed seed."""
    return [_sample(name, line) for name, line in _DOMAINS.items()]


def _sample(name: str, line: Callable[[random.Random], str]) -> Sample:
    draw = random.Random(name)
    lines = [line(draw) for _ in range(500)]
    return Sample(name, lines[:400], lines[400:])


def _dna(draw: random.Random) -> str:
    return "".join(draw.choices("ACGT", k=draw.randint(80, 200)))


def _protein(draw: random.Random) -> str:
    return "M" + "".join(draw.choices("ACDEFGHIKLMNPQRSTVWY", k=draw.randint(60, 180)))


_RINGS = ("c1ccccc1", "C1CCNCC1", "c1ccncc1", "C1CCOC1", "n1cccc1", "c1ccsc1")
_GROUPS = (
    "C(=O)N",
    "C(=O)O",
    "[N+](=O)[O-]",
    "[C@@H](N)",
    "[C@H](O)",
    "Cl",
    "Br",
    "C#N",
    "S(=O)(=O)",
    "CC",
    "OC",
    "/C=C/",
)


def _molecule(draw: random.Random) -> str:
    return "".join(draw.choice(_GROUPS) + draw.choice(_RINGS) for _ in range(draw.randint(2, 5)))


def _log(draw: random.Random) -> str:
    day = f"2026-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}"
    when = f"{day}T{draw.randint(0, 23):02}:{draw.randint(0, 59):02}:07.{draw.randint(0, 999):03}Z"
    address = ".".join(str(draw.randint(0, 255)) for _ in range(4))
    level, unit = draw.choice(("INFO", "WARN", "ERROR")), draw.choice(("sshd", "kernel", "nginx", "postgres"))
    unit = f"{unit}[{draw.randint(100, 99999)}]"
    return f"{when} {level} {unit}: from {address} port {draw.randint(1024, 65535)} id={draw.getrandbits(64):016x}"


def _base64(draw: random.Random) -> str:
    return "payload " + base64.b64encode(draw.randbytes(draw.randint(60, 150))).decode()


def _code(draw: random.Random) -> str:
    name, other = draw.choice(("total", "rows", "user_id", "maxLen")), draw.choice(("items", "cfg", "path", "buf2"))
    function = f"def {name}_of({other}: list[int], n={draw.randint(0, 99)}) -> int:"
    loop = f"for {name} in range(0x{draw.getrandbits(8):02x}):\n    if not {other}[{name}]:"
    return draw.choice(
        (
            f"{function}\n    return sum(x ** 2 for x in {other} if x != n)",
            f"{loop}\n        raise ValueError(f'{{{name}!r}} is bad')",
            f"{name} = {{k: v for k, v in {other}.items() if k != 'a'}}\n{name} |= {draw.randint(1, 9)} << 3",
        )
    )


_FACES = ("👨‍👩‍👧", "🏳️‍🌈", "❤️", "👍🏽", "🇹🇷", "😂", "🙏🏿", "1️⃣")


_SLANG = ("soooo", "good", "café", "naïve", "rt", "lol", "can't", "C++", "covid-19", "über")


def _tweet(draw: random.Random) -> str:
    words = " ".join(draw.choices(_SLANG, k=6))
    tag, link = f"#Tag{draw.randint(1, 30)}", f"https://t.co/{draw.getrandbits(40):x}"
    return f"@user_{draw.randint(1, 99)} {words} {draw.choice(_FACES)} {tag} {link}"


_DRUGS = ("metoprolol", "ß-lactam", "5-FU", "α-tocopherol", "naïve T-cell")


def _note(draw: random.Random) -> str:
    dose = f"{draw.choice(_DRUGS)} {draw.randint(1, 500)}{draw.choice(('mg/dL', 'µg', '°C', 'mmol/L'))} b.i.d."
    code = f"ICD-10 {draw.choice('ABIJ')}{draw.randint(10, 99)}.{draw.randint(0, 9)}"
    signs = f"SpO₂ {draw.randint(80, 99)} %, pH 7.{draw.randint(20, 45)}"
    return f"Pt. c/o dyspnoea ×{draw.randint(1, 9)}d; {dose}, {code}; {signs}"


_DOMAINS: dict[str, Callable[[random.Random], str]] = {
    "DNA": _dna,
    "Proteins": _protein,
    "Molecules (SMILES)": _molecule,
    "Server logs": _log,
    "Base64": _base64,
    "Python code": _code,
    "Tweets with emoji": _tweet,
    "Clinical notes": _note,
}
