"""Where the store, the runs and the artefacts live when nobody says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT = "TUNESMITH_HOME"
STORE_ENVIRONMENT = "TUNESMITH_STORE"


def default_home() -> Path:
    """`TUNESMITH_HOME`, or the user's data folder for Tunesmith; the folder may not exist yet."""
    chosen = os.environ.get(ENVIRONMENT)
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_data_path

    return user_data_path("tunesmith")


def store_of(home: Path) -> str | Path:
    """Where the store of `home` is: the SQLAlchemy URL in `TUNESMITH_STORE`, or `home` itself."""
    return os.environ.get(STORE_ENVIRONMENT) or home
