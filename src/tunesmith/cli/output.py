"""Printing: results on stdout, the rest on stderr; errors in two lines, never a traceback."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tunesmith.errors import Interrupted, TunesmithError

out = Console()
err = Console(stderr=True)

INTERRUPTED = 130
P = ParamSpec("P")
R = TypeVar("R")


def figures_table(rows: Iterable[tuple[str, str, str]] = ()) -> Table:
    """Figures in three columns: what it is, the figure, and what there is to say of it."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    for row in rows:
        table.add_row(*row)
    return table


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on stdout; figures that JSON has no word for become null."""
    json.dump(_plain(value), sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Turn an error on purpose into two lines and its exit code, and Ctrl-C into 130."""
    try:
        yield
    except TunesmithError as error:
        if isinstance(error, Interrupted):
            _leave_at_once()
        # To stop is a wish that was met, and no fault; its message says itself who stopped where.
        kind = "" if isinstance(error, Interrupted) else "[bold red]error:[/] "
        err.print(f"{kind}{escape(error.message)}", highlight=False, soft_wrap=True)
        if error.hint:
            err.print(f"[dim]hint:[/] {escape(error.hint)}", highlight=False, soft_wrap=True)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        _leave_at_once()
        err.print("[bold]stopped[/]; what was done so far is kept: the same command goes on")
        raise typer.Exit(INTERRUPTED) from error
    except BrokenPipeError as error:  # whoever read has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains
        raise typer.Exit(0) from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        message = error.strerror or str(error)
        err.print(f"[bold red]error:[/] {escape(message + where)}", highlight=False)
        err.print("[dim]hint:[/] check that the place exists, is yours, and has room")
        raise typer.Exit(2) from error


def _leave_at_once() -> None:
    """Let another Ctrl-C end the process where it stands: nothing is left to be kept, and what
    Python would say of it while it takes itself down is no help to anybody."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """A command whose errors are printed for the person who called it."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with friendly_errors():
            return function(*args, **kwargs)

    return wrapped
