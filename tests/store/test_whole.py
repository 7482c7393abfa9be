"""Whole files and folders: an interruption leaves what stood there, and nothing beside it."""

from pathlib import Path

import pytest

from tunesmith.store.whole import whole_file, whole_folder


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "rows.jsonl"
    with whole_file(place) as file:
        file.write("é\n")
        assert not place.exists()
    assert place.read_bytes() == "é\n".encode()
    assert [p.name for p in place.parent.iterdir()] == ["rows.jsonl"]


def test_an_interrupted_file_stays_as_it_was(tmp_path: Path) -> None:
    place = tmp_path / "rows.jsonl"
    place.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_file(place) as file:
        file.write("half")
        raise KeyboardInterrupt
    assert place.read_text() == "old"
    assert list(tmp_path.iterdir()) == [place]


def test_a_folder_is_replaced_with_all_that_stood_in_it(tmp_path: Path) -> None:
    place = tmp_path / "made"
    place.mkdir()
    (place / "older").write_text("x")
    with whole_folder(place) as new:
        (new / "newer").write_text("y")
        assert (place / "older").exists()
    assert [p.name for p in place.iterdir()] == ["newer"]
    assert list(tmp_path.iterdir()) == [place]


def test_an_interrupted_folder_stays_as_it_was(tmp_path: Path) -> None:
    place = tmp_path / "made"
    place.mkdir()
    (place / "older").write_text("x")
    with pytest.raises(ValueError, match="no room"), whole_folder(place) as new:
        (new / "newer").write_text("y")
        raise ValueError("no room")
    assert [p.name for p in place.iterdir()] == ["older"]
    assert list(tmp_path.iterdir()) == [place]
