"""Validity: the grammar against `dot -Tcanon`, and dot in batches against dot on one text."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.dot.dot_mutants import CORNERS, mutants, real_graphs
from tunesmith.tasks.dot.validity import by_grammar, by_graphviz, judge, valid, valid_all

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz (dot) is not here")

# What a text may leave open behind its graph, and what else could disturb the next in a batch.
LEAKS = (
    "digraph { a -> b } /* open",
    'digraph { a -> b } "open',
    "digraph { a -> b } <open",
    'digraph { a [label="open',
    "digraph { a [label=<open",
    "digraph { a /* open",
    "digraph { a -> b } @ digraph { broken",
    "digraph { a -> b",
    "# nothing but a comment",
    "/* nothing */",
    "@digraph { a }",
    "",
    " \n",
    "digraph { a [label=<<b>broken</i>>] }",
    'digraph { a [label="Error: 3.dot: syntax error"] }',
    'digraph { a [shape=nosuchshape, label="Error"] }',
    "digraph { layout=nope }",
    "digraph { a \0 }\n}",
    "digraph { a }\n\0 { ",
)


@needs_dot
@pytest.mark.slow
def test_grammar_agrees_with_dot(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graphs = real_graphs(shared_data)
    pairs = {text: name for name, text in mutants(graphs, 5500, seed=20)}
    texts = list(dict.fromkeys([*graphs, *CORNERS, *pairs]))
    assert len(texts) >= 5000
    by_dot = by_graphviz(texts)
    differing = [t for t, ok in zip(texts, by_dot, strict=True) if ok != by_grammar(t)]
    agreement = 1 - len(differing) / len(texts)
    with capsys.disabled():
        sound = sum(by_dot)
        print(
            f"\ngrammar and dot agree on {len(texts) - len(differing)} of {len(texts)} texts"
            f" ({agreement:.2%}; {sound} sound, {len(texts) - sound} broken)"
        )
    assert 0.2 < sum(by_dot) / len(texts) < 0.8, "a judge must have something to tell apart"
    assert agreement >= 0.995, [(pairs.get(t), t) for t in differing[:20]]


@needs_dot
def test_batch_judges_as_one_call_per_text(shared_data: Path) -> None:
    texts = [text for _, text in mutants(real_graphs(shared_data), 110, seed=7)]
    for i, leak in enumerate(LEAKS):  # each between two that it could spoil
        texts[5 * i + 2 : 5 * i + 2] = [leak, "digraph { next -> one }", "digraph { broken"]
    expected = [_alone(text) for text in texts]
    assert by_graphviz(texts) == expected


def _alone(text: str) -> bool:
    done = subprocess.run(
        ["dot", "-Tcanon"],
        input=text.encode("utf-8", "surrogatepass"),
        capture_output=True,
        check=False,
    )
    if done.returncode not in {0, 1}:  # dot itself fell over
        return by_grammar(text)
    return done.returncode == 0 and bool(done.stdout.strip())


@needs_dot
def test_graph_that_dot_cannot_finish_is_judged_by_the_grammar() -> None:
    names = [f"n{i}" for i in range(70)]
    edges = [f"{a} -- {b}" for i, a in enumerate(names) for b in names[:i]]
    slow = f"graph {{ {'; '.join(edges)} }}"
    greedy = "digraph { a -> b [minlen=99999999] }"  # asks for all the memory there is
    texts = [slow, f"{slow} }}", greedy, "graph { a -- b }", "graph { a -> b }"]
    assert by_graphviz(texts, timeout=0.1) == [True, False, True, True, False]


def test_judge_says_who_it_is() -> None:
    expected = "grammar" if shutil.which("dot") is None else "graphviz"
    assert judge().name == expected
    assert str(judge()).split()[0] == expected


def test_without_dot_the_grammar_judges(tmp_path: Path) -> None:
    code = (
        "from tunesmith.tasks.dot.validity import judge, valid_all;"
        "print(judge().name, valid_all(['digraph { a -> b }', 'digraph { a -- b }']))"
    )
    env = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[0] == "grammar [True, False]"


def test_verdicts_keep_their_order_and_repeat() -> None:
    texts = ["digraph { a }", "digraph { a", "graph { a -- b }", "digraph { a }", "no graph"]
    assert valid_all(texts) == [True, False, True, True, False]
    assert [valid(text) for text in texts] == valid_all(texts)
    assert valid_all([]) == []


def test_every_gold_graph_but_four_is_sound(shared_data: Path) -> None:
    verdicts = valid_all(real_graphs(shared_data))
    assert [i for i, ok in enumerate(verdicts, 1) if not ok] == [135, 136, 137, 138]
