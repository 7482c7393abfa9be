"""Frozen splits come back equal."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.data.freeze import read_splits, write_splits
from tunesmith.errors import DataError
from tunesmith.records import Example, Message, Splits

TEXT = st.text(max_size=20)
EXAMPLE = st.builds(
    Example,
    st.lists(
        st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXT), max_size=4
    ).map(tuple),
    TEXT,
    st.none() | TEXT,
    st.dictionaries(TEXT, TEXT, max_size=3),
    TEXT,
)
PART = st.lists(EXAMPLE, max_size=4).map(tuple)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.builds(Splits, PART, PART, PART))
def test_round_trip(tmp_path: Path, splits: Splits) -> None:
    write_splits(tmp_path, splits)
    again = read_splits(tmp_path)
    assert again == splits
    assert [e.id for e in again.train] == [e.id for e in splits.train]


def test_the_files_are_plain_arrow(tmp_path: Path) -> None:
    one = Example((Message("user", "q"),), "a", "yes", {"source": "s"}, "f:1")
    write_splits(tmp_path / "new" / "folder", Splits((one,) * 3, (), ()))
    with pa.memory_map(str(tmp_path / "new" / "folder" / "train.arrow")) as memory:
        assert pa.ipc.open_file(memory).read_all().num_rows == 3


def test_a_missing_or_broken_part_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.arrow"):
        read_splits(tmp_path)
    (tmp_path / "train.arrow").write_text("no")
    with pytest.raises(DataError, match=r"train\.arrow"):
        read_splits(tmp_path)
