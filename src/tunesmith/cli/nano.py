"""`tunesmith nano`: the embedded base model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Home, Json
from tunesmith.cli.output import err, out, print_json, verb

nano = typer.Typer(
    name="nano", help="The embedded base model: where it is, and how to build it again."
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
    directory: Annotated[Path, typer.Argument(help="Where to write the model.")],
    steps: Annotated[
        int | None, typer.Option(help="Optimizer steps; the default is what was shipped.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of corpus and weights.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make the embedded base again from the project's own generators.

    Example: `tunesmith nano build ./my-nano --steps 200` for a quick look.
    """
    from tunesmith.models.nano.build import DEFAULT_SEED, DEFAULT_STEPS
    from tunesmith.models.nano.build import build as build_nano

    card = build_nano(
        directory,
        steps=DEFAULT_STEPS if steps is None else steps,
        seed=DEFAULT_SEED if seed is None else seed,
        progress=lambda line: err.print(line, highlight=False),
    )
    if as_json:
        print_json({"path": str(directory), "card": card})
    else:
        out.print(f"written: {directory}", highlight=False)
