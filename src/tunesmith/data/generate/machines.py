"""State machines, described in words or in code, with the DOT graph that draws them.

The rows look like those of AnecDOT (source, input_text, input_code, output_dot), with a `kind`.
The words of which states and events are made are divided once for all by a hash: no state and no
event of the test part stands in the training part.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from typing import Literal

from tunesmith.models.nano.machines import Machine, Vocabulary, draw_machine, in_code, in_words
from tunesmith.models.nano.words import EVENTS, NOUNS, STATES

SMALLEST, LARGEST = 3, 5  # states
_TEST_SHARE = 4  # one word in so many belongs to the test part


def machine_rows(
    rows: int, seed: int, part: Literal["train", "test"]
) -> Iterator[dict[str, str | None]]:
    """`rows` different machines, half in words (`described`), half in code (`coded`)."""
    words = vocabulary(part)
    r = random.Random(f"machines {part} {seed}")
    seen: set[str] = set()
    while len(seen) < rows:
        machine = draw_machine(r, smallest=SMALLEST, largest=LARGEST, words=words)
        described = len(seen) % 2 == 0
        given = in_words(r, machine) if described else in_code(r, machine)
        if given in seen:
            continue
        seen.add(given)
        yield {
            "source": "machines",
            "kind": "described" if described else "coded",
            "input_text": given if described else None,
            "input_code": None if described else given,
            "output_dot": draw(machine),
        }


def vocabulary(part: Literal["train", "test"]) -> Vocabulary:
    """The words of one part; the two have none in common."""

    def mine(words: Sequence[str]) -> tuple[str, ...]:
        return tuple(w for w in words if (part == "test") == _held_out(w))

    return Vocabulary(mine(STATES), mine(EVENTS), mine(NOUNS), made_up=0.0)


def _held_out(word: str) -> bool:
    return zlib.crc32(word.encode()) % _TEST_SHARE == 0


def draw(machine: Machine) -> str:
    """The machine as DOT: an edge for each move, labelled with its event."""
    edges = "".join(f'  "{m.source}" -> "{m.target}" [label="{m.event}"];\n' for m in machine.moves)
    return f"digraph machine {{\n  rankdir=LR;\n{edges}}}"
