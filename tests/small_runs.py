"""What it takes to run `anecdot` small, and to hear what it says."""

from __future__ import annotations

SMALL = (
    "data.sources.machines.rows=40",
    "data.sources.unseen.rows=12",
    "training.max_steps=3",
    "evaluation.max_new_tokens=24",
    "evaluation.replicates=200",
    "training.report_to=[tensorboard]",
)


class Ear:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.lines: list[str] = []
        self.counts: dict[str, tuple[int, int]] = {}

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def say(self, line: str) -> None:
        self.lines.append(line)

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        self.counts[what] = (done, total)
