"""The table of docs/explain/languages.md. Print it with: python -m languages.table (in tests/)."""

from __future__ import annotations

from languages.measuring import measure
from languages.texts import domains, languages
from maskling.tokenizer.settings import TokenizerSettings


def table(kind: str = "wordpiece") -> str:
    """Return the rows of all languages and domains in Markdown."""
    lines = [
        "| text | kept | new characters | unknown | tokens per word | token | word | span | n-gram |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for sample in (*languages(), *domains()):
        found = measure(sample, TokenizerSettings(kind=kind))
        rates = " | ".join(f"{100 * rate:.1f} %" for rate in found.rates.values())
        lines.append(
            f"| {sample.name} | {100 * found.kept:.2f} % | {100 * found.new:.2f} % | {100 * found.unknown:.2f} % | "
            f"{found.tokens_per_word:.2f} | {rates} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    import sys

    print(table(*sys.argv[1:]))
