"""Random finite state machines, and the ways in which people put them into words and code."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.models.nano.words import EVENTS, NOUNS, STATES, made_up


@dataclass(frozen=True, slots=True)
class Move:
    """One transition: in `source`, on `event`, go to `target`."""

    source: str
    event: str
    target: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A deterministic machine; its first state is the initial one, and reaches all others."""

    name: str
    states: tuple[str, ...]
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words that machines are made of, and the share of words made up on the spot."""

    states: Sequence[str] = STATES
    events: Sequence[str] = EVENTS
    nouns: Sequence[str] = NOUNS
    made_up: float = 0.08


def draw_machine(
    r: random.Random, *, smallest: int = 2, largest: int = 7, words: Vocabulary | None = None
) -> Machine:
    """A random machine of `smallest` to `largest` states, at most three moves beyond a tree."""
    words = words or Vocabulary()
    spell = r.choice((str, str, str.capitalize, str.capitalize, str.upper))
    wanted = r.randint(smallest, largest)
    states: list[str] = []
    while len(states) < wanted:
        name = spell(state_name(r, words))
        if name not in states:
            states.append(name)
    moves: dict[tuple[int, str], int] = {}
    for at in range(1, wanted):
        _add(r, words, moves, r.randrange(at), at)
    for _ in range(r.randint(0, 3)):
        _add(r, words, moves, r.randrange(wanted), r.randrange(wanted))
    listed = [Move(states[a], event, states[b]) for (a, event), b in moves.items()]
    if r.random() < 0.3:
        r.shuffle(listed)
    tail = r.choice(("", "_" + r.choice(words.nouns)))
    return Machine(r.choice(words.nouns) + tail, tuple(states), tuple(listed))


def _add(
    r: random.Random, words: Vocabulary, moves: dict[tuple[int, str], int], a: int, b: int
) -> None:
    event = event_name(r, words)
    while (a, event) in moves:
        event = event_name(r, words)
    moves[a, event] = b


def state_name(r: random.Random, words: Vocabulary) -> str:
    """A state: a word, two words, or one made up."""
    kind = r.random()
    if kind < words.made_up:
        return made_up(r)
    if kind < 0.7:
        return r.choice(words.states)
    if kind < 0.88:
        return r.choice(words.nouns) + "_" + r.choice(words.states)
    return r.choice(words.states) + "_" + r.choice(words.nouns)


def event_name(r: random.Random, words: Vocabulary) -> str:
    """An event: a word, a word with its object, or one made up."""
    kind = r.random()
    if kind < words.made_up:
        return made_up(r)
    if kind < 0.8:
        return r.choice(words.events)
    return r.choice(words.events) + "_" + r.choice(words.nouns)


SENTENCES = (
    "From {a}, {e} leads to {b}.",
    "In {a}, on {e}, go to {b}.",
    "When {e} happens in {a}, it moves to {b}.",
    "{e} takes it from {a} to {b}.",
    "{a} becomes {b} after {e}.",
    "The event {e} moves {a} to {b}.",
    "If {e} occurs while {a}, the next state is {b}.",
)
OPENINGS = (
    "The {n} starts in {s}.",
    "A {n} has the states {all}. It begins in {s}.",
    "Machine {n}, initial state {s}.",
    "{n}: {count} states, the first is {s}.",
)
CODE = (
    "{a} => {b}: {e};",
    'add("{a}", "{e}", "{b}")',
    "{a} --{e}--> {b}",
    '("{e}", "{a}", "{b}"),',
    "on {e}: {a} => {b}",
    "{a},{e},{b}",
)
HEADERS = (
    "machine {n}\ninitial {s}\n",
    "# {n}\nstart = {s}\n",
    "{n}:\n",
    "states: {all}\ninitial: {s}\n",
)


def in_words(r: random.Random, machine: Machine) -> str:
    """The machine in sentences, of one form or of several."""
    form = r.choice(SENTENCES)
    mixed = r.random() < 0.4
    lines = [_fill(r.choice(SENTENCES) if mixed else form, m) for m in machine.moves]
    return " ".join((_head(r.choice(OPENINGS), machine), *lines))


def in_code(r: random.Random, machine: Machine) -> str:
    """The machine in one of several little notations, a move a line."""
    form = r.choice(CODE)
    return _head(r.choice(HEADERS), machine) + "\n".join(_fill(form, m) for m in machine.moves)


def _fill(form: str, move: Move) -> str:
    return form.format(a=move.source, e=move.event, b=move.target)


def _head(form: str, machine: Machine) -> str:
    return form.format(
        n=machine.name,
        s=machine.states[0],
        all=", ".join(machine.states),
        count=len(machine.states),
    )
