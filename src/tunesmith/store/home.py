"""Where the store, the runs and the artefacts live when nobody says `--home`."""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT = "TUNESMITH_HOME"


def default_home() -> Path:
    """`TUNESMITH_HOME`, or the user's data folder for Tunesmith; the folder may not exist yet."""
    chosen = os.environ.get(ENVIRONMENT)
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_data_path

    return user_data_path("tunesmith")
