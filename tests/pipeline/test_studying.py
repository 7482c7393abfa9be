"""A study from its file to its results: searched, killed, gone on with, failed in one cell."""

from __future__ import annotations

import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from small_runs import Ear
from small_studies import write_study
from tunesmith.config.study import RateRange, ResolvedStudy, load_study
from tunesmith.errors import ConfigError, DataError
from tunesmith.pipeline.cells import Cell
from tunesmith.pipeline.engines import Local, Work, get_engine
from tunesmith.pipeline.searching import next_rate
from tunesmith.pipeline.studying import Studied, best_rate, in_turn, run_study
from tunesmith.records import StudyRun
from tunesmith.store.store import Store
from tunesmith.train.job import count_steps

pytestmark = pytest.mark.xdist_group("pipeline")


class Plain(Local):
    """As Local, but everything goes through pickle, as to another process."""

    def __init__(self) -> None:
        self.given: list[Cell] = []

    def run(self, work: Work, cells: Sequence[Cell]) -> Iterator[StudyRun]:
        self.given += cells
        there, asked = pickle.loads(pickle.dumps((work, list(cells))))
        for result in super().run(there, asked):
            yield pickle.loads(pickle.dumps(result))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("study")
    write_study(place)
    return place


@pytest.fixture(scope="module")
def done(folder: Path) -> tuple[Studied, Plain, Ear]:
    engine, ear = Plain(), Ear()
    found = run_study(load_study(folder / "small.yaml"), home=folder, engine=engine, listener=ear)
    return found, engine, ear


def test_every_method_is_searched_alike_and_then_counted(
    folder: Path, done: tuple[Studied, Plain, Ear]
) -> None:
    found, engine, ear = done
    assert [(r.method, r.seed) for r in found.runs] == [
        *(("lora", 1), ("lora", 2), ("rslora", 1), ("rslora", 2))
    ]
    assert found.made == len(engine.given) == 8
    assert ear.counts == {"search": (4, 4), "seeds": (4, 4)}
    tried: dict[str, list[StudyRun]] = {"lora": [], "rslora": []}
    for trial in found.trials:
        tried[trial.method].append(trial)
        assert trial.held_out_loss is None
        assert trial.scores == {}
        assert trial.seed == 0
    first = [runs[0].learning_rate for runs in tried.values()]
    assert first == pytest.approx([1e-2, 1e-2])
    for run in found.runs:
        assert run.error == ""
        assert run.learning_rate == best_rate(tried[run.method])
        assert [step.step for step in run.curve] == [1, 2, 3, 4]
        assert run.validation_loss == run.curve[-1].validation_loss
        assert run.held_out_loss is not None
        assert run.held_out_loss > 0
        assert 0 <= run.scores[found.primary["colours"]] <= 1
        assert run.general_perplexity is not None
        assert run.drift is not None
        assert min(*run.general_perplexity, run.drift, run.seconds, run.trainable_parameters) > 0
    losses = {run.held_out_loss for run in found.runs}
    assert len(losses) == len(found.runs)
    with Store.open(folder) as store:
        assert sorted(store.study_runs("small"), key=repr) == sorted(
            (*found.trials, *found.runs), key=repr
        )
        (kept,) = store.studies()
        assert kept.text == (folder / "small.yaml").read_text()
        origins = [s.provenance for s in store.stored_runs("small").values()]
        assert all((o["engine"], o["cpus"]) == ("local", torch.get_num_threads()) for o in origins)
        runs = store.runs()
        assert sorted(r.recipe for r in runs) == [
            *("small colours search", "small colours seed 1", "small colours seed 2")
        ]
        assert {r.status for r in runs} == {"done"}
        counted = next(r.id for r in runs if r.recipe.endswith("seed 1"))
        assert {r.run for r in found.runs if r.seed == 1} == {counted}
        assert [v.name for v in store.variants(counted)] == ["baseline", "lora", "rslora"]
        (pair,) = (
            c
            for c in store.comparisons(counted)
            if (c.a, c.b, c.slice, c.primary) == ("baseline", "lora", "all", True)
        )
        assert pair.n > 0


def test_what_is_done_is_not_done_again(folder: Path, done: tuple[Studied, Plain, Ear]) -> None:
    engine = Plain()
    study = load_study(folder / "small.yaml")
    again = run_study(study, home=folder, engine=engine)
    assert (again.made, engine.given) == (0, [])
    assert again.runs == done[0].runs
    alone = run_study(study, home=folder, engine=engine, only=["rslora"], tasks=["colours"])
    assert {run.method for run in alone.runs} == {"rslora"}
    assert engine.given == []
    anew = run_study(study, home=folder, engine=engine, only=["rslora"], again="all")
    assert len(engine.given) == anew.made == 4
    assert [r.held_out_loss for r in anew.runs] == [r.held_out_loss for r in alone.runs]


