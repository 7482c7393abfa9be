"""`tunesmith doctor`: what this machine can do."""

from __future__ import annotations

from rich.table import Table

from tunesmith.cli.options import Home, Json
from tunesmith.cli.output import err, out, print_json, verb


@verb
def doctor(home: Home = None, as_json: Json = False) -> None:
    """Say what this machine can do: cores, memory, GPU, bf16, 4-bit, Graphviz, hub access.

    Example: `tunesmith doctor`.
    """
    err.print(
        "looking at cores, memory, disk, Graphviz and the hub, and loading torch and bitsandbytes"
        " to ask for a GPU and 4-bit: some seconds",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )
    from tunesmith.pipeline import examine_machine, home_of

    checks = examine_machine(home_of(home))
    if as_json:
        print_json({check.name: {"value": check.value, "note": check.note} for check in checks})
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for check in checks:
        table.add_row(f"[bold]{check.name}[/]", check.value, f"[dim]{check.note}[/]")
    out.print(table)
