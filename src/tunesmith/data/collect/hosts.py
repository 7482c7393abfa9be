"""When each host may be asked again: known to every process that shares a cache.

A host has a lock and a time in a folder. Whoever asks holds the lock from the wait to the end of
the answer, so that a host sees one connection at a time, and its pauses outlive the process.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from tunesmith.errors import CollectError
from tunesmith.store.whole import whole_file


class Hosts:
    """Hosts by name (an address, and whether with a key: each has its own quota) and by `folder`.

    The times are those of the wall clock, for they are meant to hold after a restart.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._locks: dict[str, FileLock] = {}

    @contextmanager
    def turn(self, host: str, longest: float) -> Iterator[None]:
        """Wait until this host may be asked, and keep others from it until the block ends.

        Raises CollectError where the wait is over `longest` seconds.
        """
        with self._lock(host):
            left = self._until(host) - time.time()
            if left > longest:
                raise too_long(host, left, longest)
            if left > 0:
                time.sleep(left)
            yield

    def pause(self, host: str, seconds: float) -> None:
        """Leave a host alone for so many seconds from now, or longer where that was said before."""
        until = time.time() + seconds
        with self._lock(host):
            if seconds > 0 and until > self._until(host):
                with whole_file(self._file(host)) as file:
                    file.write(f"{until:.3f}\n")

    def _until(self, host: str) -> float:
        file = self._file(host)
        return float(file.read_text("utf-8")) if file.is_file() else 0.0

    def _lock(self, host: str) -> FileLock:
        return self._locks.setdefault(host, FileLock(f"{self._file(host)}.lock"))

    def _file(self, host: str) -> Path:
        return self._folder / re.sub(r"[^\w.-]", "_", host)


def too_long(host: str, seconds: float, longest: float) -> CollectError:
    """A host that wants to be left alone for longer than anybody will wait."""
    return CollectError(
        f"{host}: asks to be left alone for {_duration(seconds)}, longer than longest_wait_s "
        f"({longest:g} s).",
        hint=f"Run the same command again in {_duration(seconds)}.",
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
