"""Near-duplicates within 100,000 prompts: ours against rensa and datasketch.

    python benchmarks/near_duplicates.py --json

The rows are prompts of OrgAccess where they are to be had (TUNESMITH_SHARED_DATA), enlarged by
copies in which words were exchanged; else they are made up. Each side is a process of its own that
reads the same texts, normalises them alike, cuts the same 5-character shingles, keeps 64 hashes in
16 bands, and says for each row whether an earlier one that was kept is like it. `datasketch` is
asked about the first `--slow-rows` rows only, and ours is timed on these, too.

`ratio` is our CPU time over rensa's. `recall` and `precision` are over rows drawn at random whose
similarity to all earlier rows was computed exactly (Jaccard 0.8 of all shingles). Ours leaves out
shingles that stand in a quarter of all rows, which is meant: `flagged` tells how much that is.
Needs `pip install rensa datasketch`, which Tunesmith itself does not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROWS, SLOW_ROWS, DRAWN = 100_000, 10_000, 120
HASHES, BANDS, THRESHOLD = 64, 16, 0.8
REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--slow-rows", type=int, default=SLOW_ROWS)
    parser.add_argument("--measure", choices=tuple(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.file, arguments.rows)))
        return
    result = run(arguments.rows, min(arguments.rows, arguments.slow_rows))
    if arguments.json:
        print(json.dumps(result))
    else:
        print("\n".join(f"{key:>26}  {value}" for key, value in result.items()))


def run(rows: int, slow: int) -> dict[str, object]:
    """Each side in a process of its own, and an exact judge of some rows."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.json"
        texts, data = make(rows)
        file.write_text(json.dumps(texts), "utf-8")
        sides = {
            name: _child(side, file, count)
            for name, side, count in (
                ("ours", "ours", rows),
                ("rensa", "rensa", rows),
                ("ours_slow", "ours", slow),
                ("datasketch", "datasketch", slow),
            )
        }
    truth = exact(texts, random.Random(5).sample(range(rows), min(DRAWN, rows)))
    flags = {name: side.pop("flags") for name, side in sides.items()}
    return {
        "ratio": round(sides["ours"]["cpu_seconds"] / sides["rensa"]["cpu_seconds"], 3),
        "ratio_datasketch": round(
            sides["ours_slow"]["cpu_seconds"] / sides["datasketch"]["cpu_seconds"], 3
        ),
        **sides,
        "quality": {n: _judged(flags[n], truth) for n in ("ours", "rensa")},
        "agreement": {
            "rensa": _agreement(flags["ours"], flags["rensa"]),
            "datasketch": _agreement(flags["ours_slow"], flags["datasketch"]),
        },
        "rows": rows,
        "slow_rows": slow,
        "data": data,
        "machine": {"cores": os.cpu_count(), "load": [round(x, 1) for x in os.getloadavg()]},
        "versions": {n: _version(n) for n in ("numpy", "rensa", "datasketch")},
    }


