"""Every setting of the way from files to clean documents: the section [corpus]."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from maskling.config import Settings

# The names of READERS, which import this file.
FORMATS = ("plain", "jsonl", "csv", "tsv", "parquet", "html", "markdown", "epub")


class CleanSettings(Settings):
    """What is tidied in every text."""

    normal_form: Literal["NFC", "NFKC", "none"] = Field("NFC", description="Unicode normal form")
    fix_mojibake: bool = Field(False, description="mend text decoded with a wrong encoding (ftfy, slow)")
    join_lines: Literal["auto", "never"] = Field(
        "auto", description="join the lines of text wrapped at a fixed width into paragraphs, where it plainly is"
    )


class FilterSettings(Settings):
    """Which documents are left out. The defaults let a poem of 20 Chinese characters through."""

    min_characters: int = Field(20, ge=0, description="shortest document, white space not counted")
    max_repeated_lines: float = Field(
        0.5, ge=0, le=1, description="largest share of the text in lines that stand earlier in the same document"
    )
    max_repeated_words: float = Field(
        0.5, ge=0, le=1, description="largest share of runs of five words that stand earlier in the same document"
    )
    min_alphabetic: float = Field(0.4, ge=0, le=1, description="smallest share of letters among the visible characters")


class CorpusSettings(Settings):
    """How text is read, cleaned, filtered and cut into sentences."""

    format: str = Field("auto", description="reader for every source, or 'auto' for one by suffix")
    plain: Literal["file", "blank-line", "line", "sentence-per-line"] = Field(
        "file",
        description="what a document is in plain text: the file, a block between blank lines, a line, "
        "or (as BERT's own tools want it) a block with one sentence a line",
    )
    text_field: str = Field("text", description="field or column with the text; dots reach into nested fields")
    id_field: str | None = Field(None, description="field or column with the document's name, if it has one")
    encoding: str = Field("auto", description="character encoding; 'auto' follows a byte order mark, else UTF-8")
    errors: Literal["replace", "strict"] = Field(
        "replace", description="bytes that are no text: replaced and counted, or an error that names file and line"
    )
    on_bad_file: Literal["report", "stop"] = Field("report", description="what to do with a file that cannot be read")
    max_document_characters: int = Field(
        10_000_000, ge=1000, description="longer plain texts become several documents, cut at a line or a space"
    )
    language: str = Field("auto", description="language code for finding sentences; 'auto' looks at the script")
    abbreviations: tuple[str, ...] = Field((), description="further words whose full stop ends no sentence ('Abb.')")
    clean: CleanSettings = CleanSettings()
    filters: FilterSettings = FilterSettings()
    dedup: Literal["document", "paragraph", "none"] = Field("document", description="what must not occur twice")
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
            raise ValueError(f"there is no such reader; there are {', '.join(known)}")
        return value


def is_encoding(name: str) -> bool:
    """Whether Python can decode text with this encoding. 'rot13' and 'zip' are codecs too, but no encodings."""
    try:
        b"aaaa".decode(name)
    except UnicodeDecodeError:
        return True
    except (LookupError, ValueError):
        return False
    return True
