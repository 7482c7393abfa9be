"""Turn a description, or a state machine's source code, into a Graphviz DOT graph; or mend one.

The rows are those of AnecDOT: input_text, input_code, output_dot, source. A graph that is valid is
a beginning; a graph that is right has the same nodes and edges as the gold one, up to their order
and attributes. The study that this follows counted the first (38 of 45) where 18 of 45 were right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunesmith.records import Example, Message, Outcome
from tunesmith.tasks.base import Draft, Parsed, RowError, Task, required_text
from tunesmith.tasks.dot import (
    DotSyntaxError,
    Graph,
    Similarity,
    compare_graphs,
    extract_graph,
    judge,
    parse,
    valid_all,
)
from tunesmith.tasks.refusal import is_refusal

SYSTEM = "You draw graphs. Answer with one Graphviz DOT graph and nothing else."


class DotGraph(Task):
    """Text or code to DOT.

    `prompt` says what a row with both a description and code is asked by: `code` (with the
    description above it), or `text` alone. A row of the kind `mended` holds a broken graph as its
    input_code. Each example knows its `kind` (coded, described, mended) and, where its gold graph
    can be parsed, of what type that is: `graph`, `clusters`, `edge_labels`; and its `origin`, what
    the row calls its source, up to a slash.
    """

    name = "dot_graph"
    description = "a Graphviz DOT graph for a description or a state machine's code"
    metrics = (
        "exact",
        "valid",
        "exact_labels",
        "node_precision",
        "node_recall",
        "node_f1",
        "edge_precision",
        "edge_recall",
        "edge_f1",
    )
    primary = "exact"
    max_new_tokens = 512

    def __init__(self, prompt: str = "code") -> None:
        if prompt not in {"code", "text"}:
            raise ValueError(f"prompt is code or text, not {prompt!r}")
        self.prompt = prompt

    @property
    def judge(self) -> str:
        """Who judges validity here: "graphviz VERSION", or this package's "grammar"."""
        return str(judge())

    def shape(self, row: Mapping[str, object]) -> Draft:
        """A row with output_dot and input_text or input_code; RowError where they are not there.

        The gold graph is not judged here: that is for `verify`, and for the scorers' check.
        """
        target = required_text(row, "output_dot").strip()
        text, code = _text(row, "input_text"), _text(row, "input_code")
        if text is None and code is None:
            raise RowError("neither input_text nor input_code")
        if row.get("kind") == "mended":
            kind, question = "mended", f"Mend this DOT graph.\n\n{code or text}"
        elif code is not None and (self.prompt == "code" or text is None):
            about = f"{text}\n\n" if text is not None and text not in code else ""
            kind, question = "coded", f"Draw this code as a DOT graph.\n\n{about}{code}"
        else:
            kind, question = "described", f"Draw this description as a DOT graph.\n\n{text}"
        messages = (Message("system", SYSTEM), Message("user", question))
        meta = {"kind": kind, **graph_type(target)}
        if isinstance(origin := row.get("source"), str) and origin:
            meta["origin"] = origin.partition("/")[0]
        return Draft(messages, target, meta=meta)

    def parse(self, response: str) -> Parsed:
        """The graph in the answer; an answer without one cannot be read."""
        graph = extract_graph(response)
        if graph is not None:
            return Parsed(Outcome.SCORED, graph, alone=graph == response.strip())
        outcome = Outcome.REFUSED if is_refusal(response) else Outcome.UNPARSED
        return Parsed(outcome, response, alone=False)

    def score(self, parsed: Parsed, example: Example) -> dict[str, float]:
        """Validity; exact match; precision, recall and F1 of nodes and of edges, in [0, 1]."""
        return self.score_all([parsed], [example])[0]

    def score_all(
        self, parsed: Sequence[Parsed], examples: Sequence[Example]
    ) -> list[dict[str, float]]:
        """`score` for many at once: one call of `dot` judges dozens of graphs."""
        read = [i for i, p in enumerate(parsed) if p.outcome is Outcome.SCORED]
        verdicts = valid_all([parsed[i].text for i in read])
        valid = {i for i, verdict in zip(read, verdicts, strict=True) if verdict}
        return [
            self._graph_scores(p.text, e) if i in valid else self.zero()
            for i, (p, e) in enumerate(zip(parsed, examples, strict=True))
        ]

    def verify(self, example: Example) -> str | None:
        """Why the gold graph is none, None where it is one."""
        graph = extract_graph(example.target)
        if graph is None:
            return "the gold answer holds no graph"
        return None if valid_all([graph])[0] else "the gold graph is not valid DOT"

    def _graph_scores(self, text: str, example: Example) -> dict[str, float]:
        """Scores of a valid graph; where it or the gold graph cannot be parsed, validity alone."""
        ours, gold = _parsed(text), _parsed(extract_graph(example.target) or example.target)
        scores = self.zero() | {"valid": 1.0}
        if ours is None or gold is None:
            return scores
        return scores | graph_scores(compare_graphs(ours, gold))


def graph_type(target: str) -> dict[str, str]:
    """Of what type a gold graph is, for the slices of a report; "not parsed" where it is none."""
    graph = _parsed(extract_graph(target) or target)
    if graph is None:
        return dict.fromkeys(("graph", "clusters", "edge_labels"), "not parsed")
    clusters = any(part.name.lower().startswith("cluster") for part in graph.subgraphs)
    labelled = any(edge.attributes.get("label", "").strip() for edge in graph.edges)
    return {
        "graph": "directed" if graph.directed else "undirected",
        "clusters": "with clusters" if clusters else "without clusters",
        "edge_labels": "with edge labels" if labelled else "without edge labels",
    }


def graph_scores(found: Similarity) -> dict[str, float]:
    """The figures of a similarity by the names of the task's metrics, `valid` left out."""
    return {
        "exact": float(found.exact),
        "exact_labels": float(found.exact_labelled),
        "node_precision": found.nodes.precision,
        "node_recall": found.nodes.recall,
        "node_f1": found.nodes.f1,
        "edge_precision": found.edges.precision,
        "edge_recall": found.edges.recall,
        "edge_f1": found.edges.f1,
    }


def _parsed(text: str) -> Graph | None:
    try:
        return parse(text)
    except DotSyntaxError:
        return None


def _text(row: Mapping[str, object], key: str) -> str | None:
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise RowError(f"{key} is {type(value).__name__}, not text")
    return value.strip() or None
