"""Hold a run to what it promises: `tunesmith ... --json | python .ci/check.py demo|orgaccess`.

demo: baseline validity under 5 %, each adapter at least 95 % valid DOT and at least 80 % of graphs
with exactly the right nodes and edges, on at least 200 examples.

orgaccess: the untuned model, the adapter and the cheap baselines stand beside one another, each
difficulty has its own figures, and every primary comparison has its verdict; where that is *no
evidence*, with the smallest difference that could have been shown.
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
    table = Path(told["report"]).parent / "tables" / "comparisons.csv"
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
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


if __name__ == "__main__":
    found = json.load(sys.stdin)
    problems = {"demo": demo, "orgaccess": orgaccess}[sys.argv[1]](found)
    print(f"{found['seconds']:.0f} s, {found['report']}")
    sys.exit("; ".join(problems) if problems else 0)
