"""The settings of reading and cleaning: the section [corpus]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from maskling.config import Settings
from maskling.corpus.tables import TableSettings
from maskling.corpus.web_encodings import web_encoding
from maskling.corpus.wikitext.settings import WikiSettings

# The names of READERS, which import this file.
FORMATS = (
    *("plain", "jsonl", "json", "csv", "tsv", "parquet", "arrow", "html", "markdown", "epub"),
    *("wikiextractor", "wiki", "wikitext", "fasta", "conllu"),
)


def is_encoding(name: str) -> bool:
    """Return whether text can be decoded with this encoding. 'rot13' and 'zip' are codecs but not encodings."""
    if web_encoding(name) not in (None, "replacement"):
        return True
    try:
        b"aaaa".decode(name)
    except UnicodeDecodeError:
        return True
    except (LookupError, ValueError):
        return False
    return True


def _check_encoding(value: str) -> str:
    if value != "auto" and not is_encoding(value):
        raise ValueError("there is no such encoding; common ones are utf-8, utf-16, gbk, latin-1")
    return value


Encoding = Annotated[str, AfterValidator(_check_encoding)]
"""The name of an encoding, or 'auto'."""


class CleanSettings(Settings):
    """The clean-up of every text."""

    normal_form: Literal["NFC", "NFKC", "none"] = Field("NFC", description="Unicode normal form")
    fix_mojibake: bool = Field(False, description="repair text decoded with a wrong encoding (ftfy, slow)")
    invisible: Literal["remove", "keep"] = Field(
        "remove", description="control and invisible characters: remove or replace them and count them, or keep them"
    )
    spaces: Literal["collapse", "keep"] = Field(
        "collapse",
        description="runs of spaces, tabs, indentation and blank lines: collapse them, or keep them (code, tables, "
        "verse), where every line is a sentence and lines are never joined; default with tokenizer.spaces = keep: keep",
    )
    join_lines: Literal["auto", "never"] = Field(
        "auto", description="join lines into paragraphs if the text is clearly wrapped at a fixed width"
    )


# What a text must have to be kept, by the kind of text. 'prose' are the defaults of the fields.
_PROFILES: dict[str, dict[str, float]] = {
    "prose": {},
    "lines": {"min_characters": 1, "min_alphabetic": 0.0, "max_repeated_words": 1.0},
    "code": {"min_characters": 1, "min_alphabetic": 0.2, "max_repeated_lines": 0.8, "max_repeated_words": 1.0},
    "none": {"min_characters": 0, "min_alphabetic": 0.0, "max_repeated_lines": 1.0, "max_repeated_words": 1.0},
}


class FilterSettings(Settings):
    """The filters that reject documents. The defaults keep a poem of 20 Chinese characters."""

    profile: Literal["prose", "lines", "code", "none"] = Field(
        "prose",
        description="limits by the kind of text: 'prose'; 'lines' for short texts that are no sentences (messages, log "
        "lines, molecules, sequences); 'code'; 'none'. Limits that are set as well take precedence",
    )
    min_characters: int = Field(20, ge=0, description="minimum characters per document, white space not counted")
    max_repeated_lines: float = Field(
        0.5, ge=0, le=1, description="maximum share of characters in lines that repeat an earlier line of the document"
    )
    max_repeated_words: float = Field(
        0.5, ge=0, le=1, description="maximum share of runs of five words that repeat an earlier run of the document"
    )
    min_alphabetic: float = Field(0.4, ge=0, le=1, description="minimum share of letters among the visible characters")

    @model_validator(mode="before")
    @classmethod
    def _from_profile(cls, values: Any) -> Any:
        """Take the limits that are not set from the profile."""
        if not isinstance(values, Mapping):
            return values
        profile = values.get("profile", "prose")
        return {**_PROFILES.get(profile, {}), **values} if isinstance(profile, str) else values


class CorpusSettings(Settings):
    """Settings of reading, cleaning, filtering, splitting into sentences and deduplication."""

    format: str = Field("auto", description="reader for all sources; 'auto': by suffix")
    plain: Literal["file", "blank-line", "line", "sentence-per-line"] = Field(
        "file",
        description="unit of plain text that is one document: the file, a block between blank lines, a line, "
        "or (the input format of the original BERT) a block with one sentence per line",
    )
    text_field: str = Field(
        "text",
        description="field or column with the text, or several with commas ('title,text'); dots address nested fields",
    )
    id_field: str | None = Field(
        None, description="field or column with the name of the document; default: file name and line or row"
    )
    csv: TableSettings = TableSettings()
    wiki: WikiSettings = WikiSettings()
    encoding: Encoding = Field(
        "auto",
        description="character encoding of files that are not UTF-8, a label of the web or a name of Python; 'auto': "
        "the one that a page declares, else the one that the bytes are certainly in",
    )
    errors: Literal["replace", "strict"] = Field(
        "replace", description="invalid bytes: replace and count them, or stop with an error that names file and line"
    )
    on_bad_file: Literal["report", "stop"] = Field(
        "report", description="a file that cannot be read: report it and continue, or stop"
    )
    max_document_characters: int = Field(
        10_000_000, ge=1000, description="longer plain texts become several documents, split at a line or a space"
    )
    language: str = Field(
        "auto",
        description="language code for splitting sentences; 'auto': from the script. Also for Wikipedia dumps whose "
        "name does not say theirs",
    )
    abbreviations: tuple[str, ...] = Field(
        (), description="additional abbreviations whose full stop does not end a sentence ('Abb.')"
    )
    clean: CleanSettings = CleanSettings()
    filters: FilterSettings = FilterSettings()
    dedup: Literal["document", "paragraph", "none"] = Field("document", description="unit that is deduplicated")
    dedup_min_characters: int = Field(
        80, ge=1, description="shorter paragraphs (headings, 'Yes.') may repeat when paragraphs are deduplicated"
    )

    @field_validator("text_field", mode="before")
    @classmethod
    def _joined_fields(cls, value: Any) -> Any:
        return ",".join(map(str, value)) if isinstance(value, list | tuple) else value

    @field_validator("format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        known = ("auto", *FORMATS)
        if value not in known:
            raise ValueError(f"there is no such reader; choose one of {', '.join(known)}")
        return value