def test_a_changed_method_is_trained_again_and_the_others_are_not(
    folder: Path, done: tuple[Studied, Plain, Ear], tmp_path: Path
) -> None:
    file = folder / "changed.yaml"
    file.write_text((folder / "small.yaml").read_text().replace("true}", "true, lora_alpha: 4}"))
    engine = Plain()
    found = run_study(load_study(file), home=folder, engine=engine)
    assert {(c.method, c.trial) for c in engine.given} == {
        *(("rslora", 0), ("rslora", 1), ("rslora", None))
    }
    kept = {r.run for r in done[0].runs}
    assert {r.run for r in found.runs if r.method == "lora"} == kept
    assert not {r.run for r in found.runs if r.method == "rslora"} & kept
    file.unlink()


@pytest.mark.slow
def test_a_killed_study_goes_on_where_it_was(
    tmp_path: Path, done: tuple[Studied, Plain, Ear]
) -> None:
    file = write_study(tmp_path)
    command = [sys.executable, "-m", "tunesmith", "study", str(file), "--home", str(tmp_path)]
    with (tmp_path / "said").open("w") as said:
        study = subprocess.Popen(command, stdout=said, stderr=said, env=dict(os.environ))
    late = time.monotonic() + 120
    while time.monotonic() < late and study.poll() is None:
        time.sleep(0.2)
        if (tmp_path / "tunesmith.db").exists():
            with Store.open(tmp_path) as store:
                if len(store.stored_runs("small")) >= 2:
                    break
    study.send_signal(signal.SIGKILL)
    assert study.wait() == -signal.SIGKILL, (tmp_path / "said").read_text()
    with Store.open(tmp_path) as store:
        before = store.stored_runs("small")
    assert 2 <= len(before) < 8
    engine = Plain()
    found = run_study(load_study(file), home=tmp_path, engine=engine)
    assert len(engine.given) == found.made == 8 - len(before)
    whole = {(r.method, r.seed): r.held_out_loss for r in done[0].runs}
    assert {(r.method, r.seed): r.held_out_loss for r in found.runs} == whole
    with Store.open(tmp_path) as store:
        after = store.stored_runs("small")
        assert {place: after[place] for place in before} == before
        assert len(store.runs()) == 3


def test_a_training_that_diverges_is_recorded_and_the_study_goes_on(tmp_path: Path) -> None:
    methods = "  lora:\n  wild: {method: lora, training: {lora_alpha: 1.0e+38, max_grad_norm: 0}}\n"
    ear = Ear()
    study = load_study(write_study(tmp_path, methods=methods))
    found = run_study(study, home=tmp_path, listener=ear)
    good = [run for run in found.runs if run.method == "lora"]
    assert all(run.error == "" and run.held_out_loss for run in good)
    wild = [run for run in found.trials if run.method == "wild"]
    assert all("wild" in run.error and "at step" in run.error for run in wild)
    assert all(run.validation_loss is None for run in wild)
    lost = [run for run in found.runs if run.method == "wild"]
    assert [run.seed for run in lost] == [1, 2]
    assert all("no trial of the search came to its end" in run.error for run in lost)
    assert all(math.isnan(run.learning_rate) for run in lost)
    assert any("failed: wild" in line for line in ear.lines)
    assert run_study(study, home=tmp_path).made == 0
    assert run_study(study, home=tmp_path, again="failed").made == len(wild)


def test_a_search_that_would_see_test_rows_is_refused(tmp_path: Path) -> None:
    file = write_study(tmp_path)
    file.write_text(file.read_text().replace("split: fixed", "split: per_seed"))
    with pytest.raises(DataError, match=r"task colours: \d of \d test prompts of seed 1") as caught:
        run_study(load_study(file), home=tmp_path)
    assert "split: fixed" in caught.value.hint


WRONG = [
    ("training: {max_steps: 4", "training: {max_stepss: 4", r"line 6: .*training.max_stepss"),
    ("name: small", "nam: small", r"small.yaml, line 1: unknown key nam"),
    ("  trials: 2", "  trails: 2", r"line 11: unknown key search.trails"),
    ("  trials: 2", "  trials: 0", r"line 11: search.trials: must be greater than 0"),
    ("recipe: topics.yaml", "recipe: topic", r"line 4: tasks.colours: there is no recipe topic"),
    ("data.validation: 0.2", "data.validation: 2", r"line 5: data.validation: must be less than 1"),
    ("{use_rslora: true}", "{use_rslora: 3}", r"line 9: .*use_rslora: must be true or false"),
    ("{use_rslora: true}", "{max_steps: 3}", r"methods.rslora: max_steps must be the same"),
    ("{use_rslora: true}", "{label_smoothing_factor: 0.1}", r"label_smoothing_factor must be the"),
    ("{use_rslora: true}", "{eval_steps: 2, loss_spike_factor: 9}", r"eval_steps, loss_spike_fact"),
    ("{use_rslora: true}", "{learning_rate: 3}", r"the search sets its learning rate"),
    ("low: 1.0e-3", "low: 1.0", r"line 12: search.learning_rate: high \(0.1\) must be above low"),
    ("seeds: [1, 2]", "seeds: [1, 1]", r"seeds: one stands twice"),
    ("seeds: [1, 2]", "seeds: [0, 1]", r"search.seed: 0 is one of seeds"),
    ("method: lora", "method: lorra", r"line 9: methods.rslora.method: must be"),
]


