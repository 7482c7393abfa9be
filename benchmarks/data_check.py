"""How long `tunesmith data check` takes for 50,000 OrgAccess-sized rows, and how much memory.

    python benchmarks/data_check.py --json

The rows are drawn from the real OrgAccess rows where they are to be had (TUNESMITH_SHARED_DATA),
a part of them varied so that most prompts differ; else they are made up in the same size. Each
measurement is a process of its own, from the import on. The other side is what one would type into
a notebook: pandas reads the same file, repairs the label by a table, and counts labels, duplicates
and contradictions over two columns (no rendered prompt, no lengths, no places, no findings).

`ratio` is our CPU time over that one's, so that what else the machine does has little say; wall
time (`seconds`) stands beside it, with the load average. `near_*` are the figures where one half of
the rows is checked against the other half, exact and near prompts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROWS = 50_000
REPEATS = 3
SIDES = ("ours", "pandas", "near")
COLUMNS = ("user_role", "permissions", "query", "expected_response", "rationale")
REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        print(json.dumps({"data": make(arguments.make, arguments.rows)}))
    elif arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.file)))
    else:
        result = run(arguments.rows)
        if not arguments.json:
            print("\n".join(f"{key:>26}  {value}" for key, value in result.items()))
            return
        print(json.dumps(result))


def run(rows: int) -> dict[str, object]:
    """All measurements, each in a process of its own, the sides taking turns."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.parquet"
        data = _child("--make", str(file), "--rows", str(rows))["data"]
        sides: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for _ in range(REPEATS):
            for side, runs in sides.items():
                runs.append(_child("--measure", side, "--file", str(file)))
    figures = {side: _figures(runs) for side, runs in sides.items()}
    ours, other, near = (figures[side] for side in SIDES)
    return {
        "ratio": round(ours["cpu_seconds"] / other["cpu_seconds"], 3),
        "rows_per_second": round(rows / ours["seconds"]),
        "rows_per_cpu_second": round(rows / ours["cpu_seconds"]),
        **ours,
        **{f"pandas_{name}": value for name, value in other.items()},
        **{f"near_{name}": value for name, value in near.items()},
        "rows": rows,
        "data": data,
        "found": {side: runs[0]["found"] for side, runs in sides.items()},
        "machine": {"cores": os.cpu_count(), "load": [round(x, 1) for x in os.getloadavg()]},
        "revision": _revision(),
        "versions": _versions(),
    }


def _figures(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of CPU and wall time with their spread, and the largest peak."""
    figures: dict[str, Any] = {}
    for name in ("seconds", "cpu_seconds"):
        found = sorted(run[name] for run in runs)
        figures[name] = round(statistics.median(found), 3)
        figures[f"{name}_spread"] = [round(found[0], 3), round(found[-1], 3)]
    figures["peak_mb"] = round(max(run["peak_mb"] for run in runs), 1)
    return figures


def measure(side: str, file: Path) -> dict[str, object]:
    """Seconds from import to result, peak resident memory (10^6 bytes), and what was found."""
    parts = _halves(file) if side == "near" else (file,)
    start, cpu = time.perf_counter(), time.process_time()
    found = _pandas(file) if side == "pandas" else _ours(*parts)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak, "found": found}


def _ours(file: Path, *against: Path) -> dict[str, object]:
    from tunesmith.data.check import check_files

    quality = check_files([file], against=against)
    return {
        "usable": quality.usable,
        "duplicates": quality.duplicate_prompts,
        "contradicting": quality.contradicting_prompts,
        "leaked_exact": quality.leaked_exact,
        "leaked_near": quality.leaked_near,
    }


def _pandas(file: Path) -> dict[str, object]:
    import pandas as pd

    frame = pd.read_parquet(file)
    label = frame["expected_response"].replace("reject", "rejected")
    frame["label"] = label.where(label.isin(["full", "partial", "rejected"]))
    prompt = ["permissions", "query"]
    return {
        "usable": int(frame["label"].value_counts().sum()),
        "duplicates": int(frame.duplicated(prompt).sum()),
        "contradicting": int((frame.groupby(prompt)["label"].nunique() > 1).sum()),
    }


def make(file: Path, rows: int) -> str:
    """Write the rows; says whether they are real ones."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = random.Random(20_250)
    home = Path(os.environ.get("TUNESMITH_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    parts = [home / "orgaccess" / f"{name}.parquet" for name in ("easy", "medium")]
    tables = [pq.read_table(part, columns=list(COLUMNS)) for part in parts if part.is_file()]
    real = [row for table in tables for row in table.to_pylist()]
    chosen = real[:rows]
    while len(chosen) < rows:
        row = dict(draw.choice(real)) if real else _made_up(draw)
        row["query"] = f"{row['query']} Refer to case {draw.randrange(10**6)}."
        chosen.append(row)
    pq.write_table(pa.Table.from_pylist(chosen), file)
    return "orgaccess" if real else "made up"


def _made_up(draw: random.Random) -> dict[str, str]:
    def words(count: int) -> str:
        return " ".join("".join(draw.choices("abcdefghiklmnoprstu", k=6)) for _ in range(count))

    return {
        "user_role": words(2),
        "permissions": json.dumps({"department": [words(1)], "allowed_actions": [words(8)]}),
        "query": words(14),
        "expected_response": draw.choice(("full", "partial", "rejected")),
        "rationale": words(25),
    }


def _halves(file: Path) -> tuple[Path, Path]:
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    half = table.num_rows // 2
    parts = file.with_name("first.parquet"), file.with_name("second.parquet")
    pq.write_table(table.slice(0, half), parts[0])
    pq.write_table(table.slice(half), parts[1])
    return parts


def _child(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _revision() -> str:
    """The commit, with a + where the tree differs from it; "" outside a repository."""
    git = ["git", "-C", str(REPOSITORY)]
    done = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True, check=False)
    return done.stdout.strip() + ("+" if changed.returncode == 1 else "")


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("numpy", "pandas", "pyarrow")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


if __name__ == "__main__":
    main()
