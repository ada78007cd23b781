"""The model card says what is known, leaves out what is not, and takes new numbers without losing words."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from maskling.errors import ModelError
from maskling.exporting.cards import CardFacts, HeldOut, ModelFacts, render_card, update_card

MODEL = ModelFacts("BERT", 12_345_678, 4, 256, 8_000, "[MASK]", False, "0.1.0")
HELD_OUT = HeldOut(mlm_loss=2.5, top1=0.456, top5=0.7, predictions=9_876, unigram_entropy=6.54, step=500)


def front_matter(card: str) -> dict[str, object]:
    yaml = pytest.importorskip("yaml")
    _, matter, _ = card.split("---\n", 2)
    return dict(yaml.safe_load(matter))


def test_the_card_of_a_run_says_what_it_was_trained_on_and_how_well_it_does() -> None:
    facts = CardFacts(
        name="My books",
        preset="modern-small",
        steps=20_000,
        batch_size=64,
        seq_length=128,
        documents=1_234,
        tokens=5_678_901,
        sources=("books/", "notes.jsonl.zst"),
        recipe={"masking.kind": "span", "masking.rate": 0.2, "optimizer.kind": "muon", "optimizer.lr": 7e-3, "seed": 3},
        held_out=HELD_OUT,
    )
    card = render_card(facts, MODEL)
    for said in (
        "# My books",
        "12,345,678",
        "5,678,901",
        "1,234",
        "20,000",
        "`span`",
        "`0.2`",
        "`muon`",
        "`0.007`",
        "seed = 3",
    ):
        assert said in card
    for said in ("2.5000", "6.5400", f"{math.exp(2.5):.2f}", "45.60 %", "9,876 predictions", "at step 500"):
        assert said in card
    assert "`books`, `notes.jsonl.zst`." in card
    assert 'pipeline("fill-mask"' in card
    matter = front_matter(card)
    assert matter["library_name"] == "transformers"
    assert matter["pipeline_tag"] == "fill-mask"
    assert "maskling" in matter["tags"]


def test_a_card_without_facts_is_whole_and_names_no_licence() -> None:
    card = render_card(CardFacts(), MODEL)
    assert "license" not in front_matter(card)
    assert "None" not in card
    assert "Not measured." in card
    assert "\n\n\n" not in card


def test_names_from_the_disk_cannot_change_the_card() -> None:
    facts = CardFacts(sources=("a`b|c\n# Heading <script>",))
    card = render_card(facts, MODEL)
    assert "\n# Heading" not in card
    assert "`a'b\\|c # Heading <script>`" in card


def test_a_card_does_not_say_where_on_a_machine_things_lay() -> None:
    facts = CardFacts(
        sources=(
            "/home/ann/books/",
            "C:\\Users\\Ann\\notes.txt",
            "s3://ann:secret@bucket/part?key=secret",
            "python-docs:",
        ),
        started_from="/home/ann/runs/first/model",
        recipe={"data.path": "/home/ann/data", "init": "/home/ann/runs/first/model", "seed": 7},
    )
    card = render_card(facts, MODEL)
    assert "`books`, `notes.txt`, `s3://bucket/part`, `python-docs:`." in card
    assert not any(secret in card.lower() for secret in ("ann", "secret"))


def test_new_numbers_replace_the_old_and_leave_the_owners_words(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(
        render_card(CardFacts(held_out=HELD_OUT), MODEL).replace("## Limits", "## My own words"), encoding="utf-8"
    )
    update_card(tmp_path, HeldOut(mlm_loss=1.25, top1=0.5, top5=0.75, predictions=11))
    card = path.read_text(encoding="utf-8")
    assert "1.2500" in card
    assert "2.5000" not in card
    assert "## My own words" in card
    update_card(tmp_path, HELD_OUT)
    assert card.count("masked-token loss") == path.read_text(encoding="utf-8").count("masked-token loss") == 1


def test_a_card_without_the_marks_gets_the_numbers_at_its_end(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Mine\n", encoding="utf-8")
    update_card(tmp_path, HELD_OUT)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "\n# Mine\n" in card
    assert "2.5000" in card


def test_a_folder_without_a_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no README\.md"):
        update_card(tmp_path, HELD_OUT)
