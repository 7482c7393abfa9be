"""State machines in code: the real state-machine-cat where it is installed, and `transitions`."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tunesmith.config.collect import MachinesSettings
from tunesmith.data.collect import Collected, Document, collect, read_documents
from tunesmith.data.collect.python_machines import find_machines
from tunesmith.errors import CollectError
from tunesmith.tasks.dot import parse

SMCAT = os.environ.get("TUNESMITH_SMCAT") or shutil.which("smcat")
needs_smcat = pytest.mark.skipif(
    SMCAT is None, reason="no smcat here: npm install -g state-machine-cat, or TUNESMITH_SMCAT"
)


def gather(folder: Path, **other: Any) -> tuple[Collected, dict[str, Document]]:
    values = {"paths": [str(folder)], "licence": "MIT", "author": "A"}
    found = collect(MachinesSettings(**(values | other)), folder.parent / "collected")
    return found, {d.id: d for d in read_documents(found.file)}


def edges(dot: str | None) -> set[tuple[str, str, str]]:
    graph = parse(dot or "")
    return {(e.tail, e.head, e.attributes.get("label", "").strip()) for e in graph.edges}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "machines"
    made.mkdir()
    return made


MATTER = """
from transitions import Machine, State
import helpers

# States of matter
class Matter:
    states = ["solid", "liquid", State("gas", on_enter="hot")]
    transitions = [
        {"trigger": "melt", "source": "solid", "dest": "liquid", "conditions": helpers.warm},
        ["evaporate", "liquid", "gas"],
    ]

    def __init__(self):
        self.machine = Machine(
            self, states=Matter.states, transitions=self.transitions, initial="solid"
        )
        self.machine.add_transition("freeze", "liquid", "solid", unless=[self.warm])

states = helpers.compute()
other = Machine(states=states, initial="a")
"""


def test_python_is_read_and_never_run(folder: Path) -> None:
    (folder / "matter.py").write_text(MATTER)
    (folder / "danger.py").write_text(
        "from transitions import Machine\nraise SystemExit(7)\n"
        "Machine(states=['a', 'b'], initial='a', transitions=[['go', 'a', 'b']])\n"
    )
    (folder / "other.py").write_text("class Machine: pass\nMachine(states=['a'], initial='a')\n")
    found, documents = gather(folder)
    assert set(documents) == {"machine:machines/danger.py#1", "machine:machines/matter.py#1"}
    one = documents["machine:machines/matter.py#1"]
    assert edges(one.answer) == {
        ("solid", "liquid", "melt"),
        ("liquid", "gas", "evaporate"),
        ("liquid", "solid", "freeze"),
    }
    assert one.text.startswith('states = ["solid", "liquid", State("gas", on_enter="hot")]\n')
    assert one.text.endswith('self.machine.add_transition("freeze", "liquid", "solid", '
                             "unless=[self.warm])")  # fmt: skip
    assert "helpers.compute" not in one.text
    assert (one.meta["kind"], one.meta["language"], one.licence) == ("coded", "python", "MIT")
    (fault,) = found.skipped
    assert fault == "machines/matter.py: machine 2: has to be computed: helpers.compute()"


def test_a_nested_machine_under_another_name() -> None:
    source = textwrap.dedent("""\
        from transitions.extensions import HierarchicalMachine as HSM
        WALKING = {"name": "walking", "initial": "slow", "children": ["slow", "fast"]}
        states = ["standing"] + [WALKING]
        m = HSM(states=states, initial="standing", transitions=[["walk", "standing", "walking"]])
        m.add_transitions([["stop", "walking", "standing"]])
        """)
    (machine,) = find_machines(source)
    assert machine.fault == ""
    assert machine.markup["states"][1]["children"] == ["slow", "fast"]
    assert machine.markup["transitions"][1] == {
        "trigger": "stop",
        "source": "walking",
        "dest": "standing",
    }
    assert machine.code.splitlines()[0].startswith("WALKING")


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("Machine(states=[f'{x}'], initial='a')", "has to be computed: f'{x}'"),
        ("Machine(states=['a'], **options)", "has to be computed: **arguments"),
        ("Machine(states=['a'], transitions=[t for t in x])", "has to be computed: [t for t"),
        ("x = x\nMachine(states=x)", "has to be computed: x"),
        ("Machine(states=['a'", "not Python"),
    ],
)
def test_what_has_to_be_computed_is_named(call: str, fault: str) -> None:
    (machine,) = find_machines(f"from transitions import Machine\n{call}\n")
    assert machine.fault.startswith(fault)


def test_markup_in_json_and_yaml(folder: Path) -> None:
    markup = {
        "name": "door",
        "states": [{"name": "open"}, {"name": "closed"}],
        "initial": "open",
        "transitions": [
            {"trigger": "push", "source": "open", "dest": "closed", "conditions": "is_shut"}
        ],
    }
    (folder / "a.json").write_text(json.dumps(markup))
    (folder / "b.yaml").write_text(
        "states: [a, b]\ninitial: a\ntransitions:\n- [go, a, b]\n- [lost, a, nowhere]\n"
    )
    (folder / "c.json").write_text('{"name": "a package", "version": 1}')
    (folder / "d.json").write_text("{")
    (folder / "e.yml").write_text("states: [a, b]\ninitial: a\ntransitions: [[go, a, b]]\n")
    found, documents = gather(folder, show_conditions=True)
    assert list(documents) == ["machine:machines/a.json#1", "machine:machines/e.yml#1"]
    assert edges(documents["machine:machines/a.json#1"].answer) == {
        ("open", "closed", "push [is_shut]")
    }
    assert [key.split(": ")[2] for key in found.skipped] == [
        "transitions refuses it",
        "cannot be read",
    ]


DOOR = "# A door\ninitial, closed, open;\ninitial => closed;\nclosed => open: push;\n"


@needs_smcat
def test_smcat_by_the_real_package(folder: Path) -> None:
    (folder / "door.smcat").write_text(DOOR)
    (folder / "broken.smcat").write_text("closed => \n")
    (folder / "empty.smcat").write_text("")
    found, documents = gather(folder, smcat=SMCAT)
    (one,) = documents.values()
    assert ("closed", "open", "push   \\l".strip()) in {
        (a, b, c.strip()) for a, b, c in edges(one.answer)
    }
    assert one.text == DOOR.strip()
    assert (one.meta["language"], one.meta["description"]) == ("smcat", "A door")
    assert [key.split(": ")[2] for key in found.skipped] == [
        "smcat refuses it",
        "the file is empty",
    ]


def test_without_smcat_it_says_how_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    (folder / "door.smcat").write_text(DOOR)
    with pytest.raises(CollectError, match="no smcat here") as caught:
        gather(folder)
    assert "npm install state-machine-cat" in caught.value.hint
    with pytest.raises(CollectError, match="does not run"):
        gather(folder, smcat=str(tmp_path / "nothing"))
    bad = tmp_path / "bad"
    bad.write_text("#!/bin/sh\necho 'needs node 22' >&2\nexit 1\n")
    bad.chmod(0o755)
    with pytest.raises(CollectError, match="does not run: needs node 22"):
        gather(folder, smcat=str(bad))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CollectError, match="no file here that ends in"):
        gather(tmp_path / "none")
