"""What nano reads while it grows up: chats that the project itself makes, in six families.

Machines rewritten from one notation to another (never DOT), questions on machines, copying and
reordering, permissions, facts in a passage, and a little statistics. Every answer follows from its
prompt by a rule; there is no knowledge of the world in it beyond a dozen definitions.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunesmith.models.nano.machines import (
    Vocabulary,
    draw_machine,
    event_name,
    in_code,
    in_words,
    state_name,
)
from tunesmith.models.nano.notations import NOTATIONS
from tunesmith.models.nano.words import NOUNS, made_up

WORDS = Vocabulary()


@dataclass(frozen=True, slots=True)
class Chat:
    """One exchange: an optional system text, what is asked, and the answer."""

    system: str
    user: str
    answer: str


def sample(r: random.Random) -> Chat:
    """One chat from one family, drawn by the families' shares."""
    family = r.choices([f for f, _ in FAMILIES], [share for _, share in FAMILIES])[0]
    return family(r)


_ASKS = (
    "Write this state machine as {f}.",
    "Convert to {f}:",
    "Turn the description into {f}.",
    "Give {f} for this machine.",
    "Draw this as {f}. Answer with the {f} only.",
    "Please translate the machine below into {f}.",
)
_SYSTEMS = (
    "",
    "",
    "You convert state machines.",
    "You are a careful assistant.",
    "Answer with the result only.",
    "You write diagrams from descriptions and code. Answer with the diagram and nothing else.",
)


def rewrite(r: random.Random) -> Chat:
    """A machine in words, in code or in one notation, to be written in another."""
    machine = draw_machine(r, smallest=2, largest=6)
    notation = r.choice(list(NOTATIONS))
    question = r.choice(_ASKS).format(f=notation)
    given = (in_words if r.random() < 0.6 else in_code)(r, machine)
    if r.random() < 0.25:
        given = NOTATIONS[r.choice(list(NOTATIONS))](machine)
    user = f"{question}\n{given}" if r.random() < 0.6 else f"{given}\n{question}"
    return Chat(r.choice(_SYSTEMS), user, NOTATIONS[notation](machine))


def look_up(r: random.Random) -> Chat:
    """A question about one machine."""
    machine = draw_machine(r)
    described = r.random() < 0.7
    given = (
        (in_words if r.random() < 0.6 else in_code)(r, machine)
        if described
        else NOTATIONS[r.choice(list(NOTATIONS))](machine)
    )
    move = r.choice(machine.moves)
    taken = {(m.source, m.event) for m in machine.moves}
    other = event_name(r, WORDS)
    asked = other if r.random() < 0.5 else move.event
    reached = dict.fromkeys(m.target for m in machine.moves if m.source == move.source)
    question, answer = r.choice(
        (
            (f"Where does {move.event} lead from {move.source}?", move.target),
            (f"Which event leads from {move.source} to {move.target}?", move.event),
            (f"List the states reached directly from {move.source}.", ", ".join(reached)),
            ("How many transitions are there?", str(len(machine.moves))),
            ("List the events in order.", ", ".join(m.event for m in machine.moves)),
            (
                f"Is there a move from {move.source} on {asked}?",
                "yes" if (move.source, asked) in taken else "no",
            ),
        )
    )
    return Chat("", f"{given}\n{question}", answer)


def _item(r: random.Random) -> str:
    spell = r.choice((str, str.capitalize, str.upper))
    return r.choice(
        (
            lambda: spell(state_name(r, WORDS)),
            lambda: spell(state_name(r, WORDS)),
            lambda: event_name(r, WORDS),
            lambda: made_up(r),
            lambda: f"{r.choice(NOUNS)} {r.randint(1, 999)}",
        )
    )()


def _link(r: random.Random) -> str:
    host = f"{made_up(r)}.{r.choice(('example', 'edu', 'org', 'net'))}"
    way = "/".join(r.choice(NOUNS) for _ in range(r.randint(1, 3)))
    tail = r.choice(
        (
            "",
            f"?id={r.randint(1, 99)}",
            f"#{r.choice(NOUNS)}",
            f"/~{made_up(r)}?a=1&b={r.randint(1, 9)}",
        )
    )
    return f"https://{host}/{way}{tail}"


def copy(r: random.Random) -> Chat:
    """A list to repeat, turn round, quote or pick from; a link to repeat."""
    items = [_item(r) for _ in range(r.randint(3, 9))]
    listed, at, link = ", ".join(items), r.randrange(len(items) - 1), _link(r)
    question, answer = r.choice(
        (
            ("Repeat exactly:\n" + "\n".join(items), "\n".join(items)),
            (f"Reverse the list: {listed}", ", ".join(reversed(items))),
            (f"Item {at + 1} of the list: {listed}", items[at]),
            (f"Quote each word: {listed}", ", ".join(f'"{item}"' for item in items)),
            (
                f"Put each item on its own line with a dash: {listed}",
                "\n".join(f"- {item}" for item in items),
            ),
            (f"What comes after {items[at]}? {listed}", items[at + 1]),
            (f"Copy the link: see {link} for the {r.choice(NOUNS)}.", link),
        )
    )
    return Chat("", question, answer)


