"""Wikipedia dumps in every form: XML of all kinds, compressed, in parts, damaged."""

from __future__ import annotations

import bz2
import gzip
import json
import re
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
import zstandard

from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, ReadReport
from maskling.corpus.readers.wiki import read_wiki
from maskling.corpus.readers.wiki_pages import LONGEST_TEXT, PageReader, unescaped
from maskling.corpus.reading import read_documents
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand
from maskling.corpus.wikitext.wiki_names import language_of_name
from maskling.data.prepare.prepare import prepare
from maskling.data.prepare.settings import PrepareSettings
from maskling.data.shards import open_shards

HEADER = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="{language}">
  <siteinfo>
    <sitename>Wikipedia</sitename><dbname>{language}wiki</dbname>
    <namespaces>
      <namespace key="0" case="first-letter" /><namespace key="1" case="first-letter">Talk</namespace>
      <namespace key="6" case="first-letter">Bildmaterial</namespace>
      <namespace key="14" case="first-letter">Category</namespace>
    </namespaces>
  </siteinfo>
"""
FOOTER = "</mediawiki>\n"
ARTICLE = "The [[red fox|fox]] number {n} runs through the wood.{{{{sfn|X}}}}\n\n== See also ==\n* [[Wolf]]"


def page(title: str, *texts: str, ns: int | None = 0, redirect: bool = False, model: str = "wikitext") -> str:
    """Return a page with a revision per text, as dumps write it."""
    revisions = "".join(
        f"<revision><id>{number}</id><contributor deleted='deleted' /><comment>x &lt;page&gt;</comment>"
        f"<model>{model}</model><format>text/x-wiki</format>"
        f'<text bytes="9" xml:space="preserve">{escape(text)}</text><sha1>a</sha1></revision>'
        for number, text in enumerate(texts)
    )
    space = "" if ns is None else f"<ns>{ns}</ns>"
    leads = '<redirect title="Fox" />' if redirect else ""
    return f"  <page>\n    <title>{escape(title)}</title>\n    {space}<id>7</id>{leads}{revisions}\n  </page>\n"


def dump(*pages: str, language: str = "en") -> bytes:
    return (HEADER.format(language=language) + "".join(pages) + FOOTER).encode()


PAGES = [page(f"Fox {n}", ARTICLE.format(n=n)) for n in range(30)]
FOXES = [f"The fox number {n} runs through the wood." for n in range(30)]


def read(path: Path, **settings: Any) -> tuple[list[Document], FileReport]:
    report = ReadReport()
    found = read_documents(expand([str(path)], report), CorpusSettings(**settings), report)
    return [document for _, document in found], report.files[0]


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("enwiki-20260901-pages-articles.xml", bytes),
        ("enwiki-20260901-pages-articles.xml.bz2", bz2.compress),
        ("enwiki-20260901-pages-articles1.xml-p1p41242.bz2", bz2.compress),
        ("enwiki-2026-09-01-p1p9.xml.gz", gzip.compress),
        ("enwiki.xml.zst", zstandard.compress),
        ("dump.txt", bytes),
        ("dump", bz2.compress),
    ],
)
def test_articles_of_a_dump_in_any_form(tmp_path: Path, name: str, pack: Any) -> None:
    documents, report = read(write(tmp_path / name, pack(dump(*PAGES))))
    assert [document.text for document in documents] == FOXES
    assert documents[3].id == f"{name}:Fox 3"
    assert report.problem() is None
    assert read(tmp_path / name, id_field="title")[0][3].id == "Fox 3"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_a_dump_in_another_encoding(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    content = (mark + dump(page("Лисица", "Лисицата тича в гората всеки ден.")).decode()).encode(encoding)
    for name, data in (("bgwiki.xml", content), ("bgwiki.xml.bz2", bz2.compress(content)), ("unnamed", content)):
        assert [d.text for d in read(write(tmp_path / name, data))[0]] == ["Лисицата тича в гората всеки ден."]


def test_what_is_no_article_is_counted_by_reason(tmp_path: Path) -> None:
    content = dump(
        page("Talk:Fox", "Talk about it.", ns=1),
        page("Fuchs", "#REDIRECT [[Fox]]", redirect=True),
        page("Füchse", "#WEITERLEITUNG [[Fox]]"),
        page("Category:Old", "#REDIRECT [[Category:New]]", ns=14, redirect=True),
        page("Fox (disambiguation)", "A fox may be:\n* [[Fox]]\n{{Disambiguation}}"),
        page("Fox.json", "{}", model="json"),
        page("Fox", "The first revision.", "The last revision is about foxes."),
        "<page><title>Gone</title><ns>0</ns><id>1</id><revision><text deleted='deleted' /></revision></page>",
        "<page><title>Empty</title><ns>0</ns><id>1</id><revision><text bytes='0' /></revision></page>",
    )
    documents, report = read(write(tmp_path / "dewiki.xml", content))
    assert [document.text for document in documents] == ["The last revision is about foxes.", ""]
    assert report.left_out == {
        "outside_namespace_0": 1,
        "redirect": 3,
        "disambiguation": 1,
        "not_wikitext": 1,
        "deleted_text": 1,
    }
    assert report.problem() is None


def test_other_slots_of_a_revision_are_not_its_text(tmp_path: Path) -> None:
    slot = "<content><role>mediainfo</role><model>json</model><text>{}</text></content>"
    content = dump(page("Fox", "The fox runs through the wood.").replace("<sha1>", f"{slot}<sha1>"))
    assert [d.text for d in read(write(tmp_path / "x.xml", content))[0]] == ["The fox runs through the wood."]


def test_a_dump_before_namespaces_were_numbered(tmp_path: Path) -> None:
    content = dump(page("Talk:Fox", "Talk.", ns=None), page("2001: A fox", "The fox runs in 2001.", ns=None))
    documents, report = read(write(tmp_path / "x.xml", content))
    assert [d.text for d in documents] == ["The fox runs in 2001."]
    assert report.left_out == {"outside_namespace_0": 1}


def test_a_file_without_an_article_says_so_by_name_and_stops_nothing(tmp_path: Path) -> None:
    talk = write(tmp_path / "a.xml", dump(page("Talk:Fox", "Talk.", ns=1)))
    good = write(tmp_path / "b.xml", dump(*PAGES))
    report = ReadReport()
    found = read_documents(expand([str(talk), str(good)]), CorpusSettings(on_bad_file="stop"), report)
    assert len(list(found)) == 30
    assert report.problems() == [f"{talk}: has no article (left out: 1 outside namespace 0); nothing kept"]


def shards_of(folder: Path, *sources: Path) -> str:
    settings = PrepareSettings.model_validate(
        {"tokenizer": {"vocab_size": 200}, "shards": {"validation_fraction": 0.1}, "system": {"workers": 0}}
    )
    for _ in prepare([str(source) for source in sources], folder, settings):
        pass
    return open_shards(folder).manifest.fingerprint


def test_the_same_pages_give_the_same_shards_however_they_are_packed(tmp_path: Path) -> None:
    header, footer = HEADER.format(language="en").encode(), FOOTER.encode()
    parts = ["".join(PAGES[first : first + 10]).encode() for first in range(0, 30, 10)]
    multistream = b"".join(bz2.compress(part) for part in (header, *parts, footer))
    one = write(tmp_path / "enwiki-1.xml.bz2", bz2.compress(dump(*PAGES)))
    many = write(tmp_path / "enwiki-pages-articles-multistream.xml.bz2", multistream)
    three = [
        write(tmp_path / f"enwiki-p{number}.xml.bz2", bz2.compress(header + part + footer))
        for number, part in enumerate(parts)
    ]
    plain = write(tmp_path / "enwiki-3.xml", dump(*PAGES))
    rows = [json.dumps({"title": "T", "text": fox, "namespace": 0, "template": [], "language": "en"}) for fox in FOXES]
    lines = "".join(f'{{"index": {{"_type": "page"}}}}\n{row}\n' for row in rows)
    cirrus = write(tmp_path / "enwiki_content-1.json", lines.encode())
    found = {
        shards_of(tmp_path / "out1", one),
        shards_of(tmp_path / "out2", many),
        shards_of(tmp_path / "out3", *three),
        shards_of(tmp_path / "out4", plain),
        shards_of(tmp_path / "out5", cirrus),
    }
    assert len(found) == 1


def test_prepare_counts_what_is_left_out_and_unknown_templates(tmp_path: Path) -> None:
    odd = page("Odd", "The fox {{odd one|x}} and {{Odd_one}} ran through {{strange}} woods.")
    source = write(tmp_path / "enwiki.xml", dump(*PAGES, odd, page("A", "#REDIRECT [[B]]", redirect=True)))
    shards_of(tmp_path / "out", source)
    text = open_shards(tmp_path / "out").manifest.text
    assert (text.read, text.kept, text.rejected) == (32, 31, {"redirect": 1})
    assert list(text.templates.items()) == [("odd one", 2), ("strange", 1)]
    assert text.num_templates == 3


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("dewiki-20260901-pages-articles.xml.bz2", "de"),
        ("zh_min_nanwiki-20260901.xml", "zh_min_nan"),
        ("simplewiki-2026-09-01-p1p9.xml.bz2", "en"),
        ("dewiktionary-20260901.xml", "de"),
        ("index_name=ruwiki_content", "ru"),
        ("frwiki_content-20260906-00000.json.bz2", "fr"),
        ("commonswiki-20260901.xml", None),
        ("fandomwiki.xml", None),
        ("wiki_00", None),
        ("books.txt", None),
    ],
)
def test_the_language_in_a_name(name: str, code: str | None) -> None:
    assert language_of_name(name) == code


def test_the_language_comes_from_the_name_then_the_setting_then_the_dump(tmp_path: Path) -> None:
    content = dump(page("Fuchs", "Der Fuchs rennt durch den Wald.\n== Weblinks ==\n* [http://a.org b]"), language="fr")
    german = "Der Fuchs rennt durch den Wald."
    named = write(tmp_path / "dewiki.xml", content)
    unnamed = write(tmp_path / "dump.xml", content)
    documents, report = read(named, language="fr")
    assert [(d.text, d.language) for d in documents] == [(german, "de")]
    assert "corpus.language = fr is not used" in (report.problem() or "")
    assert [(d.text, d.language) for d in read(unnamed, language="de")[0]] == [(german, "de")]
    assert [(d.text, d.language) for d in read(unnamed)[0]] == [(f"{german}\n\nWeblinks\n\nb", "fr")]
    odd = write(tmp_path / "hywiki.xml", content)
    assert "language 'hy' is read with English names" in (read(odd)[1].problem() or "")


def test_names_of_namespaces_that_the_dump_declares(tmp_path: Path) -> None:
    content = dump(page("Fox", "[[Bildmaterial:a.jpg|thumb|A caption]]\nThe fox runs."))
    assert [d.text for d in read(write(tmp_path / "x.xml", content))[0]] == ["The fox runs."]


def test_a_chinese_variant_is_a_setting(tmp_path: Path) -> None:
    path = write(tmp_path / "zhwiki.xml", dump(page("机", "这是-{zh-hans:计算机;zh-hant:電腦}-。")))
    assert read(path)[0][0].text == "这是计算机。"
    assert read(path, wiki={"variant": "zh-hant"})[0][0].text == "这是電腦。"


def test_damaged_dumps_keep_what_is_whole(tmp_path: Path) -> None:
    content = dump(*PAGES)
    cut = write(tmp_path / "cut.xml", content[: content.index(b"Fox 9") + 100])
    documents, report = read(cut)
    assert [d.text for d in documents] == FOXES[:9]
    assert "page 'Fox 9' is cut off: the file ends in it; 9 documents kept" in (report.problem() or "")
    packed = write(tmp_path / "cut.xml.bz2", bz2.compress(content)[:-30])
    assert "is damaged" in (read_both(tmp_path, packed)[1].problem() or "")
    open_page = dump(PAGES[0], PAGES[1].replace("</page>", ""), PAGES[2])
    documents, report = read(write(tmp_path / "open.xml", open_page))
    assert [d.text for d in documents] == FOXES[:3]
    assert "page 'Fox 1' is not closed" in (report.problem() or "")


def read_both(folder: Path, path: Path) -> tuple[list[Document], FileReport]:
    """Read a file that may have no document beside one that has."""
    good = write(folder / "good.txt", b"A good neighbour of the bad file.")
    report = ReadReport()
    found = read_documents(expand([str(path), str(good)]), CorpusSettings(), report)
    return [document for _, document in found], report.files[0]


def test_xml_that_is_no_dump_is_refused_by_name(tmp_path: Path) -> None:
    tei = write(tmp_path / "a.xml", b'<?xml version="1.0"?>\n<TEI><text>x</text></TEI>')
    assert "'.xml' files are not read" in (read_both(tmp_path, tei)[1].problem() or "")
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder / "a.xml", tei.read_bytes())
    write(folder / "enwiki.xml", dump(*PAGES))
    write(folder / "enwiki-multistream-index.txt.bz2", bz2.compress(b"500:7:Fox\n"))
    report = ReadReport()
    sources = expand([str(folder)], report)
    assert [source.name for source in sources] == ["enwiki-multistream-index.txt.bz2", "enwiki.xml"]
    assert report.skipped == {".xml": 1}
    assert len(list(read_documents(sources, CorpusSettings(), report))) == 30
    assert "is the index of a multistream dump" in (report.files[0].problem() or "")
    forced = list(read_documents(expand([str(tei)]), CorpusSettings(format="plain"), ReadReport()))
    assert len(forced) == 1


def test_a_dump_is_never_read_as_plain_text_in_silence(tmp_path: Path) -> None:
    path = write(tmp_path / "dump.log", dump(*PAGES))
    with path.open("rb") as pipe:
        # Nothing is known of compressed bytes in a pipe before they are read.
        source = Source("x.txt", opened=pipe)
        from maskling.corpus.readers.text import read_plain
        from maskling.errors import CorpusError

        with pytest.raises(CorpusError, match=r"set corpus\.format to wiki"):
            list(read_plain(source, CorpusSettings(), FileReport("x")))
    documents, report = read(path, format="plain")
    assert len(documents) == 1
    assert "1 file is read as plain text, with the markup of MediaWiki" in (report.problem() or "")


def test_a_file_of_wikitext(tmp_path: Path) -> None:
    path = write(tmp_path / "page.wikitext", b"Der [[Fuchs]] rennt.\n== Weblinks ==\n* [http://a.org b]")
    assert [d.text for d in read(path, language="de")[0]] == ["Der Fuchs rennt."]


def test_references_are_resolved_once() -> None:
    assert unescaped("&amp;lt; &lt;b&gt; &#8211;&#x41; &quot;&apos; &nbsp; & &#99999999;") == (
        "&lt; <b> –A \"' &nbsp; & &#99999999;"
    )


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_pages_do_not_depend_on_the_blocks_they_are_read_in(size: int) -> None:
    text = dump(page("A", "x", "y & z"), page("B", "", ns=1), page("C", "c", redirect=True)).decode()
    pages = list(PageReader(text[at : at + size] for at in range(0, len(text), size)).pages())
    assert [(p.title, p.namespace, p.is_redirect, p.text) for p in pages] == [
        ("A", 0, False, "y & z"),
        ("B", 1, False, None),
        ("C", 0, True, None),
    ]


def test_a_page_with_many_revisions_and_one_that_never_ends_take_bounded_memory() -> None:
    revision = f"<revision><text>{'fox ' * 25_000}</text></revision>"
    blocks = iter(
        [
            "<mediawiki><page><title>A</title><ns>0</ns>",
            *[revision] * 300,
            "</page><page><title>B</title><ns>0</ns><revision><text>",
            *["fox " * 100_000] * 100,
            "</text></revision></page><page><title>C</title><ns>0</ns><revision><text>c</text></revision></page>",
        ]
    )
    tracemalloc.start()
    pages = [(p.title, len(p.text or ""), p.problem) for p in PageReader(blocks).pages()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pages[0] == ("A", 100_000, None)
    assert pages[1][1:] == (0, f"has a text of more than {LONGEST_TEXT:,} characters, or one that is not closed")
    assert pages[2] == ("C", 1, None)
    assert peak < 5 * LONGEST_TEXT


def real_dumps(shared_data: Path) -> list[Path]:
    found = sorted((shared_data / "wiki").glob("*.xml*"))
    if not found:
        pytest.skip("there are no dumps in the shared data")
    return found


def test_real_dumps_leave_no_markup_and_lose_no_article(shared_data: Path) -> None:
    report = ReadReport()
    sources = expand([str(path) for path in real_dumps(shared_data)])
    documents = {document.id: document.text for _, document in read_documents(sources, CorpusSettings(), report)}
    kept = "\n".join(documents.values())
    for markup in ("{{", "}}", "[[", "]]", "<ref", "</ref", "|thumb", "-{", "}-", "''", "<mediawiki", "{|"):
        assert markup not in kept
    assert not re.search(r"^\W*(?:Category|Kategorie|分类):", kept, re.MULTILINE)
    left_out = sum((file.left_out for file in report.files), Counter())
    assert left_out["redirect"] == 102
    assert left_out["outside_namespace_0"] == 6
    assert len(documents["dewiki-minidump.xml.bz2:Berlin"]) >= 110_000
    assert len(documents["dewiki-minidump.xml.bz2:Arthur Schopenhauer"]) >= 48_000
    assert len(documents["bgwiki-shortened.xml.bz2:Григориански календар"]) > 7000
    problems = report.problems()
    assert len(problems) == 2
    assert all("content-file-export" in line and "has no article" in line for line in problems)


def test_a_real_page_of_conversion_rules(shared_data: Path) -> None:
    path = shared_data / "wiki" / "zh-conversion-rules.wikitext.txt"
    if not path.exists():
        pytest.skip("there is no page of conversion rules in the shared data")
    (document,) = read(path, format="wikitext", language="zh")[0]
    assert "量子力学" in document.text
    assert not re.search(r"-\{|\}-|\{\{|\[\[|<math", document.text)


def test_the_reader_of_a_named_format(tmp_path: Path) -> None:
    path = write(tmp_path / "any.dat", dump(*PAGES))
    assert len(read(path, format="wiki")[0]) == 30
    other = write(tmp_path / "other.dat", b"no dump at all, but text")
    report = FileReport("other")
    with pytest.raises(Exception, match="is not a MediaWiki dump"):
        list(read_wiki(Source(str(other)), CorpusSettings(), report))
