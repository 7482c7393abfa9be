"""A filled store as a run of a recipe leaves it, written through the store's own functions."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

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
from tunesmith.report.drawing import draw_dot
from tunesmith.report.page import render
from tunesmith.store.nouns import Dataset, GoldCheck, Provenance, StageArtefact, Status, Variant
from tunesmith.store.store import Store

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LABELS = ("full", "partial", "rejected")
SYSTEM = (
    "You decide whether a request may be granted. Answer with one word: full, partial or "
    "rejected, and then give your reason in one sentence."
)
ASKS = (
    "May I read the salary bands of my own department?",
    "Please give me write access to the payroll archive of 2024.",
    "I need the on-call rota and the pager numbers for this week.",
    "Can I export the customer list <b>with</b> e-mail addresses?",
    "Show me the audit trail of my own badge & keys.",
    "I want to change the firewall rules of the plant in Graz.",
)
# Of twelve examples: who answers which rightly. `?` is an answer that cannot be read.
ANSWERS = {
    "baseline": "?x?xx?x?xx.x",
    "majority": ".xx.xx.xx.xx",
    "tf-idf": ".x...x.xx.x.",
    "qlora": "...x......x.",
    "grit": "?.xx?xxx.xx.",
}


@dataclass(frozen=True)
class Filled:
    """The store and the run in it."""

    store: Store
    run_id: str


def examples() -> list[Example]:
    """Twelve requests, two for each way of asking."""
    return [
        Example(
            messages=(
                Message("system", SYSTEM),
                Message(
                    "user", f"Role: analyst {i}\nPermissions: read:reports\n\n{ASKS[i % len(ASKS)]}"
                ),
            ),
            target=f"{LABELS[i % 3]}\nThe role may {'do' if i % 3 == 0 else 'not do'} all of it.",
            label=LABELS[i % 3],
            meta={"difficulty": "easy" if i < 6 else "hard"},
            place=f"{'easy' if i < 6 else 'hard'}.jsonl:{i + 1}",
        )
        for i in range(12)
    ]


def answers(variant: str, test: Sequence[Example]) -> list[Answer]:
    """What a variant said to each of them."""
    made = []
    for i, (example, mark) in enumerate(zip(test, ANSWERS[variant], strict=True)):
        right = mark == "."
        if mark == "?":
            text = "Sure! Here is a table of all permissions <script>alert(1)</script>\n| a | b |"
            made.append(
                Answer(example.id, text, Outcome.UNPARSED, None, {"accuracy": 0.0}, 0.4, 60)
            )
            continue
        label = example.label if right else LABELS[(i + 1) % 3]
        text = f"{label}\nThe permissions named in the request {'allow' if right else 'forbid'} it."
        scores = {"accuracy": float(right)}
        made.append(Answer(example.id, text, Outcome.SCORED, label, scores, 0.2, 18))
    return made


def metrics(test: Sequence[Example]) -> list[Metric]:
    """Accuracy of everybody, on all rows, by difficulty, and without twins; macro F1 on all."""
    found = []
    for variant in ANSWERS:
        hits = [answer.scores["accuracy"] for answer in answers(variant, test)]
        parts = {
            "all": hits,
            "difficulty=easy": hits[:6],
            "difficulty=hard": hits[6:],
            "without twins": hits[1:],
        }
        for name, values in parts.items():
            p, n = sum(values) / len(values), len(values)
            half = 1.96 * math.sqrt((p * (1 - p) + 0.05) / n)
            ci = (max(0.0, p - half), min(1.0, p + half))
            found.append(Metric(variant, "accuracy", name, Estimate(p, n, ci)))
        p = sum(hits) / len(hits) * 0.96
        found.append(Metric(variant, "macro_f1", "all", Estimate(p, 12, (p - 0.2 * p, p + 0.1))))
    return found


def comparisons() -> list[Comparison]:
    """What comparing said of them: one of each verdict."""
    return [
        Comparison(
            "accuracy", "baseline", "qlora", "all", 12, 1 / 12, 10 / 12, 9 / 12, (0.38, 0.88),
            "McNemar exact", 0.0039, 0.0117, 19.0, "odds ratio", Verdict.BETTER,
            discordant=(1, 10), primary=True,
            caveats=("1 of 12 test prompts also stands in training.", "Only 12 test examples."),
        ),
        Comparison(
            "accuracy", "baseline", "grit", "all", 12, 1 / 12, 3 / 12, 2 / 12, (-0.11, 0.42),
            "McNemar exact", 0.625, 1.0, 3.0, "odds ratio", Verdict.NO_EVIDENCE,
            detectable=0.41, needed=87, discordant=(1, 3), primary=True,
        ),
        Comparison(
            "accuracy", "baseline", "majority", "all", 12, 1 / 12, 4 / 12, 3 / 12, (-0.1, 0.52),
            "McNemar exact", 0.375, 0.75, 4.0, "odds ratio", Verdict.NO_EVIDENCE,
            detectable=0.44, needed=64, discordant=(1, 4), primary=True,
        ),
        Comparison(
            "accuracy", "qlora", "grit", "all", 12, 10 / 12, 3 / 12, -7 / 12, (-0.8, -0.18),
            "McNemar exact", 0.016, 0.047, 0.07, "odds ratio", Verdict.WORSE,
            discordant=(7, 0), primary=True,
        ),
        Comparison(
            "macro_f1", "baseline", "qlora", "all", 12, 0.08, 0.8, 0.72, (0.3, 0.9),
            "permutation", 0.002, 0.01, 0.72, "difference", Verdict.BETTER,
        ),
        Comparison(
            "macro_f1", "qlora", "grit", "all", 12, 0.8, 0.72, -0.08, (-0.11, -0.02),
            "permutation", 0.01, 0.03, -0.08, "difference", Verdict.WORSE,
        ),
        Comparison(
            "macro_f1", "majority", "tf-idf", "all", 12, 0.32, 0.34, 0.02, (-0.01, 0.03),
            "permutation", 0.8, 1.0, 0.02, "difference", Verdict.EQUIVALENT,
        ),
    ]  # fmt: skip


def plan(rank: int) -> Plan:
    """A plan with a choice from every source."""
    return Plan(
        choices=(
            Choice("learning_rate", 2e-4, "a low rank wants ten times full tuning's rate", "rule"),
            Choice(
                "rank", rank, "few examples: a small adapter cannot learn them by heart", "rule"
            ),
            Choice("target_modules", ["q_proj", "v_proj"], "the recipe asks for them", "recipe"),
            Choice("epochs", 3, "given on the command line", "set"),
            Choice("packing", False, "answers are short, and packing mixes them", "default"),
        ),
        steps=60,
        memory_bytes=1_300_000_000,
        seconds=95.0,
        cost_usd=0.04,
        fits=True,
    )


def dataset() -> Dataset:
    """A data set with findings of every severity."""
    findings = (
        Finding("repaired_labels", Severity.INFO, "14 labels were spelled otherwise.", 14),
        Finding(
            "leaked_rows",
            Severity.WARNING,
            "1 test prompt also stands in training.",
            1,
            ("easy.jsonl:1",),
            "Scores are shown without it too.",
        ),
        Finding("contradicting_prompts", Severity.ERROR, "2 prompts have two answers.", 2),
    )
    quality = Quality(
        rows=412, usable=400, rejected=12, labels={"full": 160, "partial": 120, "rejected": 120},
        repaired_labels={"Full Access": 9, "reject": 5}, unknown_labels={},
        duplicate_prompts=7, contradicting_prompts=2, leaked_exact=1, leaked_near=0,
        tokens={"median": 84, "p99": 311, "max": 402}, findings=findings,
    )  # fmt: skip
    rejects = tuple(Reject(f"train.jsonl:{i * 7 + 1}", "no answer", {"q": "?"}) for i in range(12))
    splits = {"train": 350, "validation": 38, "test": 12}
    return Dataset("requests", "9f" * 32, splits, quality, rejects)


def steps(offset: float) -> list[TrainingStep]:
    """Sixty steps of a loss that falls, with a validation every twenty."""
    return [
        TrainingStep(
            i, i / 20, offset + 2.4 * math.exp(-i / 14) + 0.06 * math.sin(i * 2.1), 2e-4, 0.8,
            4096, 1200, 1.5, 1_200_000_000, offset + 0.5 - i / 200 if i % 20 == 0 else None,
        )
        for i in range(1, 61)
    ]  # fmt: skip


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """A store with one finished run: three trained or untuned variants, two cheap baselines."""
    home = tmp_path_factory.mktemp("home")
    with Store.open(home) as store:
        run = store.start_run(
            "orgaccess",
            runs=home / "runs",
            recipe_text="name: orgaccess\nmodel:\n  name: nano\n",
            resolved={"model": {"name": "nano"}},
            provenance=Provenance(
                command="tunesmith run orgaccess --seed 7",
                git_revision="3c1f9ab27d0e",
                git_dirty=True,
                versions={"tunesmith": "0.1.0", "torch": "2.13.0", "peft": "0.21.2"},
                hardware={"cpu": "2 cores, AVX2", "memory": "8 GB", "gpu": None},
                seed=7,
            ),
        )
        test = examples()
        store.record_dataset(run.id, dataset())
        store.record_examples(run.id, test, twins=[test[0].id])
        descriptions = {
            "baseline": ("untuned", "nano as it comes"),
            "majority": ("cheap", "always the most common label"),
            "tf-idf": ("cheap", "TF-IDF and logistic regression"),
            "qlora": ("trained", ""),
            "grit": ("trained", ""),
        }
        for name, (kind, text) in descriptions.items():
            store.record_variant(run.id, Variant(name, kind, text))  # type: ignore[arg-type]
            store.record_answers(run.id, name, answers(name, test))
        for name, offset in (("qlora", 0.31), ("grit", 0.38)):
            store.record_plan(run.id, name, plan(16 if name == "qlora" else 8))
            store.record_training_steps(run.id, name, steps(offset))
            store.record_adapter(
                run.id,
                Adapter(
                    name, name, run.directory / name, "nano", 196_608, 812_000, 93.4,
                    1_180_000_000, 245_760, 60, offset + 0.03, 0.92,
                ),
            )  # fmt: skip
        store.record_metrics(run.id, metrics(test))
        store.record_comparisons(run.id, comparisons())
        store.record_gold_checks(
            run.id, [GoldCheck("accuracy", 12, 1.0), GoldCheck("macro_f1", 12, 1.0)]
        )
        for stage in ("clean", "split", "train", "evaluate"):
            place = home / "artefacts" / stage
            store.record_artefact(run.id, StageArtefact(stage, stage[0] * 64, place, {}, False))
        store.finish_run(run.id, Status.DONE)
        yield Filled(store, run.id)


@pytest.fixture(scope="session")
def report(filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the filled store, with graphs drawn."""
    return render(
        filled.store,
        filled.run_id,
        tmp_path_factory.mktemp("report") / "deep" / "report.html",
        sentence=lambda said: f"{said.b} is <said> to be {said.verdict} against {said.a}.",
        draw=lambda text: draw_dot("digraph { a -> b }") if "do all" in text else None,
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, kept from talking to anybody."""
    if CHROMIUM is None:
        pytest.skip("no browser here: Debian has it as the package chromium")
    quiet = ("no-sandbox", "disable-gpu", "disable-background-networking", "disable-sync")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[f"--{name}" for name in quiet]
        )
        yield started
        started.close()
