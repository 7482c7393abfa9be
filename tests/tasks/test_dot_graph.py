"""Graphs from descriptions and code: the real pairs, gold answers, and answers of all sorts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunesmith.records import Example, Outcome
from tunesmith.tasks.base import RowError, get_task, gold_check, score_all
from tunesmith.tasks.dot_graph import DotGraph

GOLD = 'digraph { rankdir=LR; idle -> busy [label="start"]; busy -> idle [label="stop"]; }'
ROW = {"source": "s", "input_text": "Two states.", "input_code": "fsm = 1", "output_dot": GOLD}
BROKEN_GOLD = ("pairs.jsonl:135", "pairs.jsonl:136", "pairs.jsonl:137", "pairs.jsonl:138")


def _examples(shared_data: Path) -> list[Example]:
    lines = (shared_data / "anecdot" / "pairs.jsonl").read_text("utf-8").splitlines()
    drafts = [DotGraph().shape(json.loads(line)) for line in lines]
    return [
        Example(draft.messages, draft.target, draft.label, {}, f"pairs.jsonl:{number}")
        for number, draft in enumerate(drafts, 1)
    ]


def _scores(response: str, gold: str = GOLD) -> tuple[Outcome, dict[str, float]]:
    ((parsed, scores),) = score_all(DotGraph(), [response], [Example((), gold)])
    return parsed.outcome, scores


def test_gold_answers_get_full_marks_where_they_are_graphs(shared_data: Path) -> None:
    examples = _examples(shared_data)
    assert len(examples) == 149
    task = DotGraph()
    for check in gold_check(task, examples):
        assert check.failures == BROKEN_GOLD, check.metric
    assert tuple(e.place for e in examples if task.verify(e) is not None) == BROKEN_GOLD
    assert task.verify(Example((), "no graph")) == "the gold answer holds no graph"


def test_gold_answers_in_prose_and_fences_score_the_same(shared_data: Path) -> None:
    examples = _examples(shared_data)
    answers = [f"Here you go:\n```dot\n{e.target}\n```\nIt has a -> b." for e in examples]
    plain = score_all(DotGraph(), [e.target for e in examples], examples)
    wrapped = score_all(DotGraph(), answers, examples)
    assert [scores for _, scores in wrapped] == [scores for _, scores in plain]
    assert not any(parsed.alone for parsed, _ in wrapped)


@pytest.mark.parametrize(
    ("response", "wanted"),
    [
        (GOLD, {"valid": 1, "exact": 1, "exact_labels": 1, "node_f1": 1, "edge_f1": 1}),
        ("digraph{busy->idle;idle->busy}", {"valid": 1, "exact": 1, "exact_labels": 0}),
        ("graph{busy--idle;idle--busy}", {"valid": 1, "exact": 0, "node_f1": 1, "edge_f1": 0}),
        ("digraph { idle -> busy }", {"exact": 0, "edge_precision": 1, "edge_recall": 0.5}),
        ("digraph { idle -> busy -> x }", {"node_precision": 2 / 3, "node_recall": 1}),
        ("digraph { idle -> busy", {"valid": 0, "exact": 0, "node_f1": 0}),
        ("digraph { idle -- busy }", {"valid": 0, "edge_f1": 0}),
    ],
)
def test_scores(response: str, wanted: dict[str, float]) -> None:
    outcome, scores = _scores(response)
    assert outcome is Outcome.SCORED
    assert tuple(scores) == DotGraph.metrics
    for name, value in wanted.items():
        assert scores[name] == pytest.approx(value), name


@pytest.mark.parametrize("response", ["", "Sure, a diagram:", "a -> b", "flowchart TD; a --> b"])
def test_an_answer_without_a_graph_is_unparsed(response: str) -> None:
    outcome, scores = _scores(response)
    assert outcome is Outcome.UNPARSED
    assert scores == DotGraph().zero()


def test_an_answer_that_declines_is_refused() -> None:
    assert _scores("I'm sorry, but I cannot draw.") == (Outcome.REFUSED, DotGraph().zero())


def test_a_broken_gold_graph_leaves_validity_alone() -> None:
    _, scores = _scores(GOLD, gold="digraph { a -> ")
    assert scores == DotGraph().zero() | {"valid": 1.0}


def test_code_goes_before_text_unless_told_otherwise() -> None:
    code = DotGraph().shape(ROW).messages[-1].content
    assert code.endswith("Two states.\n\nfsm = 1")
    text = get_task("dot_graph", {"prompt": "text"}).shape(ROW).messages[-1].content
    assert text.endswith("Two states.")
    assert "fsm" not in text
    only_code = {**ROW, "input_text": None}
    assert DotGraph("text").shape(only_code).messages[-1].content.endswith("\n\nfsm = 1")
    assert DotGraph().shape(ROW).target == GOLD


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"output_dot": " "}, "no output_dot"),
        ({"output_dot": ["a"]}, "output_dot is list, not text"),
        ({"input_text": "", "input_code": None}, "neither input_text nor input_code"),
        ({"input_code": 3}, "input_code is int, not text"),
    ],
)
def test_broken_rows_say_why(change: dict[str, object], reason: str) -> None:
    with pytest.raises(RowError) as caught:
        DotGraph().shape({**ROW, **change})
    assert caught.value.reason == reason


def test_the_judge_is_named() -> None:
    assert DotGraph().judge.split()[0] in {"graphviz", "grammar"}


@pytest.mark.parametrize(
    ("dot", "kind"),
    [
        ('digraph { a -> b [label="x"] }', ("directed", "without clusters", "with edge labels")),
        ("graph { a -- b }", ("undirected", "without clusters", "without edge labels")),
        (
            "digraph { subgraph cluster_x { a } a -> b }",
            ("directed", "with clusters", "without edge labels"),
        ),
        (
            "digraph { edge [label=on] a -> b }",
            ("directed", "without clusters", "with edge labels"),
        ),
        ("stateDiagram-v2", ("not parsed",) * 3),
    ],
)
def test_an_example_knows_the_type_of_its_gold_graph(dot: str, kind: tuple[str, ...]) -> None:
    meta = DotGraph().shape({"input_text": "t", "output_dot": dot, "source": "made/up"}).meta
    assert (meta["graph"], meta["clusters"], meta["edge_labels"]) == kind
    assert meta["kind"] == "described"
    assert meta["origin"] == "made"


def test_a_broken_graph_is_asked_to_be_mended() -> None:
    row = {"kind": "mended", "input_code": "digraph { a -> }", "output_dot": "digraph { a -> b }"}
    draft = DotGraph().shape(row)
    assert draft.messages[-1].content == "Mend this DOT graph.\n\ndigraph { a -> }"
    assert draft.meta["kind"] == "mended"
