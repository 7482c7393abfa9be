"""Turn a description, or a state machine's source code, into a Graphviz DOT graph.

The rows are those of AnecDOT: input_text, input_code, output_dot, source. A graph that is valid is
a beginning; a graph that is right has the same nodes and edges as the gold one, up to their order
and attributes. The study that this follows counted the first (38 of 45) where 18 of 45 were right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from tunesmith.records import Example, Message, Outcome
from tunesmith.tasks.base import Draft, Parsed, RowError, Task
from tunesmith.tasks.dot import DotSyntaxError, Graph, extract_graph, parse, valid
from tunesmith.tasks.refusal import is_refusal

SYSTEM = "You draw graphs. Answer with one Graphviz DOT graph and nothing else."


class DotGraph(Task):
    """Text or code to DOT.

    `prompt` says what a row with both a description and code is asked by: `code` (with the
    description above it), or `text` alone.
    """

    name = "dot_graph"
    description = "a Graphviz DOT graph for a description or a state machine's code"
    metrics: ClassVar[tuple[str, ...]] = (
        "exact_graph",
        "valid",
        "nothing_else",
        "node_precision",
        "node_recall",
        "node_f1",
        "edge_precision",
        "edge_recall",
        "edge_f1",
        "labelled_edges",
    )
    primary = "exact_graph"
    max_new_tokens = 512

    def __init__(self, prompt: str = "code") -> None:
        if prompt not in {"code", "text"}:
            raise TypeError(f"prompt is code or text, not {prompt!r}")
        self.prompt = prompt

    def shape(self, row: Mapping[str, Any]) -> Draft:
        """A row with output_dot and input_text or input_code."""
        target = _text(row, "output_dot")
        if target is None:
            raise RowError("output_dot is missing or empty")
        text, code = _text(row, "input_text"), _text(row, "input_code")
        if text is None and code is None:
            raise RowError("neither input_text nor input_code")
        if code is not None and (self.prompt == "code" or text is None):
            about = f"{text}\n\n" if text is not None and text not in code else ""
            question = f"Draw this code as a DOT graph.\n\n{about}{code}"
        else:
            question = f"Draw this description as a DOT graph.\n\n{text}"
        return Draft((Message("system", SYSTEM), Message("user", question)), target.strip())

    def parse(self, response: str) -> Parsed:
        """The graph in the answer; an answer without one cannot be read."""
        graph = extract_graph(response)
        if graph is not None:
            return Parsed(Outcome.SCORED, graph)
        if is_refusal(response):
            return Parsed(Outcome.REFUSED, response)
        return Parsed(Outcome.UNPARSED, response)

    def score(self, parsed: Parsed, example: Example) -> dict[str, float]:
        """Validity, exact match, and precision, recall and F1 of nodes and edges."""
        scores = dict.fromkeys(self.metrics, 0.0)
        if parsed.outcome is not Outcome.SCORED or not valid(parsed.text):
            return scores
        scores["valid"] = 1.0
        try:
            ours = parse(parsed.text)
            gold = parse(extract_graph(example.target) or example.target)
        except DotSyntaxError:
            # Graphviz took the answer, or the gold graph is broken: nothing more can be compared.
            return scores
        return scores | compare_graphs(ours, gold)

    def judge(self, response: str, example: Example) -> tuple[Parsed, dict[str, float]]:
        """As every task, and whether the graph stands alone, without prose or fences."""
        parsed = self.parse(response)
        scores = self.score(parsed, example)
        scores["nothing_else"] = float(
            scores["valid"] == 1.0 and response.strip() == parsed.text.strip()
        )
        return parsed, scores


def compare_graphs(ours: Graph, gold: Graph) -> dict[str, float]:
    """Scores of a graph against the gold one; edges are a multiset, attributes do not count.

    `labelled_edges` is the F1 of edges with their labels. Two empty sets agree entirely.
    """
    node = _overlap(Counter(ours.nodes), Counter(gold.nodes))
    edge = _overlap(
        Counter(ours.ends(e) for e in ours.edges), Counter(gold.ends(e) for e in gold.edges)
    )
    labelled = _overlap(
        Counter((*ours.ends(e), e.attributes.get("label", "")) for e in ours.edges),
        Counter((*gold.ends(e), e.attributes.get("label", "")) for e in gold.edges),
    )
    same = ours.directed == gold.directed and node[2] == 1.0 and edge[2] == 1.0
    return {
        "exact_graph": float(same),
        "node_precision": node[0],
        "node_recall": node[1],
        "node_f1": node[2],
        "edge_precision": edge[0],
        "edge_recall": edge[1],
        "edge_f1": edge[2],
        "labelled_edges": labelled[2],
    }


def _overlap(ours: Counter[Any], gold: Counter[Any]) -> tuple[float, float, float]:
    """Precision, recall and F1 of two multisets."""
    n_ours, n_gold, both = ours.total(), gold.total(), (ours & gold).total()
    if n_ours == n_gold == 0:
        return 1.0, 1.0, 1.0
    precision = both / n_ours if n_ours else 0.0
    recall = both / n_gold if n_gold else 0.0
    return precision, recall, 2 * both / (n_ours + n_gold)


def _text(row: Mapping[str, Any], key: str) -> str | None:
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise RowError(f"{key} is {type(value).__name__}, not text")
    return value.strip() or None
