"""The store gives back what it was given, run by run."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.errors import StoreError
from tunesmith.records import (
    Adapter,
    Answer,
    Choice,
    Comparison,
    Estimate,
    Example,
    Finding,
    Message,
    Metric,
    Outcome,
    Plan,
    Quality,
    Reject,
    Severity,
    TrainingStep,
    Verdict,
)
from tunesmith.store.home import home_of
from tunesmith.store.nouns import (
    KEPT_REJECTS,
    Dataset,
    GoldCheck,
    Provenance,
    StageArtefact,
    Status,
    TestExample,
    Variant,
)
from tunesmith.store.runs import new_run_id
from tunesmith.store.schema import Table
from tunesmith.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with Store.open(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def run_id(store: Store, tmp_path: Path) -> str:
    """A run in it."""
    return store.start_run("anecdot", runs=tmp_path / "runs").id


def example(number: int) -> Example:
    return Example(
        messages=(Message("system", "Decide."), Message("user", f"May I, number {number}?")),
        target="full",
        label="full",
        meta={"difficulty": "easy"},
        place=f"easy.jsonl:{number}",
    )


def test_a_run_comes_back_with_its_provenance(store: Store, tmp_path: Path) -> None:
    provenance = Provenance(
        command="tunesmith demo",
        git_revision="abc",
        git_dirty=True,
        versions={"torch": "2.13"},
        hardware={"cpu": {"cores": 2}},
        seed=2**40,
    )
    run = store.start_run(
        "Org access!",
        runs=tmp_path / "runs",
        recipe_text="name: x\n",
        resolved={"model": {"name": "nano"}},
        provenance=provenance,
    )
    assert run.directory == tmp_path / "runs" / run.id
    found = store.run(run.id)
    assert found.run == run
    assert found.status is Status.RUNNING
    assert found.seconds is None
    assert found.provenance == provenance
    assert found.resolved == {"model": {"name": "nano"}}
    assert found.started.tzinfo is UTC
    done = store.finish_run(run.id, Status.DONE)
    assert done.status is Status.DONE
    assert done.seconds is not None
    assert done.seconds >= 0
    assert store.run(run.id) == done


def test_run_ids_sort_by_time_and_carry_the_recipe() -> None:
    early = new_run_id("My  Récipe/2", datetime(2026, 11, 21, 14, 32, 10, tzinfo=UTC))
    late = new_run_id("a", datetime(2026, 11, 21, 14, 32, 11, tzinfo=UTC))
    assert early.startswith("20261121-143210-my-r-cipe-2-")
    assert early < late
    assert len({new_run_id("a", datetime.now(UTC)) for _ in range(50)}) > 45


def test_a_resumed_run_adds_its_sittings_up(store: Store, run_id: str) -> None:
    first = store.finish_run(run_id, Status.INTERRUPTED, error="stopped").seconds
    assert first is not None
    assert store.run(run_id).error == "stopped"
    store.resume_run(run_id)
    assert store.run(run_id).status is Status.RUNNING
    assert store.run(run_id).error == ""
    again = store.finish_run(run_id, Status.DONE).seconds
    assert again is not None
    assert again >= first


def test_a_run_is_found_by_an_unambiguous_prefix(store: Store, tmp_path: Path) -> None:
    one = store.start_run("anecdot", runs=tmp_path)
    two = store.start_run("campus", runs=tmp_path)
    assert store.run(two.id[:17]).id == two.id
    with pytest.raises(StoreError, match="more than one run begins with") as caught:
        store.run(one.id[:4])
    assert one.id in caught.value.message
    with pytest.raises(StoreError, match="no run begins with '%'"):
        store.run("%")
    assert [run.id for run in store.runs()] == sorted([one.id, two.id], reverse=True)
    assert [run.id for run in store.runs(recipe="campus")] == [two.id]
    assert len(store.runs(limit=1)) == 1


def test_data_and_plan_come_back(store: Store, run_id: str) -> None:
    quality = Quality(
        rows=10,
        usable=8,
        rejected=2,
        labels={"full": 5, "partial": 3},
        repaired_labels={"ful": 1},
        unknown_labels={},
        duplicate_prompts=1,
        contradicting_prompts=0,
        leaked_exact=0,
        leaked_near=2,
        tokens={"median": 80.5},
        findings=(
            Finding("near_leak", Severity.WARNING, "two rows", 2, ("a:1", "a:2"), "drop them"),
            Finding("repaired", Severity.INFO, "one label", 1),
        ),
    )
    dataset = Dataset(
        name="data",
        fingerprint="f" * 64,
        splits={"train": 6, "test": 2},
        quality=quality,
        rejects=tuple(Reject(f"a:{i}", "no answer", {"q": b"\xff"}) for i in range(300)),
        manifest={"files": ["a"]},
    )
    store.record_dataset(run_id, replace(dataset, fingerprint="old"))
    store.record_dataset(run_id, dataset)
    [found] = store.datasets(run_id)
    assert found.quality == quality
    assert found.fingerprint == dataset.fingerprint
    assert len(found.rejects) == KEPT_REJECTS
    assert found.rejects[0] == Reject("a:0", "no answer", {"q": "\ufffd"})
    assert found.reject_reasons == {"no answer": 300}

    plan = Plan(
        choices=(
            Choice("rank", 16, "small data", "rule"),
            Choice("targets", ["q_proj", "v_proj"], "asked for", "recipe"),
            Choice("warmup", None, "none needed", "default"),
        ),
        steps=30,
        memory_bytes=2**33,
        seconds=None,
        cost_usd=1.5,
        fits=True,
    )
    store.record_plan(run_id, "qlora", replace(plan, steps=1))
    store.record_plan(run_id, "qlora", plan)
    store.record_plan(run_id, "grit", replace(plan, choices=()))
    assert store.plans(run_id) == {"qlora": plan, "grit": replace(plan, choices=())}


def test_training_comes_back_and_a_step_done_again_counts_once(store: Store, run_id: str) -> None:
    def step(number: int, loss: float, validation: float | None = None) -> TrainingStep:
        return TrainingStep(number, number / 10, loss, 1e-4, 0.5, 900, 300, 0.1, 2**31, validation)

    store.record_training_steps(run_id, "qlora", [step(i, 3.0) for i in range(1, 1001)])
    again = [step(1000, 2.0, 2.5), step(1001, math.nan)]
    store.record_training_steps(run_id, "qlora", again)
    found = store.training_steps(run_id, "qlora")
    assert len(found) == 1001
    assert found[-2] == again[0]
    assert math.isnan(found[-1].loss)
    adapter = Adapter(
        "qlora", "qlora", Path("a"), "nano", 10, 20, 1.5, 30, 40, 50, 0.6, changed_answers=0.25
    )
    store.record_adapter(run_id, replace(adapter, steps=1))
    store.record_adapter(run_id, adapter)
    assert store.adapters(run_id) == [adapter]


def test_variants_are_known_by_what_is_said_of_them(store: Store, run_id: str) -> None:
    store.record_answers(run_id, "majority", [])
    store.record_answers(run_id, "qlora", [])
    store.record_answers(run_id, "baseline", [])
    store.record_training_steps(run_id, "qlora", [])
    store.record_variant(run_id, Variant("majority", "cheap", "the most common label"))
    assert store.variants(run_id) == [
        Variant("baseline", "untuned"),
        Variant("majority", "cheap", "the most common label"),
        Variant("qlora", "trained"),
    ]


def test_answers_come_back_in_the_order_of_the_test_set(store: Store, run_id: str) -> None:
    examples = [example(i) for i in range(1200)]
    store.record_examples(run_id, examples, twins=[examples[3].id])
    store.record_examples(run_id, examples, twins=[examples[3].id])
    assert store.examples(run_id) == [TestExample(e, e is examples[3]) for e in examples]
    answers = [Answer(e.id, "full", Outcome.SCORED, "full", {"accuracy": 1.0}) for e in examples]
    store.record_answers(run_id, "baseline", reversed(answers))
    changed = replace(answers[7], response="?", outcome=Outcome.UNPARSED, label=None)
    store.record_answers(run_id, "baseline", [answers[8], changed])
    assert store.answers(run_id, "baseline") == [*answers[:7], changed, *answers[8:]]
    assert store.answers(run_id, "nobody") == []


TEXT = st.text(st.characters(exclude_categories=()), max_size=30)


@settings(max_examples=40, deadline=None)
@given(response=TEXT)
def test_any_text_is_kept(tmp_path_factory: pytest.TempPathFactory, response: str) -> None:
    with Store.open(tmp_path_factory.mktemp("home")) as store:
        run_id = store.start_run("r", runs=Path("runs")).id
        store.record_answers(run_id, "v", [Answer("id", response, Outcome.SCORED)])
        [found] = store.answers(run_id, "v")
    try:
        response.encode("utf-8")
        kept = response.replace("\0", "\ufffd")
        assert found.response == kept
    except UnicodeEncodeError:
        assert "\ufffd" in found.response or len(found.response) < len(response)


def test_judgements_come_back(store: Store, run_id: str) -> None:
    metrics = [
        Metric("baseline", "accuracy", "all", Estimate(0.5, 10, (0.2, 0.8))),
        Metric("qlora", "accuracy", "all", Estimate(0.9, 10, (0.6, 0.98))),
    ]
    store.record_metrics(run_id, metrics[:1])
    store.record_metrics(run_id, metrics)
    assert store.metrics(run_id) == metrics
    comparison = Comparison(
        "accuracy", "baseline", "qlora", "all", 10, 0.5, 0.9, 0.4, (0.1, 0.7), "McNemar exact",
        0.03, 0.06, math.inf, "odds ratio", Verdict.NO_EVIDENCE, 0.3, 40, (0, 4), True, ("leak",),
    )  # fmt: skip
    bare = replace(comparison, slice="easy", detectable=None, needed=None, discordant=None)
    store.record_comparisons(run_id, [comparison])
    store.record_comparisons(run_id, [bare, comparison])
    assert store.comparisons(run_id) == [bare, comparison]
    checks = [GoldCheck("accuracy", 10, 1.0), GoldCheck("dot_valid", 10, 0.9, 1.0, ("a:3",))]
    store.record_gold_checks(run_id, checks)
    assert store.gold_checks(run_id) == checks
    assert [check.passed for check in checks] == [True, False]
    artefact = StageArtefact("split", "k" * 64, Path("artefacts/split-k"), {"rows": 3}, True)
    store.record_artefact(run_id, artefact)
    assert store.artefacts(run_id) == [artefact]
    # A resumed run notes its artefacts again: order, and what it made itself, stay.
    made = replace(artefact, stage="adapter", reused=False)
    store.record_artefact(run_id, made)
    store.record_artefact(run_id, artefact)
    store.record_artefact(run_id, replace(made, reused=True))
    assert store.artefacts(run_id) == [artefact, made]


def test_removing_a_run_leaves_nothing_of_it_and_all_of_the_others(
    store: Store, run_id: str, tmp_path: Path
) -> None:
    other = store.start_run("campus", runs=tmp_path).id
    for owner, examples in ((run_id, [example(1), example(2)]), (other, [example(2)])):
        store.record_examples(owner, examples)
        store.record_answers(owner, "baseline", [Answer(examples[0].id, "x", Outcome.FAILED)])
        store.record_plan(
            owner, "qlora", Plan((Choice("r", 1, "", "rule"),), 1, 1, None, None, True)
        )
        store.record_dataset(owner, Dataset("data", "f", {}))
    removed = store.remove_run(run_id)
    assert removed.id == run_id
    with sqlite3.connect(store.place) as connection:
        for table in Table.metadata.sorted_tables:
            columns = [column.name for column in table.columns]
            if "run_id" in columns:
                owners = connection.execute(f"SELECT DISTINCT run_id FROM {table.name}").fetchall()
                assert owners in ([(other,)], [])
        kept = connection.execute("SELECT id FROM examples").fetchall()
    assert kept == [(example(2).id,)]
    with pytest.raises(StoreError, match=f"no run {run_id}"):
        store.remove_run(run_id)


def test_what_belongs_to_no_run_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="the run it belongs to is not there"):
        store.record_answers("absent", "baseline", [Answer("i", "x", Outcome.SCORED)])
    with pytest.raises(StoreError, match="no run absent"):
        store.finish_run("absent", Status.DONE)


def test_home_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path))
    assert home_of(None) == tmp_path
    monkeypatch.delenv("TUNESMITH_HOME")
    assert home_of(None).name == "tunesmith"
    assert home_of(None).is_absolute()
