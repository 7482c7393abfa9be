"""Hold a run to what it promises: `tunesmith ... --json | python .ci/check.py NAME`.

demo: baseline validity under 5 %, each adapter at least 95 % valid DOT and at least 80 % of graphs
with exactly the right nodes and edges, on at least 200 examples.

orgaccess: the untuned model, the adapter and the cheap baselines stand beside one another, each
difficulty has its own figures, and every primary comparison has its verdict; where that is *no
evidence*, with the smallest difference that could have been shown.

statqa: each adapter is better than the untuned model and expects the gold answers more, and the
curated critical questions and the closed questions have figures of their own.

pairs: the real pairs of anecdot. What is learned is not asked; that the report says it by origin
and by type of graph, with a verdict, is.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any


def demo(told: dict[str, Any]) -> list[str]:
    """What the demo falls short of."""
    metrics = {name: variant["metrics"] for name, variant in told["variants"].items()}
    verdicts = {
        c["b"]: c["verdict"]
        for c in told["comparisons"]
        if (c["a"], c["metric"]) == ("baseline", "exact")
    }
    short = []
    if metrics["baseline"]["valid"]["value"] >= 0.05:
        short.append("the untuned model already writes valid DOT")
    for name in ("lora", "qlora"):
        valid, exact = metrics[name]["valid"], metrics[name]["exact"]
        print(f"{name}: valid {valid['value']:.3f}, exact {exact['value']:.3f}, n {exact['n']}")
        if exact["n"] < 200:
            short.append(f"{name}: fewer than 200 examples")
        if valid["value"] < 0.95:
            short.append(f"{name}: less than 95 % valid")
        if exact["value"] < 0.80:
            short.append(f"{name}: less than 80 % exact")
        if verdicts[name] != "better":
            short.append(f"{name}: the verdict is {verdicts[name]!r}")
    return short


def orgaccess(told: dict[str, Any]) -> list[str]:
    """What the run on the real files falls short of."""
    wanted = {"baseline", "lora", "majority", "lookup", "tfidf"}
    short = [f"no variant {name}" for name in sorted(wanted - set(told["variants"]))]
    rows = rows_of(told, "comparisons")
    for slice_name in ("all", "source=easy", "source=medium"):
        judged = {
            row["a"]: row
            for row in rows
            if (row["slice"], row["b"], row["metric"]) == (slice_name, "lora", "accuracy")
        }
        for other in ("baseline", "majority", "tfidf"):
            row = judged.get(other)
            if row is None:
                short.append(f"{slice_name}: nothing is said of lora against {other}")
                continue
            print(f"{slice_name}: lora against {other}: {row['verdict']}, {row['difference']}")
            if row["verdict"] == "no evidence" and not row["detectable"]:
                short.append(f"{slice_name}, {other}: no detectable difference is named")
    return short


def statqa(told: dict[str, Any]) -> list[str]:
    """What the run on the generated fact base falls short of."""
    metrics = {name: variant["metrics"] for name, variant in told["variants"].items()}
    short = []
    trained = [name for name in ("lora", "qlora") if name in metrics]
    for name in trained:
        accuracy, expected = (
            metrics[name]["accuracy"]["value"],
            metrics[name]["perplexity"]["value"],
        )
        print(f"{name}: accuracy {accuracy:.3f}, perplexity {expected:.2f}")
        verdicts = [
            c["verdict"]
            for c in told["comparisons"]
            if (c["a"], c["b"], c["metric"]) == ("baseline", name, "accuracy")
        ]
        if verdicts != ["better"]:
            short.append(f"{name}: the verdict on accuracy is {verdicts}")
        if expected >= metrics["baseline"]["perplexity"]["value"]:
            short.append(f"{name}: the gold answers are no more expected than before")
    found = {
        (r["variant"], r["slice"]) for r in rows_of(told, "metrics") if r["metric"] == "accuracy"
    }
    for part in ("source=critical", "source=unseen", "kind=closed", "kind=open"):
        short += [f"{name}: no accuracy of {part}" for name in trained if (name, part) not in found]
    return short if trained else ["no adapter was trained"]


def pairs(told: dict[str, Any]) -> list[str]:
    """What the run on the real pairs of anecdot falls short of."""
    parts = {r["slice"].partition("=")[0] for r in rows_of(told, "metrics")}
    wanted = {"origin", "kind", "clusters", "edge_labels"}  # a key of one value makes no slice
    short = [f"no figures by {key}" for key in sorted(wanted - parts)]
    for c in told["comparisons"]:
        if c["a"] == "baseline" and c["metric"] in {"exact", "valid"}:
            print(f"{c['b']} against the baseline, {c['metric']}: {c['verdict']} (n = {c['n']})")
    if not told["comparisons"]:
        short.append("no verdict")
    return short


def rows_of(told: dict[str, Any], table: str) -> list[dict[str, str]]:
    """The rows of one table beside the report."""
    path = Path(told["report"]).parent / "tables" / f"{table}.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


CHECKS = {"demo": demo, "orgaccess": orgaccess, "statqa": statqa, "pairs": pairs}

if __name__ == "__main__":
    found = json.load(sys.stdin)
    problems = CHECKS[sys.argv[1]](found)
    print(f"{found['seconds']:.0f} s, {found['report']}")
    sys.exit("; ".join(problems) if problems else 0)
