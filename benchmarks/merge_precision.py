"""What is left of a small update when it is merged into weights of few bits, once and in a chain.

    python benchmarks/merge_precision.py --json

A matrix W (Gaussian, 1024 x 1024, standard deviation 0.02; and the linear layers of nano) lies on
the grid of a format. Each session adds an update of LoRA's shape, D_i = B A of rank 16, independent
of the others, |D_i| = size |W| (Frobenius), and stores the sum in the format again. Of D = sum D_i
the stored weights hold K = stored - W. Per format, size and number of sessions:

    lost       1 - <D, K> / <D, D>: the share of the update that is gone (1: nothing was learned)
    missing    |D - K| / |D|: what is wrong in all, the lost share and rounding noise together
    unchanged  share of weights that are bit for bit what they were

`nf4` is requantised after each session (bitsandbytes, blocks of 64, scales in 8 bits).
`bfloat16 at the end` keeps the chain in float32 and rounds once. `adapters in ...` leaves W alone
and keeps the updates as one adapter [B_1, B_2, ...] [A_1; A_2; ...] in that format. `ratio` is
missing in float32 over missing in bfloat16, one session of 1e-3.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from torch import Tensor

SIZES, SESSIONS, SEEDS, RANK = (1e-2, 1e-3, 1e-4), (1, 3, 10), 3, 16
WIDTH, DEVIATION = 1024, 0.02
FIGURES = ("lost", "missing", "unchanged")


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    result = run()
    if parser.parse_args().json:
        print(json.dumps(result))
    else:
        for row in result["rows"]:  # type: ignore[attr-defined]
            print("  ".join(f"{key} {value}" for key, value in row.items()))


def run() -> dict[str, object]:
    """Every format on both kinds of weights; medians over seeds, or over the layers of nano."""
    begun = time.perf_counter()
    rows = []
    for kind, many in (("gaussian", gaussian()), ("nano", nano())):
        for size in SIZES:
            for sessions in SESSIONS:
                found = [chain(W, size, sessions, seed) for seed, W in enumerate(many)]
                rows += [
                    {"weights": kind, "size": size, "sessions": sessions, "format": name}
                    | _summary([each[name] for each in found])
                    for name in found[0]
                ]
    first = {row["format"]: row for row in rows if (row["size"], row["sessions"]) == (1e-3, 1)}
    return {
        "ratio": first["float32"]["missing"] / first["bfloat16"]["missing"],
        "rows": rows,
        "rank": RANK,
        "seeds": SEEDS,
        "seconds": round(time.perf_counter() - begun, 1),
        "machine": {"cores": os.cpu_count(), "load": [round(x, 1) for x in os.getloadavg()]},
        "versions": {name: version(name) for name in ("torch", "bitsandbytes")},
    }


def gaussian() -> list[Tensor]:
    """Weights as an initialisation draws them, one matrix for each seed."""
    draws = [torch.Generator().manual_seed(seed) for seed in range(SEEDS)]
    return [torch.randn(WIDTH, WIDTH, generator=draw) * DEVIATION for draw in draws]


def nano() -> list[Tensor]:
    """The linear layers of the embedded base, trained weights published in bfloat16."""
    from safetensors.torch import load_file

    from tunesmith.models import nano as embedded

    tensors = load_file(embedded.path() / "model.safetensors")
    return [t.float() for name, t in sorted(tensors.items()) if "proj" in name]


def updates(W: Tensor, size: float, sessions: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """(B, A) of each session, scaled so that |B A| = size |W|."""
    draw = torch.Generator().manual_seed(1000 + seed)
    pairs = []
    for _ in range(sessions):
        B = torch.randn(W.shape[0], RANK, generator=draw)
        A = torch.randn(RANK, W.shape[1], generator=draw)
        pairs.append((B * (size * W.norm() / (B @ A).norm()), A))
    return pairs


def chain(W: Tensor, size: float, sessions: int, seed: int) -> dict[str, dict[str, float]]:
    """The figures of every format after a chain of sessions. Sums are compared in float64."""
    pairs = updates(W, size, sessions, seed)
    exact = sum((B.double() @ A.double() for B, A in pairs), torch.zeros_like(W).double())
    found = {}
    for name, store in FORMATS.items():
        start = store(W)
        stored = start
        for B, A in pairs:
            stored = store(stored + B @ A)
        found[name] = figures(exact, start, stored)
    start = rounded(torch.bfloat16)(W)
    ended = start
    for B, A in pairs:
        ended = ended + B @ A
    found["bfloat16 at the end"] = figures(exact, start, rounded(torch.bfloat16)(ended))
    for dtype in (torch.float32, torch.bfloat16):
        wide = torch.cat([B for B, _ in pairs], dim=1).to(dtype).double()
        tall = torch.cat([A for _, A in pairs]).to(dtype).double()
        nothing = torch.zeros_like(exact)
        found[f"adapters in {str(dtype)[6:]}"] = figures(exact, nothing, wide @ tall)
    return found


def figures(exact: Tensor, start: Tensor, stored: Tensor) -> dict[str, float]:
    """lost, missing, unchanged, as the head of this file defines them."""
    kept = stored.double() - start.double()
    return {
        "lost": float(1 - (exact * kept).sum() / exact.square().sum()),
        "missing": float((exact - kept).norm() / exact.norm()),
        "unchanged": float((stored == start).double().mean()),
    }


def rounded(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """To a floating type and back, to nearest."""
    return lambda W: W.to(dtype).float()


def nf4(W: Tensor) -> Tensor:
    """To NF4 and back, as a QLoRA base is stored (arXiv 2305.14314, section 3)."""
    return dequantize_4bit(
        *quantize_4bit(W.contiguous(), quant_type="nf4", compress_statistics=True)
    )


FORMATS: dict[str, Callable[[Tensor], Tensor]] = {
    "float32": rounded(torch.float32),
    "float16": rounded(torch.float16),
    "bfloat16": rounded(torch.bfloat16),
    "nf4": nf4,
}


def _summary(found: list[dict[str, float]]) -> dict[str, object]:
    middle = {key: float(f"{statistics.median(f[key] for f in found):.4g}") for key in FIGURES}
    lost = [f["lost"] for f in found]
    return middle | {"lost_spread": [float(f"{x:.4g}") for x in (min(lost), max(lost))]}


if __name__ == "__main__":
    main()
