"""Options that every verb takes, spelled once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.errors import ConfigError

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, all else on stderr.")
]
Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        envvar="TUNESMITH_HOME",
        help="Folder of the runs and their database; `tunesmith doctor` shows it.",
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one value; may be repeated."),
]
RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A YAML file, or the name of a shipped recipe.")
]
Profile = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="Apply a profile of the recipe.")
]

TaskName = Annotated[
    str | None,
    typer.Option("--task", metavar="NAME", help="The task of files; told from the columns."),
]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--field", metavar="NAME=COLUMN", help="Read NAME from this column; may be repeated."
    ),
]
Template = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Whose template; default the recipe's, nano."),
]


def fields_of(pairs: Sequence[str]) -> dict[str, str]:
    """The columns that `--field NAME=COLUMN` names, by the names that the task reads."""
    fields: dict[str, str] = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not (name and equals and column):
            raise ConfigError(
                f"--field {pair}: not of the form NAME=COLUMN.",
                hint="For instance: --field response=answer_text",
            )
        fields[name] = column
    return fields
