"""The page to learn from runs as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def test_the_minimal_loop_takes_two_steps_and_judges() -> None:
    told = subprocess.run(
        [sys.executable, EXAMPLES / "minimal_loop.py", "2"],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    assert "step 2/2" in told.stdout
    assert "p = " in told.stdout
