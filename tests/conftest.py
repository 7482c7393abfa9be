"""Fixtures that the whole suite shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: see docs/pitfalls.md
# A shared machine may stall for a second at any time: no example is late.
settings.register_profile("patient", deadline=None, print_blob=True)
settings.load_profile("patient")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; CI has it, and a test that needs it skips by name elsewhere."""
    folder = Path(
        os.environ.get("TUNESMITH_SHARED_DATA", REPOSITORY.parent / "shared" / "data")
    ).resolve()
    if not folder.is_dir():
        pytest.skip(f"the real data is not here: {folder} (set TUNESMITH_SHARED_DATA)")
    return folder
