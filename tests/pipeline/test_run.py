"""The whole way, for real and small: what a run leaves behind, and what a second one finds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from pytest import MonkeyPatch
from transformers import AutoModelForCausalLM

from small_runs import SMALL, Ear
from tunesmith.config import load_recipe
from tunesmith.errors import EvaluationError
from tunesmith.models import nano
from tunesmith.pipeline import (
    Finished,
    draw_report,
    forecast_recipe,
    list_runs,
    remove_run,
    run_recipe,
    show_run,
)
from tunesmith.records import Verdict
from tunesmith.store.store import Store

pytestmark = pytest.mark.xdist_group("pipeline")


def test_the_summary_keeps_the_contract(small_run: tuple[Finished, Ear]) -> None:
    finished, _ = small_run
    told = json.loads(json.dumps(finished.summary))
    assert {"run", "recipe", "report", "seconds", "variants", "comparisons"} <= set(told)
    assert {"baseline", "lora", "qlora", "nearest", "copy"} == set(told["variants"])
    for variant in told["variants"].values():
        exact = variant["metrics"]["exact"]
        assert exact["n"] == 12
        low, high = exact["ci"]
        assert 0 <= low <= exact["value"] <= high <= 1
    keys = {"metric", "a", "b", "n", "difference", "ci", "test", "p", "p_adjusted", "effect"}
    for comparison in told["comparisons"]:
        assert keys <= set(comparison)
        assert comparison["verdict"] in {v.value for v in Verdict}
    against = {(c["a"], c["b"]) for c in told["comparisons"]}
    assert {("baseline", "lora"), ("baseline", "qlora"), ("lora", "qlora")} <= against


def test_values_are_the_means_of_the_stored_answers(
    small_run: tuple[Finished, Ear], home: Path
) -> None:
    finished, _ = small_run
    with Store.open(home) as store:
        names = [variant.name for variant in store.variants(finished.id)]
        answers = {name: store.answers(finished.id, name) for name in names}
    assert set(answers) == {"baseline", "lora", "qlora", "nearest", "copy"}
    for variant, said in answers.items():
        mean = sum(a.scores["exact"] for a in said) / len(said)
        told = finished.summary["variants"][variant]["metrics"]["exact"]["value"]
        assert told == pytest.approx(mean)


def test_the_stages_are_told_in_order(small_run: tuple[Finished, Ear]) -> None:
    _, ear = small_run
    assert ear.stages == ["data", "plan", "baselines", "lora", "qlora", "compare", "report"]
    assert ear.counts["train lora"] == (3, 3)
    assert ear.counts["ask qlora"] == (12, 12)


def test_the_adapters_are_plain_peft(small_run: tuple[Finished, Ear], home: Path) -> None:
    finished, _ = small_run
    with Store.open(home) as store:
        adapters = {a.name: a for a in store.adapters(finished.id)}
    assert set(adapters) == {"lora", "qlora"}
    for adapter in adapters.values():
        base = AutoModelForCausalLM.from_pretrained(nano.path(), dtype=torch.float32)
        tuned = PeftModel.from_pretrained(base, str(adapter.directory))
        trained = sum(p.numel() for n, p in tuned.named_parameters() if "lora_" in n)
        assert trained == adapter.trainable_parameters
        assert adapter.changed_answers is not None


def test_tensorboard_has_the_losses_of_the_store(
    small_run: tuple[Finished, Ear], home: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    finished, _ = small_run
    with Store.open(home) as store:
        steps = store.training_steps(finished.id, "lora")
    trackers = finished.report.parent / "trackers"
    events = EventAccumulator(str(trackers / f"{finished.id}-lora")).Reload()
    told = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert [step for step, _ in told] == [s.step for s in steps] == [1, 2, 3]
    assert [value for _, value in told] == pytest.approx([s.loss for s in steps])


def test_a_store_may_be_anywhere(home: Path, tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_STORE", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    finished = run_recipe(load_recipe("anecdot", sets=SMALL), home=home)
    assert [e.id for e in list_runs(home)] == [finished.id]
    monkeypatch.delenv("TUNESMITH_STORE")
    assert finished.id not in {e.id for e in list_runs(home)}


def test_the_report_stands_alone(small_run: tuple[Finished, Ear]) -> None:
    finished, _ = small_run
    page = finished.report.read_text("utf-8")
    fetched = re.findall(r'<(?:script|img|link|iframe)[^>]*(?:src|href)="(?!data:|#)', page)
    assert not fetched
    for variant in ("baseline", "lora", "qlora"):
        assert variant in page
    assert (finished.report.parent / "tables" / "comparisons.csv").exists()


def test_a_second_run_finds_every_stage(small_run: tuple[Finished, Ear], home: Path) -> None:
    finished, _ = small_run
    ear = Ear()
    again = run_recipe(load_recipe("anecdot", sets=SMALL), home=home, listener=ear)
    assert again.id != finished.id
    with Store.open(home) as store:
        assert all(artefact.reused for artefact in store.artefacts(again.id))
    assert not any(what.startswith("train") for what in ear.counts)
    first, second = finished.summary, again.summary
    assert first["variants"] == second["variants"]
    assert first["comparisons"] == second["comparisons"]


def test_only_what_changed_is_done_again(small_run: tuple[Finished, Ear], home: Path) -> None:
    finished, _ = small_run
    assert finished.id
    sets = [*SMALL, "methods.qlora.training.learning_rate=1e-3"]
    changed = run_recipe(load_recipe("anecdot", sets=sets), home=home)
    with Store.open(home) as store:
        reused = {a.stage: a.reused for a in store.artefacts(changed.id)}
    assert reused["data"]
    assert reused["adapter lora"]
    assert reused["answers lora"]
    assert not reused["adapter qlora"]
    assert not reused["answers qlora"]


def test_other_test_rows_train_nothing_again(small_run: tuple[Finished, Ear], home: Path) -> None:
    finished, _ = small_run
    assert finished.id
    changed = run_recipe(load_recipe("anecdot", sets=[*SMALL, "evaluation.rows=6"]), home=home)
    with Store.open(home) as store:
        reused = {a.stage: a.reused for a in store.artefacts(changed.id)}
    assert not reused["data"]
    assert reused["adapter lora"]
    assert reused["adapter qlora"]
    assert not reused["answers lora"]


def test_labels_where_a_task_has_none_are_refused_before_any_work(tmp_path: Path) -> None:
    sets = [*SMALL, "evaluation.decoding=label_likelihood"]
    ear = Ear()
    with pytest.raises(EvaluationError, match="no closed set of labels"):
        run_recipe(load_recipe("anecdot", sets=sets), home=tmp_path, listener=ear)
    assert ear.stages == ["data"]
    assert not ear.counts
    assert not list_runs(tmp_path)


def test_a_plan_needs_no_run(home: Path) -> None:
    before = len(list_runs(home))
    plans = forecast_recipe(load_recipe("anecdot", sets=SMALL), home=home)
    assert set(plans) == {"lora", "qlora"}
    assert plans["lora"].plan.steps == 3
    assert plans["lora"].plan.value("learning_rate") == 4e-3
    assert len(list_runs(home)) == before


def test_a_run_can_be_looked_at_drawn_again_and_removed(
    small_run: tuple[Finished, Ear], home: Path, tmp_path: Path
) -> None:
    finished, _ = small_run
    other = run_recipe(load_recipe("anecdot", sets=SMALL), home=home)
    assert show_run(home, other.id).summary["variants"] == finished.summary["variants"]
    page = draw_report(home, other.id, tmp_path / "again.html")
    assert page.stat().st_size > 100_000
    gone = remove_run(home, other.id)
    assert not gone.directory.exists()
    assert other.id not in {e.id for e in list_runs(home)}
    assert finished.report.exists()
