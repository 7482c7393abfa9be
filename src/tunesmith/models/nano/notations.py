"""The notations in which nano learns to write a machine; DOT is not among them."""

from __future__ import annotations

from collections.abc import Callable

from tunesmith.models.nano.machines import Machine, Move


def _each(machine: Machine, write: Callable[[Move], str], between: str = "\n") -> str:
    return between.join(write(move) for move in machine.moves)


def mermaid(machine: Machine) -> str:
    """Mermaid's state diagram."""
    moves = _each(machine, lambda m: f"  {m.source} --> {m.target} : {m.event}")
    return f"stateDiagram-v2\n  [*] --> {machine.states[0]}\n{moves}"


def csv(machine: Machine) -> str:
    """Comma-separated values with a header."""
    return "from,event,to\n" + _each(machine, lambda m: f"{m.source},{m.event},{m.target}")


def semicolon_csv(machine: Machine) -> str:
    """Semicolon-separated values, the event first."""
    return "event;from;to\n" + _each(machine, lambda m: f"{m.event};{m.source};{m.target}")


def json(machine: Machine) -> str:
    """A JSON object with a list of moves."""
    moves = _each(
        machine,
        lambda m: f'  {{"from": "{m.source}", "to": "{m.target}", "on": "{m.event}"}}',
        ",\n",
    )
    return (
        f'{{"name": "{machine.name}", "start": "{machine.states[0]}", "moves": [\n' + moves + "\n]}"
    )


def plantuml(machine: Machine) -> str:
    """PlantUML's state diagram."""
    moves = _each(machine, lambda m: f"{m.source} --> {m.target} : {m.event}")
    return f"@startuml\n[*] --> {machine.states[0]}\n{moves}\n@enduml"


def yaml(machine: Machine) -> str:
    """YAML with a list of moves."""
    moves = _each(machine, lambda m: f'  - "{m.source}" to "{m.target}" [{m.event}]')
    return f"name: {machine.name}\nstart: {machine.states[0]}\nmoves:\n{moves}"


def table(machine: Machine) -> str:
    """A Markdown table."""
    moves = _each(machine, lambda m: f"| {m.source} | {m.event} | {m.target} |")
    return "| from | on | to |\n|---|---|---|\n" + moves


def calls(machine: Machine) -> str:
    """Python calls on a machine object."""
    name = machine.name
    moves = _each(machine, lambda m: f'{name}.add("{m.source}", "{m.target}", label="{m.event}")')
    return f'{name} = Machine("{machine.states[0]}")\n{moves}'


def arrows(machine: Machine) -> str:
    """Arrow lines between quoted names."""
    return _each(machine, lambda m: f'"{m.source}" ={m.event}=> "{m.target}";')


def links(machine: Machine) -> str:
    """A block of links between quoted names, the event in brackets behind."""
    moves = _each(machine, lambda m: f'  link "{m.source}" to "{m.target}" (on="{m.event}");\n', "")
    return f"links of {machine.name} {{\n{moves}}}"


def sentences(machine: Machine) -> str:
    """One plain sentence a move."""
    return _each(machine, lambda m: f"From {m.source}, {m.event} leads to {m.target}.")


NOTATIONS: dict[str, Callable[[Machine], str]] = {
    "Mermaid": mermaid,
    "CSV": csv,
    "semicolon CSV": semicolon_csv,
    "JSON": json,
    "PlantUML": plantuml,
    "YAML": yaml,
    "a Markdown table": table,
    "Python calls": calls,
    "arrow lines": arrows,
    "a link list": links,
    "plain sentences": sentences,
}
