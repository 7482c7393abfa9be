"""Is this text DOT? As Graphviz itself would judge it.

Where the `dot` program is installed, it judges (`dot -Tcanon`, exit status 0); where it is not, the
grammar and the rules for labels in this package do, which agree with it (the tests measure how
often). Where `dot` crashes or hangs, it says nothing of the text: the grammar decides then, too.

This is the one module under `tasks` that runs a program. It does so in batches, because starting
`dot` costs some thirty times as much as judging a graph.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tunesmith.tasks.dot.labels import label_fault
from tunesmith.tasks.dot.parse import DotSyntaxError, parse_all

TIMEOUT = 10.0  # seconds
BATCH = 64
WORKERS = 4  # calls of dot at a time, at most
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


def by_graphviz(texts: Sequence[str], *, timeout: float = TIMEOUT) -> list[bool]:
    """The judgement of `dot -Tcanon` on each text; a text without a graph is none.

    `timeout` in seconds, for one call of dot: whether for a batch or for a single text.
    """
    waiting = [i for i, text in enumerate(texts) if text.strip()]
    alone = [i for i in waiting if _without_graph(texts[i])]
    batched = sorted(set(waiting) - set(alone))
    groups = [batched[k : k + BATCH] for k in range(0, len(batched), BATCH)]
    with tempfile.TemporaryDirectory(prefix="tunesmith-dot-") as name:
        desk = _Desk(Path(name), texts, secrets.token_hex(8), timeout)
        for i in waiting:
            desk.lay(f"{i}.dot", texts[i])
            desk.lay(f"p{i}.dot", f"probe_{desk.nonce}")
        with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool:
            found = list(pool.map(desk.judge, [*groups, *([i] for i in alone)]))
    sound = set().union(*found)
    return [i in sound for i in range(len(texts))]


def _without_graph(text: str) -> bool:
    """A text that may hold no graph at all (comments, say): dot passes over it without a word."""
    bare = re.sub(r"//[^\n]*|#[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
    return "{" not in bare.partition("@")[0]


@dataclass(frozen=True, slots=True)
class _Desk:
    """Texts laid out as files for dot: text i is `i.dot`, and behind it in a batch comes `pi.dot`.

    That is a probe, a single word. dot refuses it by name, and so says where the complaints about
    text i end. A string, comment or label that a text leaves open goes on in the next file
    (Graphviz 2.43), swallows the probe and is seen by that.
    """

    folder: Path
    texts: Sequence[str]
    nonce: str
    timeout: float

    def lay(self, name: str, text: str) -> None:
        """Write one file."""
        (self.folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))

    def judge(self, group: Sequence[int]) -> set[int]:
        """The sound texts of a group, in one call of dot if all goes well."""
        if len(group) <= 1:
            return {i for i in group if self._alone(i)}
        files = [name for i in group for name in (f"{i}.dot", f"p{i}.dot")]
        code, complaints, _ = self._dot(files)
        if code not in {0, 1}:  # a text that makes dot hang is not looked for by halves
            step = 1 if code is None else len(group) // 2
            parts = (group[k : k + step] for k in range(0, len(group), step))
            return set().union(*(self.judge(part) for part in parts))
        clear, unclear = self._sort(group, complaints)
        return clear.union(*(self.judge([i]) for i in unclear))

    def _sort(self, group: Sequence[int], complaints: bytes) -> tuple[set[int], list[int]]:
        """Texts that dot took, and texts about which a batch says too little."""
        sound: set[int] = set()
        unclear: list[int] = []
        open_since: list[int] = []
        for i in group:
            probe = rf"Error: p{i}\.dot: syntax error.*near 'probe_{self.nonce}'".encode()
            about, *rest = re.split(probe, complaints, maxsplit=1)
            open_since.append(i)
            if not rest:
                continue
            complaints = rest[0]
            if len(open_since) > 1:
                unclear += open_since
            elif b"Error" not in about:
                sound.add(i)
            elif f"Error: {i}.dot: syntax error".encode() not in about:
                unclear.append(i)
            open_since = []
        return sound, unclear + open_since

    def _alone(self, i: int) -> bool:
        code, _, output = self._dot([f"{i}.dot"])
        if code not in {0, 1}:
            return by_grammar(self.texts[i])
        return code == 0 and bool(output.strip())

    def _dot(self, files: Sequence[str]) -> tuple[int | None, bytes, bytes]:
        """Exit status (None: too slow), complaints and output of one call of dot."""
        program = shutil.which("dot") or "dot"
        command = [program, "-Tcanon", *files]
        if shutil.which("sh") is not None:
            command = ["sh", "-c", _LIMITED, *command]
        try:
            done = subprocess.run(
                command, cwd=self.folder, capture_output=True, timeout=self.timeout, check=False
            )
        except subprocess.TimeoutExpired:
            return None, b"", b""
        return done.returncode, done.stderr, done.stdout
