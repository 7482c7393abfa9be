"""The shipped recipes, small: what is made from training rows, and what is said along the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from small_runs import SMALL, Ear
from tunesmith.config import load_recipe
from tunesmith.data.freeze import read_splits
from tunesmith.pipeline import forecast_recipe, run_recipe
from tunesmith.records import Splits
from tunesmith.store.store import Store

pytestmark = pytest.mark.xdist_group("pipeline")

QUICK = (
    "data.sources.facts.rows=48",
    "data.sources.unseen.rows=24",
    "training.max_steps=3",
    "training.eval_prompts=4",
    "evaluation.max_new_tokens=12",
    "evaluation.replicates=200",
    "methods.qlora=null",
)


def parts(home: Path) -> Splits:
    (folder,) = home.glob("artefacts/data-*")
    return read_splits(folder)


def test_augmentation_reaches_the_training_part_and_no_other(tmp_path: Path) -> None:
    found = {}
    for name, more in (("plain", ()), ("more", ("data.sources.machines.augment.broken_dot=0.5",))):
        forecast_recipe(load_recipe("anecdot", sets=[*SMALL, *more]), home=tmp_path / name)
        found[name] = parts(tmp_path / name)
    plain, more = found["plain"], found["more"]
    assert more.test == plain.test
    assert more.validation == plain.validation
    assert more.train[: len(plain.train)] == plain.train
    added = more.train[len(plain.train) :]
    assert len(added) == round(0.5 * len(plain.train))
    assert {example.meta["augmented"] for example in added} == {"broken_dot"}


def test_statqa_says_perplexity_slices_and_scores_along_the_way(tmp_path: Path) -> None:
    finished = run_recipe(load_recipe("statqa", sets=QUICK), home=tmp_path, listener=Ear())
    told = json.loads(json.dumps(finished.summary))
    for name in ("baseline", "lora"):
        metrics = told["variants"][name]["metrics"]
        assert {"accuracy", "exact", "token_f1", "rouge_l", "bleu", "chrf"} <= set(metrics)
        low, high = metrics["perplexity"]["ci"]
        assert 1 < low <= metrics["perplexity"]["value"] <= high
    assert "perplexity" not in told["variants"]["nearest"]["metrics"]
    slices = {metric.slice for metric in finished.metrics if metric.variant == "lora"}
    assert {"source=critical", "source=unseen", "kind=closed", "kind=open"} <= slices
    with Store.open(tmp_path) as store:
        steps = store.training_steps(finished.id, "lora")
    scored = [step for step in steps if step.validation_scores is not None]
    assert [step.step for step in scored] == [3]
    assert set(dict(scored[0].validation_scores or {})) == {
        "accuracy", "exact", "token_f1", "rouge_l", "bleu", "chrf",
    }  # fmt: skip
    assert "Answers to a few validation prompts" in finished.report.read_text("utf-8")
