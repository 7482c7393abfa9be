"""`tunesmith nano`: the embedded base model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Home, Json
from tunesmith.cli.output import err, out, print_json, verb
from tunesmith.errors import ConfigError

nano = typer.Typer(
    name="nano",
    help="The embedded base model: where it is, and how to build it again.",
    epilog="Example: `tunesmith nano path`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@nano.command("path")
@verb
def path(home: Home = None, as_json: Json = False) -> None:
    """Print the folder of the embedded base.

    Example: `ls $(tunesmith nano path)`.
    """
    from tunesmith.models import nano as embedded

    folder = str(embedded.path())
    if as_json:
        print_json({"path": folder})
    else:
        out.print(folder, soft_wrap=True, highlight=False)


@nano.command("build")
@verb
def build(
    directory: Annotated[
        Path,
        typer.Argument(help="Folder for the model: a new one, an empty one, or an older nano."),
    ],
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimizer steps; the default is what was shipped.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of corpus and weights.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make the embedded base again from the project's own generators.

    Example: `tunesmith nano build ./my-nano --steps 200` for a quick look.
    """
    check_target(directory)  # at once: what follows takes seconds to load and minutes to run
    from tunesmith.models.nano.build import DEFAULT_SEED, DEFAULT_STEPS
    from tunesmith.models.nano.build import build as build_nano

    with beside(directory) as partial:
        card = build_nano(
            partial,
            steps=DEFAULT_STEPS if steps is None else steps,
            seed=DEFAULT_SEED if seed is None else seed,
            progress=lambda line: err.print(line, highlight=False),
        )
    if as_json:
        print_json({"path": str(directory), "card": card})
    else:
        out.print(f"written: {directory}", highlight=False)


def check_target(directory: Path) -> None:
    """Refuse a place whose content a build would destroy: only an older nano is replaced."""
    from tunesmith.models import nano as embedded

    if not directory.exists():
        return
    if not directory.is_dir():
        raise ConfigError(f"{directory} is a file", hint="name a folder for the model")
    if directory.resolve() == Path.cwd():
        raise ConfigError(
            "the folder you stand in cannot be replaced", hint="name another, such as ./my-nano"
        )
    found = {path.name for path in directory.iterdir()}
    foreign = sorted(found - {path.name for path in embedded.path().iterdir()})
    if foreign or (found and "card.json" not in found):
        what = f"holds {foreign[0]}" if foreign else "is not empty and holds no card.json"
        raise ConfigError(
            f"{directory} {what}: it is no nano of an earlier build",
            hint="name a folder that is new or empty",
        )


@contextmanager
def beside(directory: Path) -> Iterator[Path]:
    """`whole_folder` for a place that is new, empty or an older nano, before and after."""
    from tunesmith.store.whole import whole_folder

    check_target(directory)
    with ExitStack() as stack:
        try:
            partial = stack.enter_context(whole_folder(directory))
        except OSError as error:
            raise ConfigError(
                f"cannot make a folder in {directory.resolve().parent}: {error.strerror}",
                hint="name a place that is yours and has room",
            ) from error
        yield partial
        check_target(directory)