@pytest.mark.parametrize(("right", "wrong", "said"), WRONG)
def test_a_wrong_file_is_complained_of_like_a_recipe(
    folder: Path, right: str, wrong: str, said: str, tmp_path: Path
) -> None:
    text = (folder / "small.yaml").read_text()
    assert right in text
    (tmp_path / "small.yaml").write_text(text.replace(right, wrong, 1))
    (tmp_path / "topics.yaml").write_text((folder / "topics.yaml").read_text())
    with pytest.raises(ConfigError, match=said):
        load_study(tmp_path / "small.yaml")


def test_names_that_are_not_there(folder: Path) -> None:
    study = load_study(folder / "small.yaml")
    with pytest.raises(ConfigError, match="no method 'grit'"):
        run_study(study, home=folder, only=["grit"])
    with pytest.raises(ConfigError, match="no task 'statqa'"):
        run_study(study, home=folder, tasks=["statqa"])
    with pytest.raises(ConfigError, match="no engine 'steam'"):
        get_engine("steam")
    with pytest.raises(ConfigError, match="there is no study methodss") as caught:
        load_study("methodss")
    assert "did you mean methods" in caught.value.hint


def test_the_shipped_study_has_what_it_promises() -> None:
    study = load_study("methods").study
    assert len(study.methods) == 11
    assert len(study.tasks) == 2
    assert len(study.seeds) >= 5
    for name, method in study.methods.items():
        assert "learning_rate" not in str(method), name


def _steps(study: ResolvedStudy, task: str) -> tuple[int, int]:
    """Optimizer steps of a training, and those between two validations."""
    recipe = study.recipe(task, seed=0, variants={}).recipe
    training = [s.rows or 0 for s in recipe.data.sources.values() if s.role == "train"]
    learned = round(sum(training) * (1 - recipe.data.validation))
    return count_steps(learned, recipe.training), recipe.training.eval_steps or 0


@pytest.mark.parametrize("task", ["statqa", "anecdot"])
def test_the_shipped_study_validates_often_and_reprojects_before_the_end(task: str) -> None:
    """At least five validations; grit_paper reprojects, and still learns for a fifth behind it."""
    study = load_study("methods")
    steps, apart = _steps(study, task)
    assert len({*range(apart, steps + 1, apart), steps}) >= 5
    variants = {"grit_paper": ("grit_paper", 1e-3)}
    grit = study.recipe(task, seed=0, variants=variants).recipe.method_settings("grit_paper").grit
    every = grit.reprojection_freq
    turns = [n for n in range(every, steps + 1, every) if n > grit.reprojection_warmup]
    assert turns
    assert max(turns) < 0.8 * steps


def test_the_search_s_rate_is_the_one_that_grit_takes(tmp_path: Path) -> None:
    """GRIT's own rate, set for all methods or in a task, would stand before the search's."""
    methods = "  lora:\n  grit:\n"
    file = write_study(tmp_path, methods=methods)
    text = file.read_text().replace("training: {", "training: {grit: {learning_rate: 0.5}, ")
    file.write_text(text.replace("set: {", "set: {training.grit.learning_rate: 0.7, "))
    recipe = load_study(file).recipe("colours", seed=0, variants={"g-0": ("grit", 2e-3)}).recipe
    chosen = recipe.method_settings("g-0")
    assert (chosen.learning_rate, chosen.grit.learning_rate) == (2e-3, None)


def test_methods_take_turns_and_each_base_is_loaded_once() -> None:
    """No method stands at one place on every seed; bases in four bits stand together."""
    pairs = [(task, method) for task in "ab" for method in ("lora", "qlora", "dora", "grit")]
    four_bit = {("a", "qlora"), ("b", "qlora")}
    rounds = [in_turn(pairs, four_bit, turn, 6) for turn in range(6)]
    for found in rounds:
        assert sorted(found) == sorted(pairs)
        flags = [pair in four_bit for pair in found]
        assert flags in (sorted(flags), sorted(flags, reverse=True))
    assert rounds[0][:3] == [("a", "lora"), ("a", "dora"), ("a", "grit")]
    for pair in pairs:
        assert len({found.index(pair) for found in rounds}) > 1, pair
    two = [("a", "lora"), ("a", "grit")]
    assert [in_turn(two, (), turn, 2) for turn in range(2)] == [two, two[::-1]]


@pytest.mark.parametrize("optimum", [3e-4, 4e-3, 2e-2])
def test_the_search_comes_near_the_optimum_and_learns_from_failures(optimum: float) -> None:
    within = RateRange(low=2e-4, high=3e-2)
    found: list[tuple[float, float | None]] = []
    for _ in range(5):
        rate = next_rate(found, within, trials=5, seed=0)
        assert rate == next_rate(found, within, trials=5, seed=0)
        assert within.low <= rate <= within.high
        loss = 0.5 + 0.4 * math.log10(rate / optimum) ** 2
        found.append((rate, loss if rate < 8 * optimum else None))
    best = min((loss, rate) for rate, loss in found if loss is not None)[1]
    assert 1 / 2 < best / optimum < 2
