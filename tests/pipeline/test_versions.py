"""Versions as the data of other recipes, and what becomes of them when runs stand on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from small_runs import Ear
from tunesmith.config import Resolved, load_recipe
from tunesmith.data.rows import read_set
from tunesmith.data.versions import read_version
from tunesmith.errors import DataError, StoreError
from tunesmith.pipeline.context import Prepared
from tunesmith.pipeline.datasets import desk_of
from tunesmith.pipeline.freezing import Frozen, freeze_recipe
from tunesmith.pipeline.preparing import prepare
from tunesmith.pipeline.versions import (
    list_versions,
    names_version,
    remove_version,
    version_rows,
)
from tunesmith.store.home import store_of
from tunesmith.store.nouns import Dataset, Provenance
from tunesmith.store.store import Store

RECIPE = """
name: faq
task: text
data:
  sources:
    asked: {path: asked.jsonl, licence: MIT}
  test: 0.2
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Resolved:
    rows = [{"question": f"{i}?", "answer": f"It is {i}.", "author": "Ann"} for i in range(20)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "faq.yaml").write_text(RECIPE)
    return load_recipe(str(tmp_path / "faq.yaml"))


@pytest.fixture
def frozen(recipe: Resolved, tmp_path: Path) -> Frozen:
    return freeze_recipe(recipe, home=tmp_path / "home", out=tmp_path / "v1")


def test_the_rows_of_a_version_come_whole(recipe: Resolved, frozen: Frozen, tmp_path: Path) -> None:
    desk = desk_of(recipe, tmp_path / "home")
    splits = read_version(frozen.version.directory)
    named = f"faq@{frozen.version.id[:6]}"
    for name in (named, str(tmp_path / "v1")):
        assert names_version(name)
        every, unusable = read_set(version_rows(desk, name, None))
        assert unusable == 0
        assert {(e.id, e.meta["author"]) for e in every} == {
            (e.id, "Ann") for e in (*splits.train, *splits.validation, *splits.test)
        }
        test, _ = read_set(version_rows(desk, name, "test"))
        assert [e.id for e in test] == [e.id for e in splits.test]
    # By content: a copy and the version itself are one.
    assert version_rows(desk, named, None) == version_rows(desk, str(tmp_path / "v1"), None)


def test_what_is_no_version_says_so(recipe: Resolved, frozen: Frozen, tmp_path: Path) -> None:
    desk = desk_of(recipe, tmp_path / "home")
    assert not any(map(names_version, ("asked.jsonl", "owner/name", "owner/name@main")))
    with pytest.raises(DataError, match="faq@abc: no such version"):
        version_rows(desk, "faq@abc", None)
    with pytest.raises(DataError, match="no part 'dev'"):
        version_rows(desk, str(tmp_path / "v1"), "dev")
    arrow = tmp_path / "v1" / "arrow"
    (arrow / "train.arrow").write_bytes((arrow / "test.arrow").read_bytes())
    with pytest.raises(DataError, match="not those that were frozen"):
        version_rows(desk, str(tmp_path / "v1"), None)


def record_run(home: Path, resolved: dict[str, object], data: Prepared | None) -> str:
    with Store.open(store_of(home)) as store:
        run = store.start_run("faq", runs=home / "runs", resolved=resolved, provenance=Provenance())
        if data is not None:
            store.record_dataset(run.id, Dataset("faq", data.key, data.splits.sizes()))
        return run.id


def test_a_version_that_runs_stand_on_stays_unless_forced(
    recipe: Resolved, frozen: Frozen, tmp_path: Path
) -> None:
    home, version = tmp_path / "home", frozen.version
    named = {"data": {"sources": {"a": {"path": f"faq@{version.id[:8]}"}, "b": None}}}
    of_its_data = record_run(home, {}, prepare(desk_of(recipe, home, Ear())))
    by_its_name = record_run(home, named, None)
    other = record_run(home, {"data": {"sources": {"a": {"path": "x.jsonl"}}}}, None)
    with pytest.raises(StoreError, match=by_its_name) as told:
        remove_version(home, version.id[:8])
    assert of_its_data in told.value.message
    assert other not in told.value.message
    assert "--force" in told.value.hint
    assert version.directory.is_dir()
    assert remove_version(home, f"faq@{version.id[:8]}", force=True).id == version.id
    assert not version.directory.exists()
    assert list_versions(home) == []
