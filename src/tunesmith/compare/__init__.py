"""Two variants on the same examples: which is better, how surely, and what weakens the answer.

facts       what the pipeline hands in: TaskFacts, CompareSettings, Weaknesses
sheets      answers laid out by example; FAILED answers are no answers
measure     one pair on one metric: difference, interval, test, effect
verdict     compare(): every pair, corrected as a family, each with a verdict
estimates   estimates(): each variant by itself, with intervals
words       a comparison in plain words, and as JSON
files       compare_files(): answers that another program produced
"""

from tunesmith.compare.estimates import estimates
from tunesmith.compare.facts import CompareSettings, TaskFacts, Weaknesses
from tunesmith.compare.files import FileComparison, compare_files
from tunesmith.compare.verdict import compare, compare_metric
from tunesmith.compare.words import comparison_json, plain_words

__all__ = [
    "CompareSettings",
    "FileComparison",
    "TaskFacts",
    "Weaknesses",
    "compare",
    "compare_files",
    "compare_metric",
    "comparison_json",
    "estimates",
    "plain_words",
]
