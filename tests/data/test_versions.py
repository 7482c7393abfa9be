"""A version's id follows from its rows alone, and its card says what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.card import CardFacts, card, licences
from tunesmith.data.versions import (
    content_id,
    counts,
    origin,
    read_version,
    source_folders,
    write_version,
)
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
    assert (tmp_path / "sources" / "x_y" / "train.jsonl").is_file()
    assert {(tmp_path / name).read_text() for name in ("README.md", "DATASET_CARD.md")} == {
        "# card"
    }
    assert not (tmp_path / "ATTRIBUTION.md").exists()
    assert not (tmp_path / "validation.jsonl").exists()
    assert counts(splits)["s"] == {"train": 1, "validation": 0, "test": 1}
    with pytest.raises(DataError, match="not a version of a data set"):
        read_version(tmp_path / "sources")


NAMES = st.sets(st.sampled_from(["x y", "x_y", "X_Y", "x/y", "default", "Default", "", "..", "ß"]))


@given(NAMES | st.sets(st.text(max_size=4)))
def test_no_two_sources_share_a_folder(names: set[str]) -> None:
    folders = source_folders(names)
    assert set(folders) == names
    assert len({"default", *map(str.casefold, folders.values())}) == len(names) + 1
    assert not any(
        set(name) & set("/\\ \0") or name in ("", ".", "..") for name in folders.values()
    )
    assert source_folders(sorted(names)) == folders


def test_a_name_that_is_a_folder_s_keeps_it() -> None:
    assert source_folders(["x y", "x_y", "asked"]) | {"x y": ""} == {
        "x y": "",
        "x_y": "x_y",
        "asked": "asked",
    }


def test_datasets_sees_each_row_once(tmp_path: Path) -> None:
    from datasets import get_dataset_config_names, load_dataset

    names = ("x y", "x_y", "default", "asked")
    rows = {
        name: [row(f"{name} {i}", source=name) for i in range(n + 1)]
        for n, name in enumerate(names)
    }
    splits = Splits(
        tuple(e for them in rows.values() for e in them), (), (row("t", source="asked"),)
    )
    place = tmp_path / "v1"
    facts = CardFacts("faq", "", "0" * 64, "text", 1, splits, QUALITY)
    write_version(place, splits, card(facts), seed=1)
    cache = str(tmp_path / "cache")
    found = load_dataset(str(place), cache_dir=cache)
    assert {part: rows.num_rows for part, rows in found.items()} == {"train": 10, "test": 1}
    folders = source_folders(names)
    assert set(get_dataset_config_names(str(place))) == {"default", *folders.values()}
    for name in names:
        one = load_dataset(str(place), folders[name], split="train", cache_dir=cache)
        asked = [turns[0]["content"] for turns in one["messages"]]
        assert sorted(asked) == [e.messages[0].content for e in rows[name]]


def test_who_wrote_an_answer() -> None:
    said = {"s": "human"}
    assert origin(row("a"), said) == "human"
    assert origin(row("a"), {}) == "unknown"
    assert origin(row("a", kind="generated"), said) == "generated"
    assert origin(row("a", kind="question"), said) == "human"
    assert origin(row("a", kind="broken", augmented="broken_dot"), said) == "generated"


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


def test_a_source_s_licences_are_those_of_its_rows() -> None:
    rows = (row("a", licence="MIT"), row("b", licence="MIT"), row("c", licence="CC0-1.0"))
    facts = CardFacts("faq", "", "0" * 64, "text", 1, Splits(rows, (), ()), QUALITY)
    assert "| s | 3 | 0 | 0 | MIT (2), CC0-1.0 (1) | unknown |  |" in card(facts)
    one = replace(facts, splits=Splits(rows[:1], (), (row("d"),)), licences={"s": "MIT"})
    assert "| s | 1 | 0 | 1 | MIT | unknown |  |" in card(one)


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
    assert "| p\\|q (`p_q`) |" in text
