"""The base that a process keeps between its runs, so that sessions, seeds and sweeps load it once.

A run takes it, puts adapters on, takes them off again, and gives it back: while one has it nobody
else gets it. It is kept bare; frozen adapters of earlier sessions are put on by each run. At most
one is kept, until `release`. What a run that failed has left of a base is not given back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from tunesmith.models.adapters import bare
from tunesmith.models.load import Loaded


class Resident:
    """Room for one base, by a key that holds all that decides it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[str, Loaded] | None = None

    def take(self, key: str, make: Callable[[], Loaded]) -> Loaded:
        """The base of that key, kept or made now; another one is let go of first."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is not None and kept[0] == key:
            return kept[1]
        del kept
        return make()

    def give_back(self, key: str, loaded: Loaded) -> None:
        """Keep a base for whoever takes it next, without any adapter, in place of what was kept."""
        loaded = bare(loaded)
        with self._lock:
            self._kept = (key, loaded)

    def release(self) -> None:
        """Let go of what is kept; what a run has just now is its own."""
        with self._lock:
            self._kept = None


RESIDENT = Resident()  # of this process
