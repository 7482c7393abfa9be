"""The recipe campus: every topic at once on nano, and the real topics as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from small_runs import Ear
from tunesmith.config import load_recipe
from tunesmith.data.freeze import read_splits
from tunesmith.pipeline import forecast_recipe, run_recipe
from tunesmith.records import Splits

pytestmark = pytest.mark.xdist_group("pipeline")

TOPICS = ("programme", "housing", "dining")
QUICK = (
    "training.max_steps=3",
    "evaluation.max_new_tokens=8",
    "evaluation.replicates=200",
)


def parts(home: Path) -> Splits:
    (folder,) = home.glob("artefacts/data-*")
    return read_splits(folder)


def test_the_test_part_asks_for_known_facts_in_wordings_of_its_own(tmp_path: Path) -> None:
    forecast_recipe(load_recipe("campus"), home=tmp_path)
    splits = parts(tmp_path)
    trained = [*splits.train, *splits.validation]
    assert {e.target for e in splits.test} <= {e.target for e in splits.train}
    held_out = {e.meta["split_group"] for e in splits.test}
    assert not held_out & {e.meta["split_group"] for e in trained}
    assert {e.meta["source"] for e in splits.test} == set(TOPICS)


def test_a_topic_alone_holds_out_the_wordings_that_all_of_them_hold_out(tmp_path: Path) -> None:
    sets = [f"data.sources.{name}=null" for name in TOPICS if name != "housing"]
    forecast_recipe(load_recipe("campus"), home=tmp_path / "all")
    forecast_recipe(load_recipe("campus", sets=sets), home=tmp_path / "one")
    joint, alone = parts(tmp_path / "all"), parts(tmp_path / "one")
    of_topic = {e.id for e in joint.test if e.meta["source"] == "housing"}
    assert {e.id for e in alone.test} == of_topic


def test_every_topic_is_a_slice_and_links_are_another(tmp_path: Path) -> None:
    rows = [f"data.sources.{name}.rows=80" for name in TOPICS]
    finished = run_recipe(
        load_recipe("campus", sets=[*QUICK, *rows]), home=tmp_path, listener=Ear()
    )
    slices = {metric.slice for metric in finished.metrics if metric.variant == "lora"}
    assert {"links=yes", "links=no", *(f"source={name}" for name in TOPICS)} <= slices
    nearest = {(m.name, m.slice): m.estimate.n for m in finished.metrics if m.variant == "nearest"}
    linked = nearest["accuracy", "links=yes"]
    assert nearest["url_intact", "all"] == nearest["url_intact", "links=yes"] == linked
    assert linked < nearest["accuracy", "all"]
    assert ("url_intact", "links=no") not in nearest
    compared = {c.n for c in finished.comparisons if (c.metric, c.slice) == ("url_intact", "all")}
    assert compared == {linked}
    page = finished.report.read_text("utf-8")
    assert f"of {linked} examples" in page
    told = json.loads(json.dumps(finished.summary))
    assert {"accuracy", "url_intact"} <= set(told["variants"]["lora"]["metrics"])


def test_the_real_topics_are_mended_by_settings_alone(tmp_path: Path, shared_data: Path) -> None:
    files = {
        "cs": "cs_106.json",
        "calendar": "academic_calendar_33.json",
        "costs": "cost_of_attendance_35.json",
    }
    sets = [f"data.sources.{n}.path={shared_data / 'campus' / f}" for n, f in files.items()]
    real = load_recipe("campus", profile="real", sets=[*sets, "model.name=nano"])
    assert real.recipe.methods.keys() >= {"qlora"}
    forecast_recipe(real, home=tmp_path)
    splits = parts(tmp_path)
    kept = [*splits.train, *splits.validation, *splits.test]
    assert {e.meta["source"] for e in kept} == set(files)
    assert len({e.prompt_key for e in kept}) == len(kept)
    assert max(len(e.target) for e in kept) <= 4000
    assert 160 <= len(kept) <= 164
    assert {e.meta["topic"] for e in kept} >= {"CS Department Contact", "Cost of Attendance"}
