"""A run as it is watched in a terminal: stages, lines worth reading, and bars with their pace."""

from __future__ import annotations

import time
from types import TracebackType

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

PLAIN_PAUSE = 10.0  # seconds between lines where no terminal redraws a bar


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
        self._said = 0.0
        self._begun: dict[str, tuple[int, float]] = {}

    def __enter__(self) -> Watch:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def stage(self, name: str) -> None:
        """A stage begins: its name, and the time since the run began."""
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._tasks.clear()
        at = time.monotonic() - self._began
        self._print(f"[bold cyan]{escape(name)}[/] [dim]{at:.0f} s[/]")

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
