"""What an assistant of a made-up university must know by heart: one generator a topic.

Three topics (a programme of study, housing, dining), each with its own places and the same kinds
of answers: a telephone number, an e-mail address, a price, opening hours, a link with a query
string and a fragment. The facts follow from the topic and the seed alone, so training and test
part speak of the same ones. What is asked at the end are known facts in wordings that training
never shows: as with a real assistant, it is measured whether it has learned the facts, not whether
it can answer about places it was never told of. No fact stands in two topics, and nothing in a
question gives its answer away, so that what a later topic overwrites shows.

A row has `question`, `answer`, `kind` (phone, mail, price, hours, link), `topic`, `entity`, and as
its `split_group` the wording: where a source is divided, a wording is never parted, and the same
ones are held out of every topic. The part `test` has three more wordings of each kind, for a source
of its own.
Numbers are of the range kept for fiction (555-0100 to 555-0199) and hosts end in `.example` (RFC
2606): nobody is reached by them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tunesmith.errors import ConfigError

Part = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Topic:
    """What one topic speaks of; `priced` and `page` say what costs money and what is linked."""

    name: str
    entities: tuple[str, ...]
    priced: str
    page: str
    amounts: tuple[int, int]  # whole dollars, lowest and highest


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing to know: who it is about, what kind it is, and the answer in full."""

    entity: str
    kind: str
    answer: str


def _places(kind: str, names: str) -> tuple[str, ...]:
    return tuple(f"{name} {kind}" for name in names.split())


TOPICS: Mapping[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic(
            "programme",
            _places("School", "Tahomal Dosokan Lebire Hesakor Mibon Filon Ravicar Namir"),
            "a term",
            "course list",
            (400, 990),
        ),
        Topic(
            "housing",
            _places("House", "Kihigan Vokases Desigas Derovel Memehi Zodoken Beter Lotizur"),
            "a room",
            "room plan",
            (300, 890),
        ),
        Topic(
            "dining",
            _places("Kitchen", "Fekafis Mezor Lasican Tiradil Rezuken Mogasol Gonelen Pabozol"),
            "a meal",
            "menu",
            (5, 29),
        ),
    )
}

# What is asked, by kind: wordings of the training part, then those of the test part alone. Each has
# a word that others of its kind have, too: nano has read too little to know what words mean alike.
WORDINGS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "phone": (
        (
            "What is the phone number of {e}?",
            "Which phone number does {e} have?",
            "Give me the phone number for {e}.",
            "Can I reach {e} by phone?",
            "Please tell me how to phone {e}.",
            "How can I call {e}?",
            "I want to call {e}. What is the number?",
            "{e}: what number do I call?",
            "What do I dial to call {e}?",
            "Can I call {e}? On which number?",
        ),
        (
            "Which number do I call to reach {e}?",
            "Tell me the phone number of {e}, please.",
            "I need to phone {e}. How?",
        ),
    ),
    "mail": (
        (
            "What is the e-mail address of {e}?",
            "Which e-mail address does {e} have?",
            "Give me the e-mail address for {e}.",
            "Can I reach {e} by e-mail?",
            "Please tell me how to e-mail {e}.",
            "How can I write to {e}?",
            "I want to write to {e}. What is the address?",
            "{e}: where do I write to?",
            "To which address do I write for {e}?",
            "Can I write to {e}? At which address?",
        ),
        (
            "Which address do I write to for {e}?",
            "Tell me the e-mail address of {e}, please.",
            "I need to e-mail {e}. How?",
        ),
    ),
    "price": (
        (
            "What does {p} cost at {e}?",
            "How much does {p} cost at {e}?",
            "{e}: what is the cost of {p}?",
            "What is the price of {p} at {e}?",
            "Give me the price of {p} at {e}.",
            "Please tell me the price of {p} at {e}.",
            "I want {p} at {e}. How much do I pay?",
            "What do I pay for {p} at {e}?",
            "How much is {p} at {e}?",
            "Is {p} at {e} expensive? How much is it?",
        ),
        (
            "At {e}, what do I pay for {p}?",
            "Tell me the price of {p} at {e}, please.",
            "I need {p} at {e}. What does it cost?",
        ),
    ),
    "hours": (
        (
            "When is {e} open?",
            "At what time is {e} open?",
            "How long is {e} open?",
            "{e}: from when to when is it open?",
            "I want to visit {e}. When is it open?",
            "What are the opening hours of {e}?",
            "Give me the opening hours for {e}.",
            "Which opening hours does {e} have?",
            "When does {e} open, and when does it close?",
            "Please tell me when {e} is open.",
        ),
        (
            "At which hours is {e} open?",
            "Tell me the opening hours of {e}, please.",
            "I need to go to {e}. When does it open?",
        ),
    ),
    "link": (
        (
            "Where is the {g} of {e}?",
            "What is the link to the {g} of {e}?",
            "On which page do I find the {g} of {e}?",
            "I want to see the {g} of {e}. Where is it?",
            "Give me the link to the {g} of {e}.",
            "{e}: where do I find the {g}?",
            "Is the {g} of {e} on the web?",
            "Please tell me where to read the {g} of {e}.",
            "Which page has the {g} of {e}?",
            "Does {e} have a {g}? Where is it?",
        ),
        (
            "Which link leads to the {g} of {e}?",
            "Tell me where the {g} of {e} is, please.",
            "I need the {g} of {e}. Which page is it on?",
        ),
    ),
}
KINDS = tuple(WORDINGS)

