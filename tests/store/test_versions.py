"""Data versions are noted once, and found by the beginning of their id or by their name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tunesmith.errors import StoreError
from tunesmith.store.store import Store
from tunesmith.store.versions import DataVersion

FIRST = DataVersion(
    id="ab12" + "0" * 60,
    name="faq",
    created=datetime(2026, 1, 2, tzinfo=UTC),
    parts={"train": 3},
    sources={"a": 2, "b": 1},
    directory=Path("somewhere"),
)
SECOND = replace(FIRST, id="ab13" + "0" * 60, created=datetime(2026, 1, 3, tzinfo=UTC))


def test_noted_once_and_found_again(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.record_version(FIRST)
        store.record_version(SECOND)
        moved = replace(FIRST, name="other", created=SECOND.created, directory=Path("elsewhere"))
        store.record_version(moved)
        assert store.data_versions() == [SECOND, replace(FIRST, directory=Path("elsewhere"))]
        assert store.data_version("faq") == SECOND
        assert store.data_version("AB13") == SECOND
        assert store.data_version(FIRST.id) is not None
        assert store.data_version("other") is None
        assert store.data_version("") is None
        assert store.data_version("faq@ab12") == replace(FIRST, directory=Path("elsewhere"))
        assert store.data_version("other@ab12") is None
        assert store.data_version("faq@") is None
        with pytest.raises(StoreError, match="2 data versions begin with 'ab1': ab13"):
            store.data_version("ab1")


def test_forgotten(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.record_version(FIRST)
        store.record_version(SECOND)
        store.remove_version(FIRST.id)
        assert store.data_versions() == [SECOND]
