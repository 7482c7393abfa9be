"""Where the store, the runs and the artefacts live when nobody says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT = "TUNESMITH_HOME"
STORE_ENVIRONMENT = "TUNESMITH_STORE"


def home_of(chosen: Path | None) -> Path:
    """The folder chosen, `TUNESMITH_HOME`, or the user's data folder for Tunesmith; absolute.

    It may not exist yet. Places are written into the store, and must be found from anywhere.
    """
    told = chosen or os.environ.get(ENVIRONMENT)
    if told:
        return Path(told).expanduser().resolve()
    from platformdirs import user_data_path

    return user_data_path("tunesmith")


def store_of(home: Path) -> str | Path:
    """Where the store of `home` is: the SQLAlchemy URL in `TUNESMITH_STORE`, or `home` itself."""
    return os.environ.get(STORE_ENVIRONMENT) or home
