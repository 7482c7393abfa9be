"""DOT: parse it, judge its validity, find it in an answer, compare two graphs."""

from tunesmith.tasks.dot.extract import Found, extract_graph, find_graph
from tunesmith.tasks.dot.parse import DotSyntaxError, Edge, Graph, parse
from tunesmith.tasks.dot.similarity import Similarity, compare_graphs
from tunesmith.tasks.dot.validity import Judge, judge, valid, valid_all

__all__ = [
    "DotSyntaxError",
    "Edge",
    "Found",
    "Graph",
    "Judge",
    "Similarity",
    "compare_graphs",
    "extract_graph",
    "find_graph",
    "judge",
    "parse",
    "valid",
    "valid_all",
]
