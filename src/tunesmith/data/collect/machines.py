"""State machines in code with their DOT: .smcat files, and machines of Python's `transitions`.

.smcat goes through the real npm package state-machine-cat, where it is installed; nothing is
installed here. A machine of `transitions` is drawn by its own GraphMachine, from a JSON or YAML
file of its markup or from the literals in a Python file (`python_machines`): no code is run.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tunesmith.config.collect import MachinesSettings
from tunesmith.data.collect.document import Document
from tunesmith.data.collect.listing import Faults, listing, walk
from tunesmith.data.collect.page import Cursor, Page, library
from tunesmith.data.collect.python_machines import Machine, find_machines
from tunesmith.errors import CollectError, first_line
from tunesmith.tasks.dot import valid

ENDINGS = (".smcat", ".py", ".json", ".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The code of one machine and its DOT; `fault` where it cannot be drawn."""

    code: str
    dot: str = ""
    fault: str = ""


def collect_machines(settings: MachinesSettings, cursor: Cursor | None = None) -> Iterator[Page]:
    """Pages of files that are new or have changed since the cursor."""
    files = listing(settings.paths, ENDINGS)
    smcat = cache(lambda: _smcat(settings))

    def machines_of(name: str) -> tuple[Sequence[Document], Faults]:
        program = smcat() if name.endswith(".smcat") else ""
        documents, faults = [], {}
        for number, machine in enumerate(_draw(settings, program, files[name]), start=1):
            fault = machine.fault or ("" if valid(machine.dot) else "not valid DOT")
            if fault:
                faults[f"{name}: machine {number}: {fault}"] = 1
            else:
                documents.append(_document(settings, name, number, machine))
        return documents, faults

    return walk(files, cursor, machines_of)


def render(markup: Mapping[str, Any], *, title: str, conditions: bool = False) -> str:
    """The DOT that `transitions` draws of a machine's markup; ValueError where it refuses."""
    library("graphviz")  # without it transitions would draw Mermaid
    transitions = library("transitions")
    extensions = library("transitions.extensions")
    nested = any(isinstance(s, Mapping) and s.get("children") for s in markup["states"])
    kind = extensions.HierarchicalGraphMachine if nested else extensions.GraphMachine
    if not nested and (lost := _lost(markup)):
        raise ValueError(f"no state is called {lost}")
    try:
        machine = kind(
            model=_Model(),
            states=list(markup["states"]),
            transitions=list(markup.get("transitions") or ()),
            initial=markup.get("initial") or _first(markup["states"]),
            auto_transitions=False,
            ordered_transitions=bool(markup.get("ordered_transitions")),
            title=title,
            show_conditions=conditions,
            graph_engine="graphviz",
        )
        return str(machine.get_combined_graph(title=title).source)
    except (transitions.MachineError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise ValueError(str(error)) from error


def _lost(markup: Mapping[str, Any]) -> str:
    """A state that a transition speaks of and the machine does not have; it would be drawn, too."""
    known = {str(s["name"] if isinstance(s, Mapping) else s) for s in markup["states"]}
    for transition in markup.get("transitions") or ():
        if isinstance(transition, Mapping):
            ends = [transition.get("source"), transition.get("dest")]
        else:
            ends = list(transition[1:3])
        for end in ends:
            for name in end if isinstance(end, list | tuple) else [end]:
                if name not in (None, "*", "=") and str(name) not in known:
                    return str(name)
    return ""


class _Model:
    """What a machine is of; it has nothing of its own, so that no name clashes."""


def _first(states: Any) -> Any:
    first = next(iter(states))
    return first["name"] if isinstance(first, Mapping) else first


def _draw(settings: MachinesSettings, smcat: str, file: Path) -> list[_Drawn]:
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        return [_Drawn("", fault=f"not UTF-8 (byte {error.start})")]
    if file.suffix == ".smcat":
        return [_by_smcat(settings, smcat, text)]
    if file.suffix == ".py":
        return [_by_transitions(settings, file.stem, m) for m in find_machines(text)]
    try:
        values = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        return [_Drawn("", fault=f"cannot be read: {first_line(error)}")]
    if not isinstance(values, dict) or not isinstance(values.get("states"), list):
        return []  # some other JSON
    return [_by_transitions(settings, file.stem, Machine(text, values))]


def _by_transitions(settings: MachinesSettings, title: str, machine: Machine) -> _Drawn:
    if machine.fault:
        return _Drawn(machine.code, fault=machine.fault)
    named = str(machine.markup.get("name") or title)
    try:
        dot = render(machine.markup, title=named, conditions=settings.show_conditions)
    except ValueError as error:
        return _Drawn(machine.code, fault=f"transitions refuses it: {error}")
    return _Drawn(machine.code.strip(), dot)


def _by_smcat(settings: MachinesSettings, program: str, text: str) -> _Drawn:
    if not text.strip():
        return _Drawn("", fault="the file is empty")
    try:
        done = subprocess.run(
            [program, "-T", "dot", "-"],
            input=text,
            capture_output=True,
            encoding="utf-8",
            timeout=settings.timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _Drawn(text, fault=f"smcat takes over {settings.timeout_s:g} s")
    if done.returncode or not done.stdout.strip():
        said = first_line(done.stderr) or "no output"
        return _Drawn(text, fault=f"smcat refuses it: {said}")
    return _Drawn(text.strip(), done.stdout.strip())


def _smcat(settings: MachinesSettings) -> str:
    """The program that works, or CollectError that says how to install it."""
    local = Path("node_modules") / ".bin" / "smcat"
    program = settings.smcat or (str(local.resolve()) if local.exists() else shutil.which("smcat"))
    hint = "Install it where you work: npm install state-machine-cat (with Node 20: @12)."
    if not program:
        raise CollectError("no smcat here, which .smcat files need.", hint=hint)
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, encoding="utf-8", check=False,
            timeout=settings.timeout_s,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CollectError(f"{program}: does not run: {error}.", hint=hint) from error
    if done.returncode or not re.match(r"\d+\.\d+", done.stdout.strip()):
        said = first_line(done.stderr) or first_line(done.stdout) or "no output"
        raise CollectError(f"{program}: does not run: {said}", hint=hint)
    return program


def _document(settings: MachinesSettings, name: str, number: int, machine: _Drawn) -> Document:
    language = {".smcat": "smcat", ".py": "python"}.get(Path(name).suffix, "transitions")
    about = _comment(machine.code)
    return Document(
        id=f"machine:{name}#{number}",
        source="machines",
        url=f"{settings.url.rstrip('/')}/{name}" if settings.url else "",
        title=Path(name).stem.replace("_", " ").replace("-", " "),
        text=machine.code,
        answer=machine.dot,
        licence=settings.licence,
        author=settings.author,
        meta={"kind": "coded", "language": language, "file": name}
        | ({"description": about} if about else {}),
    )


def _comment(code: str) -> str:
    """What the comment at the top of the code says."""
    lines = []
    for line in code.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#! ").strip())
    return " ".join(line for line in lines if line)
