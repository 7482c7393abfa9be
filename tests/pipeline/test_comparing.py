"""Which trainings of a study, or of several runs, may be held against one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from small_studies import write_study
from study_runs import study, training
from tunesmith.compare.training_measures import SeedSettings
from tunesmith.config.study import load_study
from tunesmith.errors import EvaluationError
from tunesmith.pipeline.comparing import Compared, compare_trainings
from tunesmith.pipeline.studying import run_study
from tunesmith.records import Adapter, StudyRun
from tunesmith.store.nouns import Provenance
from tunesmith.store.store import Store

pytestmark = pytest.mark.xdist_group("pipeline")

FILE = {
    "tasks": {"lines": {}},
    "methods": {"full": None, "slow": None, "half": None},
    "search": {"trials": 2, "seed": 0},
    "seeds": [1, 2, 3],
}


def keep(
    home: Path,
    runs: list[StudyRun],
    *,
    knobs: Mapping[str, Any] | None = None,
    made: Mapping[str, Any] | None = None,
) -> None:
    """Trainings of a study, each task and seed under a run with these settings."""
    settings = {"training": {"lora_r": 8}, "evaluation": {"rows": 9}} | dict(knobs or {})
    with Store.open(home) as store:
        store.record_study("small", description="", text="", resolved=FILE)
        ids: dict[tuple[str, int], str] = {}
        for task, seed in dict.fromkeys((r.task, r.seed) for r in runs):
            own = [r for r in runs if (r.task, r.seed) == (task, seed)]
            methods = {
                r.method: {"method": "lora", "training": {"learning_rate": r.learning_rate}}
                for r in own
            }
            run = store.start_run(
                "small", runs=home, resolved=settings | {"methods": methods, "seed": seed},
                provenance=Provenance(),
            )  # fmt: skip
            ids[task, seed] = run.id
        for r in runs:
            origin = {"code": "a", "hardware": {"device": "cpu"}} | dict(made or {})
            store.record_study_run(replace(r, run=ids[r.task, r.seed]), provenance=origin)


def compare(home: Path, *names: str) -> Compared:
    return compare_trainings(home, names or ("small",), SeedSettings(replicates=200))


def seeds(*wanted: int) -> list[StudyRun]:
    return [r for r in study(5) if r.seed in wanted]


def test_what_the_study_no_longer_has_is_left_out_and_named(tmp_path: Path) -> None:
    older = [training("old", seed, rate=0.1) for seed in (1, 2, 3)]
    keep(tmp_path, [*seeds(1, 2, 3, 4), *older])
    found = compare(tmp_path).found
    assert set(found.methods) == {"full", "slow", "half"}
    assert {r.seed for r in found.cells} == {1, 2, 3}
    assert "6 trainings" in " ".join(found.notes) and "old" in " ".join(found.notes)


def test_other_settings_in_one_study_are_refused(tmp_path: Path) -> None:
    keep(tmp_path, seeds(1, 2))
    keep(tmp_path, seeds(3), knobs={"training": {"lora_r": 16}})
    with pytest.raises(EvaluationError, match=r"training\.lora_r \(8 and 16\)") as caught:
        compare(tmp_path)
    assert "tunesmith study" in str(caught.value.hint)


def test_other_rates_of_one_method_are_refused(tmp_path: Path) -> None:
    keep(tmp_path, [*seeds(1, 2), *(replace(r, learning_rate=0.3) for r in seeds(3))])
    with pytest.raises(EvaluationError, match=r"full .*learning_rate \(0\.2 and 0\.3\)"):
        compare(tmp_path)


def test_a_search_under_newer_settings_is_refused_and_an_older_one_is_no_matter(
    tmp_path: Path,
) -> None:
    trial = replace(training("full", 9, rate=0.7), trial=0)
    keep(tmp_path, seeds(1, 2, 3))
    keep(tmp_path, [replace(trial, seed=7)], knobs={"training": {"lora_r": 16}})
    keep(tmp_path, [replace(trial, seed=0, trial=5)], knobs={"training": {"lora_r": 16}})
    keep(tmp_path, [replace(trial, seed=0, trial=1)])
    compare(tmp_path)
    keep(tmp_path, [replace(trial, seed=0)], knobs={"training": {"lora_r": 16}})
    with pytest.raises(EvaluationError, match=r"training\.lora_r \(16 and 8\)"):
        compare(tmp_path)


def test_several_states_of_the_code_are_said(tmp_path: Path) -> None:
    keep(tmp_path, seeds(1, 2))
    assert "code" not in " ".join(compare(tmp_path).found.notes)
    keep(tmp_path, seeds(3), made={"code": "b"})
    assert "2 states of the code" in " ".join(compare(tmp_path).found.notes)


@pytest.mark.parametrize(
    ("devices", "judged"), [(("cuda", "cuda"), True), (("cuda", "cpu"), False)]
)
def test_memory_is_judged_where_all_trained_on_a_gpu(
    tmp_path: Path, devices: tuple[str, str], judged: bool
) -> None:
    for seed, device in enumerate(devices, start=1):
        keep(tmp_path, seeds(seed), made={"hardware": {"device": device}})
    assert any(a.quantity == "peak memory" for a in compare(tmp_path).found.advice) == judged


@pytest.mark.parametrize(
    ("key", "value", "refused"),
    [("max_new_tokens", 4, True), ("replicates", 999, False), ("confidence", 0.9, False)],
)
def test_runs_that_ask_for_answers_otherwise_are_refused(
    tmp_path: Path, key: str, value: float, refused: bool
) -> None:
    ids = []
    for seed, own in ((1, {}), (2, {key: value})):
        told = {"evaluation": {"max_new_tokens": 8, "replicates": 500, "confidence": 0.95} | own}
        with Store.open(tmp_path) as store:
            run = store.start_run(
                "lines", runs=tmp_path, resolved=told | {"seed": seed}, provenance=Provenance()
            )
            made = Adapter("lora", "lora", tmp_path, "nano", 8, 64, 1.0, 1, 1, 1, 0.1)
            store.record_adapter(run.id, made)
        ids.append(run.id)
    if refused:
        with pytest.raises(EvaluationError, match=r"evaluation\.max_new_tokens \(8 and 4\)"):
            compare(tmp_path, *ids)
    else:
        compare(tmp_path, *ids)


def test_a_study_as_it_was_made_is_compared_and_refused_where_half_of_it_is_older(
    tmp_path: Path,
) -> None:
    file = write_study(tmp_path)
    run_study(load_study(file), home=tmp_path)
    found = compare(tmp_path).found
    assert (found.methods, len(found.cells)) == (("lora", "rslora"), 4)
    file.write_text(file.read_text().replace("training: {", "training: {weight_decay: 0.02, ", 1))
    run_study(load_study(file), home=tmp_path, only=("lora",))
    with pytest.raises(EvaluationError, match=r"training\.weight_decay \(0\.02 and 0\.0\)"):
        compare(tmp_path)
