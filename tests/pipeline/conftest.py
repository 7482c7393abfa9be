"""One small real run, shared by the tests that look at it from different sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from small_runs import SMALL, Ear
from tunesmith.config import load_recipe
from tunesmith.pipeline import Finished, run_recipe


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def small_run(home: Path) -> tuple[Finished, Ear]:
    """`anecdot` on nano, with three steps of LoRA and of QLoRA."""
    ear = Ear()
    return run_recipe(load_recipe("anecdot", sets=SMALL), home=home, listener=ear), ear
