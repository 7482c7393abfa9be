"""What a command says when it ends early."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import typer

from tunesmith.cli.output import friendly_errors
from tunesmith.errors import ConfigError, Interrupted, TunesmithError


@pytest.fixture(autouse=True)
def own_handler() -> Iterator[None]:
    """An end that was wished for leaves the next Ctrl-C to the system; not here."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (ConfigError("no [key] here", hint="look"), "error: no [key] here\nhint: look\n", 2),
        (Interrupted("lora: stopped", hint="again"), "lora: stopped\nhint: again\n", 130),
        (Interrupted("lora: stopped"), "lora: stopped\n", 130),
    ],
)
def test_a_fault_is_an_error_and_a_wish_to_stop_is_none(
    error: TunesmithError, said: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as caught, friendly_errors():
        raise error
    assert caught.value.exit_code == code
    assert capsys.readouterr().err == said
