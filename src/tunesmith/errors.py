"""Errors, written for the person who sees them.

    TunesmithError
    ├── ConfigError       a recipe, an option, a --set
    ├── DataError         a file, a row, a label, a split
    ├── CollectError      a host, a key, a quota, a page that is not what its API promises
    ├── EndpointError     a language model asked over HTTP: key, quota, a dead host, a budget
    ├── ModelError        a base, a tokenizer, a template, an adapter, quantisation
    ├── TrainingError     a run that cannot go on
    ├── EvaluationError   answers that cannot be had or paired
    ├── StoreError        the database, a run, an artefact, a full disk
    └── Interrupted       stopped by the user or a signal; what was done is kept

Each says what is wrong and where in `message`, and what to do in `hint`. The command line prints
the two and exits with `exit_code`; a traceback is a bug.
"""

from __future__ import annotations

from typing import ClassVar


class TunesmithError(Exception):
    """Base of everything that Tunesmith raises on purpose."""

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def first_line(error: BaseException | str) -> str:
    """What an error says, on one line; the name of its kind where it says nothing."""
    lines = (line.strip() for line in str(error).splitlines())
    silent = "" if isinstance(error, str) else type(error).__name__
    return next((line for line in lines if line), silent)


class ConfigError(TunesmithError):
    """A recipe or an option that cannot be used as it stands."""


class DataError(TunesmithError):
    """A file, a row or a split that cannot be used as it stands."""


class CollectError(TunesmithError):
    """A source of documents that cannot be asked, or whose answer cannot be used."""


class EndpointError(TunesmithError):
    """A language model behind an API does not answer, refuses, or may not be asked any more."""


class ModelError(TunesmithError):
    """A base model, tokenizer, chat template, adapter or quantisation that cannot be used."""


class TrainingError(TunesmithError):
    """Training cannot start or go on."""


class EvaluationError(TunesmithError):
    """Answers cannot be had, judged or paired."""


class StoreError(TunesmithError):
    """The store, a run or an artefact cannot be read or written."""


class Interrupted(TunesmithError):  # noqa: N818 - it is a wish, not a fault
    """Stopped by the user or a signal; work done so far is kept and can be resumed."""

    exit_code: ClassVar[int] = 130