def make(rows: int) -> tuple[list[str], str]:
    """Texts in the length and likeness of real prompts; and whether they are real ones."""
    draw = random.Random(20_250)
    home = Path(os.environ.get("TUNESMITH_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    files = [f for n in ("easy", "medium") if (f := home / "orgaccess" / f"{n}.parquet").is_file()]
    texts: list[str] = []
    if files:
        import pyarrow.parquet as pq

        for file in files:
            table = pq.read_table(file, columns=["permissions", "query"]).to_pylist()
            texts += [f"{row['permissions']}\n{row['query']}" for row in table]
    else:
        words = ["".join(draw.choices("abcdefghijklmnoprstu", k=6)) for _ in range(3000)]
        texts = [" ".join(draw.choices(words, k=50)) for _ in range(min(rows, 30_000))]
    texts = texts[:rows]
    known = len(texts)
    while len(texts) < rows:
        parts = texts[draw.randrange(known)].split(" ")
        for _ in range(draw.randrange(max(1, len(parts) // 4))):
            parts[draw.randrange(len(parts))] = "".join(draw.choices("abcdefghijklmnop", k=6))
        texts.append(" ".join(parts))
    return texts, "orgaccess" if files else "made up"


def measure(side: str, file: Path, rows: int) -> dict[str, object]:
    """Seconds from the texts to the flags, and the peak of memory, of which the texts are part."""
    texts = json.loads(file.read_text("utf-8"))[:rows]
    before = _peak()
    start, cpu = time.perf_counter(), time.process_time()
    flags = SIDES[side](texts)
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_mb": _peak(),
        "texts_mb": before,
        "flagged": sum(flags),
        "flags": "".join("01"[flag] for flag in flags),
    }


def _ours(texts: list[str]) -> list[bool]:
    from tunesmith.data.near import clusters

    return [lead != i for i, lead in enumerate(clusters(texts))]


def _shingles(text: str) -> set[str]:
    from tunesmith.data.near import normalised

    plain = normalised(text).ljust(5)
    return {plain[i : i + 5] for i in range(len(plain) - 4)}


def _rensa(texts: list[str]) -> list[bool]:
    from rensa import RMinHashDeduplicator

    found = RMinHashDeduplicator(THRESHOLD, HASHES, True, BANDS)
    flags: list[bool] = []
    for start in range(0, len(texts), 2000):
        part = enumerate(texts[start : start + 2000], start)
        kept = found.add_pairs([(str(i), list(_shingles(text))) for i, text in part])
        flags += [not keep for keep in kept]
    return flags


def _datasketch(texts: list[str]) -> list[bool]:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=HASHES, params=(BANDS, HASHES // BANDS))
    kept: dict[str, Any] = {}
    flags = []
    for i, text in enumerate(texts):
        sketch = MinHash(num_perm=HASHES, seed=1)
        sketch.update_batch([s.encode() for s in _shingles(text)])
        near = [key for key in index.query(sketch) if kept[key].jaccard(sketch) >= THRESHOLD]
        flags.append(bool(near))
        if not near:
            kept[str(i)] = sketch
            index.insert(str(i), sketch)
    return flags


SIDES = {"ours": _ours, "rensa": _rensa, "datasketch": _datasketch}


def exact(texts: list[str], rows: list[int]) -> dict[int, float]:
    """The greatest Jaccard similarity of some rows to any earlier row, over all shingles."""
    import numpy as np
    from scipy.sparse import csr_matrix

    known: dict[str, int] = {}
    for row in rows:
        for shingle in _shingles(texts[row]):
            known.setdefault(shingle, len(known))
    indices: list[int] = []
    edges, sizes = [0], []
    for text in texts:
        cut = _shingles(text)
        indices += [known[s] for s in cut if s in known]
        edges.append(len(indices))
        sizes.append(len(cut))
    ones = np.ones(len(indices), dtype=np.float32)
    every = csr_matrix((ones, indices, edges), shape=(len(texts), len(known)))
    lengths = np.array(sizes, dtype=np.float64)
    best: dict[int, float] = {}
    for row in rows:
        shared = (every[:row] @ every[row].T).toarray().ravel()
        alike = shared / (lengths[:row] + lengths[row] - shared)
        best[row] = float(alike.max()) if row else 0.0
    return best


def _judged(flags: str, truth: dict[int, float]) -> dict[str, float]:
    right = sum(flags[row] == "1" and like >= THRESHOLD for row, like in truth.items())
    said = sum(flags[row] == "1" for row in truth)
    there = sum(like >= THRESHOLD for like in truth.values())
    return {
        "recall": round(right / there, 3) if there else 1.0,
        "precision": round(right / said, 3) if said else 1.0,
        "true_pairs": there,
        "drawn": len(truth),
    }


def _agreement(ours: str, other: str) -> float:
    return round(sum(a == b for a, b in zip(ours, other, strict=True)) / len(ours), 4)


def _peak() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def _child(side: str, file: Path, rows: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", side, "--file", str(file)]
    done = subprocess.run(
        [*command, "--rows", str(rows)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main()
