"""Lineages: sessions are only ever added, and the pointer to the current one moves."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tunesmith.errors import StoreError
from tunesmith.store.lineages import LearnedSession
from tunesmith.store.store import Store


def session(number: int, parent: int, topic: str = "a", **more: object) -> LearnedSession:
    plain = LearnedSession(
        lineage="campus",
        number=number,
        parent=parent,
        topic=topic,
        run_id=f"run-{number}",
        strategy="merge",
        replay=0.1,
        continued=False,
        variant="lora",
        base="nano",
        tokenizer="t" * 64,
        weights="w" * 64,
        four_bit=False,
        data="d" * 64,
        adapter="a" * 64,
        adapter_sha256="b" * 64,
        merged=None,
        merged_sha256=None,
        created=datetime(2026, 1, number, tzinfo=UTC),
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def test_a_session_comes_back_as_it_was_and_is_the_current_one(tmp_path: Path) -> None:
    learned = [session(1, 0), session(2, 1, "b", merged="m" * 64, merged_sha256="s" * 64)]
    with Store.open(tmp_path) as store:
        assert store.lineages() == {}
        assert store.sessions("campus") == []
        for one in learned:
            store.add_session(one)
    with Store.open(tmp_path) as store:
        assert store.sessions("campus") == learned
        assert store.lineages() == {"campus": 2}
        assert store.session_of("run-2") == learned[1]
        assert store.session_of("another") is None


def test_a_number_is_given_once(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.add_session(session(1, 0))
        with pytest.raises(StoreError, match="session 1 of campus is there already"):
            store.add_session(session(1, 0, "b"))
        with pytest.raises(StoreError, match="another process"):
            store.add_session(session(3, 1))
        assert [s.topic for s in store.sessions("campus")] == ["a"]


def test_going_back_moves_the_pointer_alone(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        for one in (session(1, 0), session(2, 1)):
            store.add_session(one)
        store.set_current("campus", 1)
        assert store.lineages() == {"campus": 1}
        assert len(store.sessions("campus")) == 2
        store.set_current("campus", 0)
        store.add_session(session(3, 0, "c"))
        assert store.lineages() == {"campus": 3}
        store.add_session(session(4, 1, "d"))  # its parent was the current one when it began
        assert store.lineages() == {"campus": 3}
        assert len(store.sessions("campus")) == 4
        with pytest.raises(StoreError, match="campus has no session 9"):
            store.set_current("campus", 9)
        with pytest.raises(StoreError, match="there is no lineage other"):
            store.set_current("other", 0)
