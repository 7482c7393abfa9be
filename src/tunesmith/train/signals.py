"""Ctrl-C and a polite kill, turned into a question that the loop asks where it can stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StoppedError(Exception):
    """Somebody asked to stop in the middle of a step; nothing of it is kept."""


class StopSignals:
    """Whether somebody asked to stop, by SIGINT or SIGTERM.

    Work that changes nothing that is trained (a validation, answers on the way) may take minutes:
    inside `at_once` it is left by a KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.asked = False
        self._at_once = False

    def check(self) -> None:
        """Raise StoppedError where somebody asked to stop."""
        if self.asked:
            raise StoppedError

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """For the length of the block a signal raises KeyboardInterrupt."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Handler of the signals; a second one means it, wherever it comes."""
        again, self.asked = self.asked, True
        if again or self._at_once:
            raise KeyboardInterrupt


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """SIGINT and SIGTERM ask the loop to stop, with a checkpoint, for the length of the block."""
    stop = StopSignals()
    try:
        before = {s: signal.signal(s, stop.handle) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever owns it decides
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
