"""`tunesmith compare-training` as people and programs call it, over a store with real figures."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study_runs import study, training
from tunesmith.records import Adapter, Estimate, Metric, StudyRun
from tunesmith.store.nouns import Provenance, Status
from tunesmith.store.store import Store


def tunesmith(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tunesmith", "compare-training", *arguments, "--home", str(home)],
        env=os.environ | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def keep(home: Path, runs: list[StudyRun]) -> None:
    with Store.open(home) as store:
        resolved = {
            "tasks": dict.fromkeys(r.task for r in runs),
            "methods": dict.fromkeys(r.method for r in runs),
            "seeds": sorted({r.seed for r in runs}),
            "search": {"trials": 2, "seed": 0},
        }
        store.record_study("small", description="", text="", resolved=resolved)
        for run in runs:
            store.record_study_run(replace(run, run=""))


def keep_run(home: Path, seed: int, *, resolved: Mapping[str, Any] | None = None) -> str:
    """A finished run with two methods, as `tunesmith run` leaves it behind."""
    told = {"task": "text", "data": {"rows": 40}, "training": {"r": 8}, "seed": seed}
    with Store.open(home) as store:
        run = store.start_run(
            "lines", runs=home, resolved=told | dict(resolved or {}), provenance=Provenance()
        )
        metrics = []
        for method, rate in (("lora", 0.2), ("slow", 0.02)):
            made = training(method, seed, rate=rate)
            store.record_adapter(
                run.id,
                Adapter(
                    name=method,
                    method=method,
                    directory=home,
                    base="nano",
                    trainable_parameters=8,
                    bytes=64,
                    seconds=made.seconds,
                    peak_memory_bytes=made.peak_memory_bytes,
                    tokens=made.tokens,
                    steps=40,
                    final_loss=0.1,
                ),
            )
            store.record_training_steps(run.id, method, made.curve)
            loss = made.held_out_loss or 0.0
            for name, value in (("near", made.scores["near"]), ("perplexity", math.exp(loss))):
                estimate = Estimate(value, 200, (value, value))
                metrics.append(Metric(method, name, "all", estimate))
        store.record_metrics(run.id, metrics)
        store.finish_run(run.id, Status.DONE)
    return run.id


def test_a_study_gets_its_verdicts_page_tables_and_rows(tmp_path: Path) -> None:
    keep(tmp_path, study())
    result = tunesmith(tmp_path, "small", "--out", str(tmp_path / "out"))
    assert result.returncode == 0, result.stderr
    said = " ".join(result.stdout.split())
    assert "when to use which" in said
    assert "slow is worse than full: held-out loss" in said
    assert "0.0625" in result.stderr
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "full comes to the lowest loss." in page
    names = {file.name for file in (tmp_path / "out" / "tables").iterdir()}
    assert {"tests.csv", "figures.md", "when_to_use_which.tex", "fronts.csv"} <= names
    tunesmith(tmp_path, "small", "--out", str(tmp_path / "again"))  # takes the place of the first
    with closing(sqlite3.connect(tmp_path / "tunesmith.db")) as connection:
        ask = connection.execute
        tests = ask(
            "SELECT slice, a, b, n, verdict, p_permutation, run_id FROM statistical_tests"
            " WHERE study = 'small' AND metric = 'held-out loss' ORDER BY id"
        ).fetchall()
        assert len(tests) == 3
        assert ("lines", "full", "slow", 5, "worse", 0.0625, None) in tests
        values = ask(
            "SELECT value, by_seed, fronts FROM comparative_analysis"
            " WHERE method = 'full' AND quantity = 'held-out loss'"
        ).fetchall()
        by_seed = json.loads(values[0][1])
        assert len(values) == 1 and len(by_seed) == 5
        assert values[0][0] == pytest.approx(sum(by_seed.values()) / 5)
        assert set(json.loads(values[0][2])) == {"seconds", "trained parameters"}
        rows = ask("SELECT methods FROM recommendations WHERE quantity = 'adapter size'").fetchall()
        assert [json.loads(row[0]) for row in rows] == [["half"]]


def test_json_is_one_object_alone_on_stdout(tmp_path: Path) -> None:
    keep(tmp_path, study(tasks=("lines", "other")))
    told = json.loads(tunesmith(tmp_path, "small", "--task", "other", "--json").stdout)
    assert (told["study"], told["tasks"]) == ("small", ["other"])
    assert {c["task"] for c in told["comparisons"]} == {"other"}
    first = told["comparisons"][0]
    assert {"p", "p_adjusted", "p_sign_flips", "effect_ci", "verdict", "n", "ci"} <= set(first)
    assert first["words"].startswith("half is worse than full: held-out loss")
    assert Path(told["report"]).is_file()


def test_runs_of_one_recipe_are_compared_by_seed(tmp_path: Path) -> None:
    ids = [keep_run(tmp_path, seed) for seed in (1, 2, 3)]
    told = json.loads(tunesmith(tmp_path, *ids, "--json").stdout)
    pair = next(c for c in told["comparisons"] if c["metric"] == "held-out loss")
    assert (pair["a"], pair["b"], pair["n"], pair["verdict"]) == ("lora", "slow", 3, "worse")
    assert {f["name"] for f in told["figures"]} >= {"score: near", "tokens to the loss", "spikes"}


def test_one_seed_is_not_tested_and_it_says_so(tmp_path: Path) -> None:
    result = tunesmith(tmp_path, keep_run(tmp_path, 1))
    assert result.returncode == 0, result.stderr
    assert "One seed only: nothing is tested" in result.stderr
    assert "is better" not in result.stdout


@pytest.mark.parametrize(
    ("resolved", "said"),
    [
        ({"data": {"rows": 80}}, "they differ in data.rows (40 and 80)"),
        ({"seed": 1}, "lora was trained twice on lines with seed 1"),
    ],
)
def test_runs_on_other_terms_are_refused(
    tmp_path: Path, resolved: dict[str, Any], said: str
) -> None:
    ids = [keep_run(tmp_path, 1), keep_run(tmp_path, 2, resolved=resolved)]
    result = tunesmith(tmp_path, *ids)
    assert result.returncode == 2
    assert said in result.stderr
    assert "hint:" in result.stderr and "Traceback" not in result.stderr


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    keep(tmp_path, study(2))
    unknown = tunesmith(tmp_path, "large")
    assert unknown.returncode == 2
    assert "'large' is no study" in unknown.stderr and "studies here: small" in unknown.stderr
    elsewhere = tunesmith(tmp_path, "small", "--task", "poems")
    assert elsewhere.returncode == 2
    assert "tasks here: lines" in elsewhere.stderr
    budget = [replace(r, curve=r.curve[:20]) if r.method == "half" else r for r in study(2)]
    keep(tmp_path, budget)
    other = tunesmith(tmp_path, "small")
    assert other.returncode == 2
    assert "half for 20" in other.stderr or "half was trained for 20" in other.stderr
