"""Generated machines: the picture says what the words say, and the parts share nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter

import pytest

from tunesmith.data.generate import generate_rows
from tunesmith.data.generate.machines import vocabulary
from tunesmith.errors import ConfigError

EDGE = re.compile(r'"(\w+)" -> "(\w+)" \[label="(\w+)"\]')


def test_the_same_rows_from_the_same_seed() -> None:
    first = list(generate_rows("machines", 30, 1, "train"))
    assert first == list(generate_rows("machines", 30, 1, "train"))
    assert first[:10] == list(generate_rows("machines", 10, 1, "train"))
    assert first != list(generate_rows("machines", 30, 2, "train"))


def test_no_state_and_no_event_of_the_test_part_is_in_the_training_part() -> None:
    words = {
        part: {
            word.lower()
            for row in generate_rows("machines", 300, 7, part)
            for edge in EDGE.findall(str(row["output_dot"]))
            for name in edge
            for word in name.split("_")
        }
        for part in ("train", "test")
    }
    assert not words["train"] & words["test"]
    assert not set(vocabulary("train").states) & set(vocabulary("test").states)


def test_every_edge_of_the_picture_is_said_in_the_input() -> None:
    kinds: Counter[str | None] = Counter()
    for row in generate_rows("machines", 200, 3, "train"):
        kinds[row["kind"]] += 1
        given = str(row["input_text"] or row["input_code"])
        edges = EDGE.findall(str(row["output_dot"]))
        assert edges
        for source, target, event in edges:
            assert {source, target, event} <= set(re.findall(r"\w+", given))
    assert kinds == {"described": 100, "coded": 100}


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_every_picture() -> None:
    pictures = [str(row["output_dot"]) for row in generate_rows("machines", 100, 4, "test")]
    told = subprocess.run(
        ["dot", "-Tcanon"], input="\n".join(pictures), capture_output=True, text=True, check=True
    )
    assert told.stdout.count("digraph machine") == 100


def test_an_unknown_generator_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="engines"):
        list(generate_rows("engines", 1, 0, "train"))