_DEPARTMENTS = (
    "sales finance marketing engineering legal support research operations security purchasing "
    "human_resources logistics quality training"
).split()
_ACTIONS = (
    "view_reports edit_records delete_records generate_reports approve_budget manage_users "
    "export_data audit_logs access_client_data schedule_meetings update_inventory send_messages "
    "review_contracts modify_schedule create_project"
).split()
_LEVELS = "read_only read_write administrator limited write_only full_access".split()
_CITIES = "London Paris Berlin Tokyo Madrid Oslo".split()


def _permissions(r: random.Random) -> dict[str, str | list[str]]:
    held: dict[str, str | list[str]] = {
        "department": r.sample(_DEPARTMENTS, r.randint(1, 3)),
        "access_level": r.choice(_LEVELS),
        "allowed_actions": r.sample(_ACTIONS, r.randint(1, 5)),
    }
    if r.random() < 0.3:
        held["retention_period"] = f"{r.randint(1, 9)}y"
    if r.random() < 0.3:
        held["client_restriction"] = [
            f"Client-{r.choice('ABCDEFGHXYZ')}" for _ in range(r.randint(1, 2))
        ]
    if r.random() < 0.2:
        held["location"] = r.choice(_CITIES)
    return held


def permissions(r: random.Random) -> Chat:
    """A question on a JSON object of permissions, or a request that fits it."""
    held = _permissions(r)
    text = json.dumps(held)
    field = r.choice(list(held))
    value = held[field]
    action, department = r.choice(_ACTIONS), r.choice(_DEPARTMENTS)
    allowed, where = held["allowed_actions"], held["department"]
    request = f"Please {r.choice(list(allowed))} for the {r.choice(list(where))} department."
    question, answer = r.choice(
        (
            (f"What is {field}?", value if isinstance(value, str) else ", ".join(value)),
            (f"Is {action} in allowed_actions?", "yes" if action in allowed else "no"),
            (f"Is the department {department} listed?", "yes" if department in where else "no"),
            ("How many actions are allowed?", str(len(allowed))),
            ("Write a request that fits.", request.replace("_", " ")),
        )
    )
    return Chat("", f"Permissions:\n{text}\n{question}", answer)


def facts(r: random.Random) -> Chat:
    """A few made-up facts in a passage, and a question on one of them."""
    known = [_fact(r) for _ in range(r.randint(2, 5))]
    _, question, answer = r.choice(known)
    return Chat("", f"Read: {' '.join(fact for fact, _, _ in known)}\n{question}", answer)


def _fact(r: random.Random) -> tuple[str, str, str]:
    """A sentence, a question on it, its answer."""
    name, thing = made_up(r).capitalize(), r.choice(NOUNS)
    hour = f"{r.randint(6, 11)}:{r.choice(('00', '15', '30'))}"
    phone = f"({r.randint(200, 999)}) 555-{r.randint(1000, 9999)}"
    price = f"${r.randint(1, 99) * 50}"
    person = made_up(r).capitalize()
    mail = f"{made_up(r)}@{made_up(r)}.org"
    return r.choice(
        (
            (
                f"The {thing} office of {name} opens at {hour}.",
                f"When does the {thing} office of {name} open?",
                hour,
            ),
            (
                f"The phone number of {name} is {phone}.",
                f"What is the phone number of {name}?",
                phone,
            ),
            (f"A {thing} at {name} costs {price}.", f"How much is a {thing} at {name}?", price),
            (f"The director of {name} is {person}.", f"Who is the director of {name}?", person),
            (
                f"Write to {mail} about the {thing} at {name}.",
                f"Where do I write about the {thing} at {name}?",
                mail,
            ),
        )
    )


_TERMS: Sequence[tuple[str, str]] = (
    ("mean", "the sum of the values divided by their number"),
    ("median", "the middle value of the sorted data"),
    ("variance", "the mean squared distance from the mean"),
    ("p-value", "the chance of data at least this extreme when the null hypothesis is true"),
    ("confidence interval", "a range that covers the true value in a stated share of samples"),
    ("power", "the chance of finding an effect that is really there"),
    ("control group", "the group that gets no treatment"),
    ("randomisation", "giving treatments by chance"),
    ("bias", "an error that does not shrink with more data"),
    ("effect size", "how large a difference is"),
    ("sample size", "the number of units observed"),
    ("null hypothesis", "the claim that there is no effect"),
)


def statistics(r: random.Random) -> Chat:
    """A definition, or the largest, smallest or number of a few values."""
    term, meaning = r.choice(_TERMS)
    values = [r.randint(1, 20) for _ in range(r.randint(2, 5))]
    listed = ", ".join(map(str, values))
    if r.random() < 0.5:
        return Chat("", f"What is the {term}?", f"The {term} is {meaning}.")
    question, answer = r.choice(
        (
            (f"What is the largest of {listed}?", max(values)),
            (f"What is the smallest of {listed}?", min(values)),
            (f"How many numbers are in {listed}?", len(values)),
        )
    )
    return Chat("", question, str(answer))


FAMILIES: Sequence[tuple[Callable[[random.Random], Chat], float]] = (
    (rewrite, 0.5),
    (look_up, 0.15),
    (copy, 0.14),
    (permissions, 0.08),
    (facts, 0.1),
    (statistics, 0.03),
)