# Answers are made of what nano has read (its own kind of names, nouns, figures), but for `%`.
# Nothing tells the vector of a token that it never read from those of others like it, and a LoRA
# leaves these vectors alone: of several such tokens it writes the wrong one.
_MAILBOXES = ("info", "desk", "form", "room", "card", "book")
_PAGES = ("room", "table", "book", "page", "garden", "house")
_QUERIES = ("id=7", "a=1", "b=2", "t=8:30", "a=5", "b=2%20c", "id=31")
_FRAGMENTS = ("list", "form", "card", "key", "box")


def facts(topic: Topic, seed: int) -> tuple[Fact, ...]:
    """Every fact of a topic, entity by entity; the same for both parts of a seed's data."""
    r = random.Random(f"campus {topic.name} {seed}")
    low, high = topic.amounts
    count = len(topic.entities)
    # A telephone number belongs to one place of one topic: each topic has its own thirty.
    first = 100 + 30 * list(TOPICS).index(topic.name)
    phones = r.sample(range(first, first + 30), count)
    prices = r.sample(range(low, high + 1), count)
    found: list[Fact] = []
    for entity, phone, price in zip(topic.entities, phones, prices, strict=True):
        host = f"{entity.split()[0].lower()}.example"
        opens = f"{r.randint(6, 10)}:{r.choice(('00', '30'))}"
        closes = f"{r.randint(15, 22)}:{r.choice(('00', '30'))}"
        path, query = r.choice(_PAGES), "&".join(r.sample(_QUERIES, 2))
        answers = {
            "phone": f"The number is (417) 555-0{phone}.",
            "mail": f"Write to {r.choice(_MAILBOXES)}@{host}.",
            "price": f"It costs ${price}.",
            "hours": f"It is open from {opens} to {closes}.",
            "link": f"See https://{host}/~{path}?{query}#{r.choice(_FRAGMENTS)}.",
        }
        found += [Fact(entity, kind, answers[kind]) for kind in KINDS]
    return tuple(found)


def campus_rows(topic: str, rows: int, seed: int, part: Part) -> Iterator[dict[str, str | None]]:
    """`rows` questions on one topic; ConfigError where it has not so many.

    The first rows ask for every fact once, the next ones for every fact in a second wording, and
    so on: a part of any size is balanced.
    """
    of, known = TOPICS[topic], facts(TOPICS[topic], seed)
    wordings = {kind: WORDINGS[kind][part == "test"] for kind in KINDS}
    most = sum(len(wordings[fact.kind]) for fact in known)
    if rows > most:
        raise ConfigError(
            f"the topic {topic} has {most} questions in its {part} part, not {rows}",
            hint=f"Ask for {most} rows or fewer.",
        )
    r = random.Random(f"campus {topic} {seed} {part}")
    orders = [r.sample(wordings[fact.kind], len(wordings[fact.kind])) for fact in known]
    for row in range(rows):
        turn, at = divmod(row, len(known))
        fact, wording = known[at], orders[at][turn]
        yield {
            "question": wording.format(e=fact.entity, p=of.priced, g=of.page),
            "answer": fact.answer,
            "kind": fact.kind,
            "topic": topic,
            "entity": fact.entity,
            "split_group": wording,
        }
