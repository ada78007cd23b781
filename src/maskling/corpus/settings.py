"""The settings of reading and cleaning: the section [corpus]."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from maskling.config import Settings

# The names of READERS, which import this file.
FORMATS = ("plain", "jsonl", "csv", "tsv", "parquet", "html", "markdown", "epub")


class CleanSettings(Settings):
    """The clean-up of every text."""

    normal_form: Literal["NFC", "NFKC", "none"] = Field("NFC", description="Unicode normal form")
    fix_mojibake: bool = Field(False, description="repair text decoded with a wrong encoding (ftfy, slow)")
    spaces: Literal["collapse", "keep"] = Field(
        "collapse",
        description="keep: tabs, runs of spaces and blank lines stay, and lines are never joined (for code, tables and "
        "verse); default with tokenizer.spaces = keep: keep",
    )
    join_lines: Literal["auto", "never"] = Field(
        "auto", description="join lines into paragraphs if the text is clearly wrapped at a fixed width"
    )


class FilterSettings(Settings):
    """The filters that reject documents. The defaults keep a poem of 20 Chinese characters."""

    min_characters: int = Field(20, ge=0, description="minimum characters per document, white space not counted")
    max_repeated_lines: float = Field(
        0.5, ge=0, le=1, description="maximum share of characters in lines that repeat an earlier line of the document"
    )
    max_repeated_words: float = Field(
        0.5, ge=0, le=1, description="maximum share of runs of five words that repeat an earlier run of the document"
    )
    min_alphabetic: float = Field(0.4, ge=0, le=1, description="minimum share of letters among the visible characters")


class CorpusSettings(Settings):
    """Settings of reading, cleaning, filtering, splitting into sentences and deduplication."""

    format: str = Field("auto", description="reader for all sources; 'auto': by suffix")
    plain: Literal["file", "blank-line", "line", "sentence-per-line"] = Field(
        "file",
        description="unit of plain text that is one document: the file, a block between blank lines, a line, "
        "or (the input format of the original BERT) a block with one sentence per line",
    )
    text_field: str = Field("text", description="field or column with the text; dots address nested fields")
    id_field: str | None = Field(
        None, description="field or column with the name of the document; default: file name and line or row"
    )
    encoding: str = Field("auto", description="character encoding; 'auto': byte order mark, else UTF-8")
    errors: Literal["replace", "strict"] = Field(
        "replace", description="invalid bytes: replace and count them, or stop with an error that names file and line"
    )
    on_bad_file: Literal["report", "stop"] = Field(
        "report", description="a file that cannot be read: report it and continue, or stop"
    )
    max_document_characters: int = Field(
        10_000_000, ge=1000, description="longer plain texts become several documents, split at a line or a space"
    )
    language: str = Field("auto", description="language code for splitting sentences; 'auto': from the script")
    abbreviations: tuple[str, ...] = Field(
        (), description="additional abbreviations whose full stop does not end a sentence ('Abb.')"
    )
    clean: CleanSettings = CleanSettings()
    filters: FilterSettings = FilterSettings()
    dedup: Literal["document", "paragraph", "none"] = Field("document", description="unit that is deduplicated")
    dedup_min_characters: int = Field(
        80, ge=1, description="shorter paragraphs (headings, 'Yes.') may repeat when paragraphs are deduplicated"
    )

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        if value != "auto" and not is_encoding(value):
            raise ValueError("there is no such encoding; common ones are utf-8, utf-16, gbk, latin-1")
        return value

    @field_validator("format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        known = ("auto", *FORMATS)
        if value not in known:
            raise ValueError(f"there is no such reader; choose one of {', '.join(known)}")
        return value


def is_encoding(name: str) -> bool:
    """Return whether Python can decode text with this encoding. 'rot13' and 'zip' are codecs but not encodings."""
    try:
        b"aaaa".decode(name)
    except UnicodeDecodeError:
        return True
    except (LookupError, ValueError):
        return False
    return True
