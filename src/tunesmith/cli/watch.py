"""A run as it is watched in a terminal: stages, lines worth reading, and bars with their pace."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tunesmith.cli.output import err

STOPS = (signal.SIGINT, signal.SIGTERM)
PLAIN_PAUSE = 10.0  # seconds between lines where no terminal redraws a bar


def duration(seconds: float) -> str:
    """Seconds as one says them: "40 s", "11 min 36 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Watch:
    """Draws a run on stderr; a log file gets a line now and then in place of a moving bar."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("  [bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._began = time.monotonic()
        self._stage: tuple[str, float] | None = None
        self._hearing = _Hearing(self._heard)
        self._said = 0.0
        self._begun: dict[str, tuple[int, float]] = {}
        self._terminated: Any = None  # what SIGTERM did before

    def __enter__(self) -> Watch:
        self._hearing.start()
        if threading.current_thread() is threading.main_thread():
            # As Ctrl-C: what was done is kept, and the store says so. Training has its own handler.
            self._terminated = signal.signal(signal.SIGTERM, signal.default_int_handler)
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._stage is not None:
            self._end_stage()
            self._print(f"[dim]done in {duration(time.monotonic() - self._began)}[/]")
        self._bars.stop()
        self._hearing.stop()
        if self._terminated is not None:
            signal.signal(signal.SIGTERM, self._terminated)

    def stage(self, name: str) -> None:
        """A stage begins; how long the one before it took is said first."""
        self._end_stage()
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._tasks.clear()
        self._stage = (name, time.monotonic())
        self._print(f"[bold cyan]{escape(name)}[/]")

    def _end_stage(self) -> None:
        if self._stage is not None:
            name, began = self._stage
            self._print(f"  [dim]{escape(name)} took {duration(time.monotonic() - began)}[/]")
            self._stage = None

    def _heard(self) -> None:
        """Somebody wants it to stop: say so at once, whatever the main thread is busy with."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._print("stopping ...")
        else:  # training has put its own handler there
            self._print(
                "stopping after this micro-batch ... (Ctrl-C again stops at once, and loses what"
                " came after the last checkpoint)"
            )

    def say(self, line: str) -> None:
        """One line worth reading."""
        self._print(f"  {escape(line)}")

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Work in hand: a bar in a terminal, a line now and then elsewhere."""
        if err.is_terminal:
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what, total=total, note="")
            self._bars.update(self._tasks[what], completed=done, total=total, note=note)
            return
        now = time.monotonic()
        first, began = self._begun.setdefault(what, (done, now))
        if done == total or now - self._said >= PLAIN_PAUSE:
            self._said = now
            pace = (now - began) / (done - first) if done > first else 0.0
            left = f", {pace * (total - done):,.0f} s left" if pace and done < total else ""
            self._print(f"  {escape(what)} {done:,}/{total:,} {escape(note)}{left}".rstrip())

    def _print(self, line: str) -> None:
        self._bars.console.print(line, highlight=False, soft_wrap=True)


class _Hearing:
    """Calls back, from a thread of its own, when the process is asked to stop.

    Handlers run between two bytecodes of the main thread, which may be seconds away; the wake-up
    descriptor (signal.set_wakeup_fd) is written to at once, whoever handles the signal then.
    """

    def __init__(self, heard: Callable[[], None]) -> None:
        self._heard = heard
        self._ends: tuple[int, int] | None = None
        self._before = -1
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to listen; only the main thread can, elsewhere nothing is heard."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._ends = os.pipe()
        os.set_blocking(self._ends[1], False)
        self._before = signal.set_wakeup_fd(self._ends[1], warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._listen, args=(self._ends[0],), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        if self._ends is None or self._thread is None:
            return
        signal.set_wakeup_fd(self._before)
        os.close(self._ends[1])  # the thread reads the end of it
        self._thread.join()
        os.close(self._ends[0])
        self._ends = self._thread = None

    def _listen(self, end: int) -> None:
        while read := os.read(end, 1):
            if read[0] in STOPS:
                self._heard()
