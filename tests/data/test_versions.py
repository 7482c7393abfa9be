"""A version's id follows from its rows alone, and its card says what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.card import CardFacts, card, licences
from tunesmith.data.versions import content_id, counts, folder, origin, read_version, write_version
from tunesmith.errors import DataError
from tunesmith.records import Example, Finding, Message, Quality, Severity, Splits

QUALITY = Quality(3, 3, 0, {}, {}, {}, 0, 0, 0, 0, {}, ())


def row(text: str, **meta: str) -> Example:
    return Example((Message("user", text),), f"to {text}", None, {"source": "s"} | meta, "f:1")


ROWS = st.lists(st.text(max_size=3).map(row), max_size=5).map(tuple)


@given(st.builds(Splits, ROWS, ROWS, ROWS))
def test_the_id_knows_no_order_and_no_place(splits: Splits) -> None:
    def moved(rows: tuple[Example, ...]) -> tuple[Example, ...]:
        return tuple(replace(e, place="g:2") for e in reversed(rows))

    again = Splits(moved(splits.train), moved(splits.validation), moved(splits.test))
    assert content_id(again) == content_id(splits)
    more = replace(splits, train=(*splits.train, row("more")))
    assert content_id(more) != content_id(splits)


def test_every_other_difference_is_another_version() -> None:
    one = Splits((row("a"), row("b")), (), (row("c"),))
    others = [
        Splits((row("a"),), (row("b"),), (row("c"),)),
        Splits((row("a"), replace(row("b"), target="x")), (), (row("c"),)),
        Splits((row("a"), replace(row("b"), label="x")), (), (row("c"),)),
        Splits((row("a"), row("b", licence="MIT")), (), (row("c"),)),
    ]
    assert len({content_id(splits) for splits in (one, *others)}) == 5
    # On every machine: a value that was computed once.
    assert content_id(one).startswith(GOLDEN)


GOLDEN = "9967d0d40ffe6119"


def test_written_and_read(tmp_path: Path) -> None:
    splits = Splits((row("a"), row("b", source="x/y")), (), (row("c"),))
    write_version(tmp_path, splits, "# card", seed=1)
    assert read_version(tmp_path) == splits
    assert (tmp_path / "sources" / folder("x/y") / "train.jsonl").is_file()
    assert not (tmp_path / "validation.jsonl").exists()
    assert counts(splits)["s"] == {"train": 1, "validation": 0, "test": 1}
    with pytest.raises(DataError, match="not a version of a data set"):
        read_version(tmp_path / "sources")


def test_who_wrote_an_answer() -> None:
    said = {"s": "human"}
    assert origin(row("a"), said) == "human"
    assert origin(row("a"), {}) == "unknown"
    assert origin(row("a", kind="generated"), said) == "generated"
    assert origin(row("a", kind="question"), said) == "human"


def test_a_card_of_one_licence_names_it_to_the_hub() -> None:
    facts = CardFacts(
        "faq", "", "0" * 64, "text", 1, Splits((row("a", licence="MIT"),), (), ()), QUALITY
    )
    front = yaml.safe_load(card(facts).split("---\n")[1])
    assert front["license"] == "mit"
    assert "license_name" not in front
    silent = replace(facts, splits=Splits((row("a"),), (), ()))
    assert licences(silent) == {"not stated": 1}
    assert yaml.safe_load(card(silent).split("---\n")[1])["license"] == "other"
    assert licences(replace(silent, licences={"s": "CC0-1.0"})) == {"CC0-1.0": 1}


def test_what_came_from_data_cannot_break_a_table() -> None:
    finding = Finding("x", Severity.INFO, "a | b\n<img src=x>", 1)
    facts = CardFacts(
        "faq",
        "",
        "0" * 64,
        "text",
        1,
        Splits((row("a", source="p|q"),), (), ()),
        replace(QUALITY, findings=(finding,)),
    )
    text = card(facts)
    assert "a \\| b &lt;img src=x>" in text
    assert "| p\\|q |" in text
