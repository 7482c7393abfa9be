"""How long `tunesmith data check` takes for 50,000 OrgAccess-sized rows, and how much memory.

    python benchmarks/data_check.py --json

The rows are drawn from the real OrgAccess rows where they are to be had (TUNESMITH_SHARED_DATA),
a part of them varied so that most prompts differ; else they are made up in the same size. Each
measurement is a process of its own, from the import on. The other side is what one would type into
a notebook: pandas reads the same file and counts duplicates and contradictions over two columns
(no shapes, no labels repaired, no rendered prompt, no lengths, no findings). `ratio` is our time
over that one; `near_seconds` is our time when half of the file is checked against the other half.
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

ROWS = 50_000
REPEATS = 3
COLUMNS = ("user_role", "permissions", "query", "expected_response", "rationale")
REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=("ours", "pandas", "near"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        print(json.dumps({"data": make(arguments.make, arguments.rows)}))
    elif arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.file)))
    else:
        result = run(arguments.rows)
        print("\n".join(f"{key:>14}  {value}" for key, value in result.items()), file=sys.stderr)
        print(json.dumps(result))


def run(rows: int) -> dict[str, object]:
    """All measurements, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.parquet"
        data = _child("--make", str(file), "--rows", str(rows))["data"]
        sides = {
            side: [_child("--measure", side, "--file", str(file)) for _ in range(REPEATS)]
            for side in ("ours", "pandas", "near")
        }
    seconds = {side: [float(m["seconds"]) for m in found] for side, found in sides.items()}
    middle = {side: statistics.median(found) for side, found in seconds.items()}
    return {
        "ratio": round(middle["ours"] / middle["pandas"], 3),
        "seconds": round(middle["ours"], 3),
        "seconds_spread": [round(min(seconds["ours"]), 3), round(max(seconds["ours"]), 3)],
        "peak_mb": round(max(float(m["peak_mb"]) for m in sides["ours"]), 1),
        "pandas_seconds": round(middle["pandas"], 3),
        "pandas_spread": [round(min(seconds["pandas"]), 3), round(max(seconds["pandas"]), 3)],
        "near_seconds": round(middle["near"], 3),
        "near_peak_mb": round(max(float(m["peak_mb"]) for m in sides["near"]), 1),
        "rows": rows,
        "data": data,
        "found": sides["ours"][0]["found"],
        "versions": _versions(),
    }


def measure(side: str, file: Path) -> dict[str, object]:
    """Seconds from import to result, peak resident memory (10^6 bytes), and what was found."""
    start = time.perf_counter()
    found: dict[str, object]
    if side == "pandas":
        import pandas as pd

        frame = pd.read_parquet(file)
        prompt = ["permissions", "query"]
        groups = frame.groupby(prompt)["expected_response"].nunique()
        found = {
            "duplicates": int(frame.duplicated(prompt).sum()),
            "contradicting": int((groups > 1).sum()),
        }
    else:
        from tunesmith.data.check import check_files

        against = []
        if side == "near":
            file, other = _halves(file)
            against = [other]
            start = time.perf_counter()
        quality = check_files([file], against=against)
        found = {
            "usable": quality.usable,
            "duplicates": quality.duplicate_prompts,
            "contradicting": quality.contradicting_prompts,
            "leaked_exact": quality.leaked_exact,
            "leaked_near": quality.leaked_near,
        }
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return {"seconds": seconds, "peak_mb": peak, "found": found}


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


def _child(*arguments: str) -> dict[str, object]:
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("numpy", "pandas", "pyarrow")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


if __name__ == "__main__":
    main()
