"""Is this text DOT? As Graphviz itself would judge it.

Where the `dot` program is installed, it judges (`dot -Tcanon`, exit status 0); where it is not, the
grammar and the rules for labels in this package do, which agree with it (tests/tasks/dot measures
how often). Crashes of `dot` say nothing of the text: the grammar decides then, too.

This is the one module under `tasks` that runs a program. It does so in batches, because starting
`dot` costs some thirty times as much as judging a graph.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tunesmith.tasks.dot.labels import label_fault
from tunesmith.tasks.dot.parse import DotSyntaxError, parse_all

TIMEOUT = 10.0  # seconds for one text; a graph that takes longer is no use to anybody
BATCH = 64
KEPT = 50_000  # verdicts remembered
# An absurd attribute (minlen=99999999) makes dot ask for all the memory there is.
_LIMITED = 'ulimit -v 4194304 2>/dev/null; exec "$0" "$@"'


@dataclass(frozen=True, slots=True)
class Judge:
    """Who judges validity on this machine: "graphviz" or "grammar", and its version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@cache
def judge() -> Judge:
    """Graphviz where `dot` is installed and runs, else the grammar of this package."""
    program = shutil.which("dot")
    if program is not None:
        done = subprocess.run([program, "-V"], capture_output=True, text=True, check=False)
        version = re.search(r"version (\S+)", done.stderr + done.stdout)
        if done.returncode == 0 and version is not None:
            return Judge("graphviz", version.group(1))
    return Judge("grammar", "lib/cgraph 2.43")


_known: dict[str, bool] = {}


def valid(text: str) -> bool:
    """Whether the text is one or more DOT graphs and nothing else."""
    return valid_all([text])[0]


def valid_all(texts: Sequence[str]) -> list[bool]:
    """`valid` for many texts at once; verdicts are remembered for as long as the process lives."""
    new = [t for t in dict.fromkeys(texts) if t not in _known]
    if len(_known) + len(new) > KEPT:
        _known.clear()
        new = list(dict.fromkeys(texts))
    asked = by_graphviz(new) if judge().name == "graphviz" else [by_grammar(t) for t in new]
    _known.update(zip(new, asked, strict=True))
    return [_known[t] for t in texts]


def by_grammar(text: str) -> bool:
    """The judgement of this package alone."""
    try:
        return all(label_fault(graph) is None for graph in parse_all(text))
    except DotSyntaxError:
        return False


def by_graphviz(texts: Sequence[str]) -> list[bool]:
    """The judgement of `dot -Tcanon` on each text; an empty text is no graph."""
    verdicts = {i: False for i, text in enumerate(texts) if not text.strip()}
    waiting = [i for i in range(len(texts)) if i not in verdicts]
    with tempfile.TemporaryDirectory(prefix="tunesmith-dot-") as folder:
        files = {i: Path(folder, f"{i}.dot") for i in waiting}
        for i, path in files.items():
            path.write_bytes(texts[i].encode("utf-8", "surrogatepass"))
        for begin in range(0, len(waiting), BATCH):
            _judge(waiting[begin : begin + BATCH], files, texts, verdicts)
    return [verdicts[i] for i in range(len(texts))]


def _judge(
    group: list[int], files: dict[int, Path], texts: Sequence[str], verdicts: dict[int, bool]
) -> None:
    """Settle a group: all valid if dot takes them all; drop those it names; else halve it."""
    if not group:
        return
    code, complaints, output = _dot([files[i] for i in group])
    if len(group) == 1:
        only = group[0]
        if code is not None and code not in {0, 1}:
            verdicts[only] = by_grammar(texts[only])  # killed by a signal: dot's own fault
        else:
            verdicts[only] = code == 0 and bool(output.strip())
        return
    if code == 0 and output.count(b"graph ") >= len(group):
        singles = _without_graph(group, texts)
        verdicts.update({i: True for i in group if i not in singles})
        for i in singles:
            _judge([i], files, texts, verdicts)
        return
    named = {int(n) for n in re.findall(rb"(\d+)\.dot: syntax error", complaints)} & set(group)
    if code == 1 and named:
        verdicts.update(dict.fromkeys(named, False))
        _judge([i for i in group if i not in named], files, texts, verdicts)
        return
    middle = len(group) // 2
    _judge(group[:middle], files, texts, verdicts)
    _judge(group[middle:], files, texts, verdicts)


def _without_graph(group: list[int], texts: Sequence[str]) -> set[int]:
    """Texts that may hold no graph at all (nothing but comments): dot does not complain of them."""
    return {i for i in group if "{" not in re.sub(r"//[^\n]*|#[^\n]*|/\*.*?\*/", "", texts[i])}


def _dot(files: Sequence[Path]) -> tuple[int | None, bytes, bytes]:
    """Exit status (None: too slow), complaints and output of one call of dot."""
    program = shutil.which("dot") or "dot"
    command = [program, "-Tcanon", *(f.name for f in files)]
    if shutil.which("sh") is not None:
        command = ["sh", "-c", _LIMITED, *command]
    try:
        done = subprocess.run(
            command, cwd=files[0].parent, capture_output=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return None, b"", b""
    return done.returncode, done.stderr, done.stdout
