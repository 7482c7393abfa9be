"""A part of a data set, and the bound on its rows' lengths."""

from __future__ import annotations

import pytest

from tunesmith.data.sample import within
from tunesmith.records import Example, Message


def test_over_long_rows_are_set_aside_and_never_cut() -> None:
    lengths = (2, 51, 10, 11)
    rows = [
        Example((Message("user", f"Why {n}?"),), "so " * n, place=f"rows.jsonl:{i}")
        for i, n in enumerate(lengths, start=1)
    ]
    bounded = within(rows, lengths, 10)
    assert bounded.examples == (rows[0], rows[2])
    assert bounded.lengths == (2, 10)
    assert [r.place for r in bounded.overlong] == ["rows.jsonl:2", "rows.jsonl:4"]
    assert {r.reason for r in bounded.overlong} == {"longer than 10 tokens"}
    assert bounded.overlong[0].row == {"tokens": 51, "prompt": "Why 51?", "target": "so " * 51}
    with pytest.raises(ValueError, match="shorter"):
        within(rows, lengths[:3], 10)
