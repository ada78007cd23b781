"""Small pieces of wikitext, and the prose that a reader of the page keeps of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskling.corpus.wikitext.language_tables import language_tables
from maskling.corpus.wikitext.prose import to_prose
from maskling.corpus.wikitext.settings import WikiSettings

# Language, wikitext, prose.
CASES = [
    # Links.
    ("en", "The [[red fox|fox]]es of [[Kent]].", "The foxes of Kent."),
    ("en", "See [[:Category:Foxes]] and [[:File:Fox.jpg|a picture]].", "See Category:Foxes and a picture."),
    ("en", "A [[Fox#Diet|meal]] and [[#History]].", "A meal and History."),
    ("en", "[[fr:Renard]][[de:Fuchs]]\nA fox.", "A fox."),
    ("en", "It is [[wikt:foxy|foxy]].", "It is foxy."),
    ("en", "The [[fox|''red'' '''fox''']] ran.", "The red fox ran."),
    ("en", "A [[fox|{{lang|de|Fuchs}}]] ran.", "A Fuchs ran."),
    ("en", "Read [https://a.org/b?c=d&e=f ''The'' fox] now.", "Read The fox now."),
    ("en", "Read [[https://a.org the fox]] now.", "Read the fox now."),
    ("en", "A list [1] of two.", "A list [1] of two."),
    ("en", "[[File:a.png|thumb|see [http://a.org b] and [[c|d]]]]\nText.", "Text."),
    ("en", "[[Image:Flag.svg|20px]] Kent", "Kent"),
    # Templates.
    ("en", "It weighs {{convert|5|to|10|kg|lb}}.", "It weighs 5 to 10 kg."),
    ("en", "He is {{convert|5|ft|10|in|cm}} tall.", "He is 5 ft 10 in tall."),
    ("en", "It was {{cvt|20|C|F}} and {{convert|2|x|3|m}} wide.", "It was 20 °C and 2 × 3 m wide."),
    ("en", "An area of {{convert|12|km2|sqmi|0|abbr=on}}.", "An area of 12 km²."),
    ("en", "Half: {{frac|1|2}}; more: {{frac|2|3|4}}.", "Half: 1/2; more: 2 3/4."),
    ("en", "One{{mdash}}two{{snd}}three{{nbsp}}four", "One—two – three four"),
    ("en", "The {{nowrap|Big {{small|old}} Fox}}.", "The Big old Fox."),
    ("en", "A fox{{unknown thing|a|{{b}}}} ran.{{citation needed|date=May 2010}}", "A fox ran."),
    ("en", "{{Quote|All foxes run.|A. Fox}}", "All foxes run."),
    ("en", "He said {{lang|la|vulpes|italic=no}} twice.", "He said vulpes twice."),
    ("en", "{{as of|2011}}, foxes run.", "As of 2011, foxes run."),
    ("en", "{{Short description|A fox}}\n{{Infobox fox\n| name = {{PAGENAME}}\n| n = 1\n}}\nA fox.", "A fox."),
    ("en", "A {{linktext|red|fox}} and {{formatnum:12345}}.", "A redfox and 12345."),
    ("en", "{{#if:x|y|z}}A fox.", "A fox."),
    ("en", "A fox {{{name|default}}} ran.", "A fox ran."),
    # Emptied brackets and separators.
    ("en", "Fox ({{IPA|fɒks}}) ran.", "Fox ran."),
    ("en", "Fox ({{IPA|fɒks}}, born 1999) ran.", "Fox (born 1999) ran."),
    ("en", "Fox (born 1999; {{IPA|fɒks}}) ran.", "Fox (born 1999) ran."),
    ("en", "Foxes, {{flagicon|UK}} wolves.", "Foxes, wolves."),
    ("en", "Red, {{IPA|x}}, blue.", "Red, blue."),
    ("en", "A () b [] c", "A () b [] c"),
    # References, tags, entities.
    ("en", "One.<ref>{{cite|a=<b>}}</ref><ref name=x/> Two.<ref group=\"a\" name='b' /> Three.", "One. Two. Three."),
    ("en", "One.<REF>x</REF> Two.", "One. Two."),
    ("en", "One.<ref>open. Two.<ref>closed</ref> Three.", "One.open. Two. Three."),
    ("en", 'A.<references group="n." />\nB.<references>\n<ref name="a">c</ref>\n</references>\nD.', "A.\nB.\nD."),
    ("en", "x<sup>2</sup>, 10<sup>−3</sup>, the 19<sup>th</sup>, CO<sub>2</sub>", "x², 10⁻³, the 19th, CO2"),
    ("en", "A&nbsp;b &amp; c &lt;d&gt; &#8211; &unknown;", "A\xa0b & c <d> – &unknown;"),
    ("en", 'A <small>little</small> <span style="color:red">red</span> fox<br />ran.', "A little red fox\nran."),
    ("en", 'A<span style="display:none">hidden</span> fox.', "A fox."),
    ("en", "Where a <b and c> d holds, x <y and z> w.", "Where a  d holds, x <y and z> w."),
    ("en", "The formula <math>E = mc^2</math> holds.", "The formula holds."),
    ("en", "<nowiki>* no list</nowiki> and <nowiki>'''</nowiki>", "* no list and '''"),
    ("en", "One.\n<gallery>\nFile:a.jpg|A\n</gallery>\nTwo.", "One.\nTwo."),
    ("en", "<poem>One line\nAnother line</poem>", "One line\nAnother line"),
    ("en", "Ruby <ruby>漢字<rp>(</rp><rt>かんじ</rt><rp>)</rp></ruby> here.", "Ruby 漢字 here."),
    ("en", "<includeonly>no</includeonly><noinclude>A fox</noinclude> ran.", "A fox ran."),
    ("en", "One.\n<!-- a line of its own -->\nTwo.<!-- open", "One.\nTwo. open"),
    # Apostrophes.
    ("fr", "Il aime l'''Italie'' et l''''eau'''.", "Il aime l'Italie et l'eau."),
    ("it", "L'''Inferno'' di '''Dante'''.", "L'Inferno di Dante."),
    ("en", "'''''Both''''' and ''one'' and '''two'''; foxes' dens.", "Both and one and two; foxes' dens."),
    # Headings, lists, tables.
    ("en", "A.\n== Empty ==\n== Full ==\nB.\n=== Below ===\n{{x}}\n== See also ==\n* C", "A.\n\nFull\n\nB."),
    ("en", "A.\n== Notes ==\nx\n=== More notes ===\ny\n== Life ==\nB.", "A.\n\nLife\n\nB."),
    ("en", "== ''Life'' of [[Fox|a fox]] ==<!-- c -->\nIt ran.", "Life of a fox\n\nIt ran."),
    (
        "en",
        "* One\n** Two [[three]]\n* 1999\n# {{flag|Four}}\n; Five\n: six",
        "One\n\nTwo three\n\nFour\n\nFive\n\nsix",
    ),
    ("en", "A.\n:{| class=x\n| b || c\n|}\nD.", "A.\n\nD."),
    ("en", "A.\n<table><tr><td>b<table><tr><td>c</td></tr></table></td></tr></table>\nD.", "A.\nD."),
    ("en", "A.\n{|\n| {{b\n| c }}\n| [[d|\ne]]\n|}\nF.", "A.\n\nF."),
    ("en", "{{a|\n{|\n| b\n|}}}\nC.", "C."),
    ("en", "A {{b|c\n| d = e\n\n== Life ==\nStill here.", "A\n\nLife\n\nStill here."),
    ("en", "A.\n----\nB.\n\n\n\nC.", "A.\n\nB.\n\nC."),
    # Other languages.
    (
        "de",
        "Der ''Fuchs'' ist {{Höhe|80|NHN}} hoch.\n== Weblinks ==\n* [http://a b]",
        "Der Fuchs ist 80 m hoch.",
    ),
    ("de", "[[Bild:a.jpg|mini|Text]]\n{{Zitat|Alles läuft.|Fuchs}}\n[[Kategorie:Fuchs]]", "Alles läuft."),
    ("fr", "Au {{s|XIX}}, {{date|14|juillet|1789}}, {{nombre|5|km}}.", "Au XIXe siècle, 14 juillet 1789, 5 km."),
    ("fr", "Le renard.\n== Notes et références ==\n{{références}}\n[[Catégorie:Renard]]", "Le renard."),
    ("es", "El zorro.\n[[Archivo:a.jpg|miniatura|texto]]\n== Véase también ==\n* [[Lobo]]", "El zorro."),
    ("it", "La volpe.\n[[Immagine:a.jpg|x]]\n== Voci correlate ==\n* [[Lupo]]\n[[Categoria:Volpi]]", "La volpe."),
    ("pt", "A raposa.{{carece de fontes|data=2010}}\n== Ligações externas ==\n* [http://a b]", "A raposa."),
    ("nl", "De vos.\n[[Bestand:a.jpg|thumb|x]]\n== Zie ook ==\n* [[Wolf]]", "De vos."),
    ("pl", "Lis{{fakt}} biegnie.\n[[Plik:a.jpg|mały|x]]\n== Przypisy ==\n{{Przypisy}}", "Lis biegnie."),
    ("ru", "{{нп5|Лис|лиса|en|Fox}} бежит {{s|5 км}}.\n== См. также ==\n* [[Волк]]", "лиса бежит 5 км."),
    ("uk", "Лис ({{lang-de|Fuchs}}) біжить.\n== Посилання ==\n* a", "Лис (Fuchs) біжить."),
    ("bg", "Лисица.\n[[Картинка:a.jpg|мини|x]]\n== Външни препратки ==\n* x", "Лисица."),
    (
        "ja",
        "{{読み仮名|狐|きつね}}は[[動物]]、{{仮リンク|赤狐|en|Red fox|label=アカギツネ}}。",
        "狐（きつね）は動物、アカギツネ。",
    ),
    ("ja", "狐。{{要出典|date=2010年}}\n== 脚注 ==\n{{Reflist}}\n== 関連項目 ==\n* [[狼]]", "狐。"),
    ("ko", "여우({{llang|en|fox}}).\n[[파일:a.jpg|섬네일|x]]\n== 같이 보기 ==\n* 늑대", "여우(fox)."),
    ("zh", "狐狸（{{link-en|赤狐|Red fox}}）。\n== 参考文献 ==\n{{reflist}}\n[[分类:狐]]", "狐狸（赤狐）。"),
    ("zh", "-{T|zh-hans:狐;zh-hant:狐狸}--{A|zh-cn:计算机;zh-tw:電腦}-和-{x;y}-", "计算机和x;y"),
    ("zh", "{{noteTA|G1=IT}}\n狐（{{IPA|x}}；{{bd|1900年||1950年||catIdx=H}}）跑。", "狐（（1900年－1950年））跑。"),
    ("ar", "الثعلب {{إنج|Fox}} يجري.\n[[صورة:a.jpg|تصغير|x]]\n== مراجع ==\n{{مراجع}}", "الثعلب Fox يجري."),
    ("he", "שועל{{הערה|מקור}} רץ.\n[[קובץ:a.jpg|ממוזער|x]]\n== ראו גם ==\n* זאב", "שועל רץ."),
    ("hi", "लोमड़ी दौड़ती है।\n[[चित्र:a.jpg|thumb|x]]\n== सन्दर्भ ==\n{{टिप्पणीसूची}}\n[[श्रेणी:पशु]]", "लोमड़ी दौड़ती है।"),
    ("th", "สุนัขจิ้งจอก ({{lang-en|fox}}) วิ่ง\n[[ไฟล์:a.jpg|thumb|x]]\n== อ้างอิง ==\n* x", "สุนัขจิ้งจอก (fox) วิ่ง"),
    ("vi", "Con cáo.{{cần chú thích}}\n[[Tập tin:a.jpg|nhỏ|x]]\n== Tham khảo ==\n* x", "Con cáo."),
    ("tr", "Tilki koşar.\n[[Dosya:a.jpg|küçükresim|x]]\n== Kaynakça ==\n{{kaynakça}}", "Tilki koşar."),
    ("xx", "A fox.\n[[Datei:a.jpg|x]]\n== References ==\n[[Category:Foxes]]", "A fox."),
]


@pytest.mark.parametrize(("language", "wikitext", "prose"), CASES, ids=lambda value: str(value)[:24])
def test_the_prose_that_a_reader_keeps(language: str, wikitext: str, prose: str) -> None:
    assert to_prose(wikitext, language_tables(language), WikiSettings()).text == prose


def test_the_cases_of_the_shared_data(shared_data: Path) -> None:
    path = shared_data / "wiki" / "cases.jsonl"
    if not path.exists():
        pytest.skip("there are no wikitext cases in the shared data")
    cases = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(cases) > 30
    for case in cases:
        text = to_prose(case["wikitext"], language_tables(case["language"]), WikiSettings()).text
        # Some have several acceptable answers, but none of them loses what follows.
        assert text == case["prose"] if case["prose"] is not None else text.endswith("\n\nText after is kept.")


@pytest.mark.parametrize(
    ("variant", "text"),
    [
        ("zh-hans", "计算机"),
        ("zh-cn", "计算机"),
        ("zh-sg", "计算机"),
        ("zh-hant", "電腦"),
        ("zh-tw", "電腦"),
        ("zh-hk", "電腦"),
    ],
)
def test_a_chinese_variant_is_chosen_or_the_nearest_one(variant: str, text: str) -> None:
    settings = WikiSettings.model_validate({"variant": variant})
    tables = language_tables("zh")
    assert to_prose("-{zh-hans:计算机;zh-hant:電腦}-", tables, settings).text == text
    assert to_prose("-{zh-cn:计算机; zh-tw:電腦;}-", tables, settings).text == text
    assert to_prose("-{zh-hk:[[電腦]]}-", tables, settings).text == "電腦"


def test_formulas_are_kept_where_that_is_set() -> None:
    text = "The formula <math>E = mc^2</math> holds."
    settings = WikiSettings(formulas="keep")
    assert to_prose(text, language_tables("en"), settings).text == "The formula E = mc^2 holds."


def test_unknown_templates_within_text_are_counted_and_those_alone_on_a_line_are_not() -> None:
    text = "{{Some box|a=1}}\nA {{Odd Thing|b}} fox {{odd_thing}} ran {{citation needed}}.\n{{Other box}}"
    assert to_prose(text, language_tables("en"), WikiSettings()).dropped == {"odd thing": 2}


@pytest.mark.parametrize(
    ("language", "template"),
    [("en", "{{disambiguation|geo}}"), ("de", "{{Begriffsklärung}}"), ("fr", "{{homonymie}}"), ("zh", "{{消歧义}}")],
)
def test_pages_that_list_other_pages_are_recognised(language: str, template: str) -> None:
    tables = language_tables(language)
    assert to_prose(f"'''Fox''' may be:\n* [[A]]\n{template}", tables, WikiSettings()).is_disambiguation
    assert not to_prose("'''Fox''' may be:\n* [[A]]", tables, WikiSettings()).is_disambiguation
