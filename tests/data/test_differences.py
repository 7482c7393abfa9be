"""A difference accounts for every row of both sides."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.differences import difference, difference_json
from tunesmith.records import Example, Message


def row(prompt: str, answer: str = "a", label: str | None = None, source: str = "s") -> Example:
    return Example((Message("user", prompt),), answer, label, {"source": source})


ROWS = st.lists(
    st.builds(row, st.sampled_from("pqrs"), st.sampled_from("ab"), st.sampled_from([None, "y"])),
    max_size=6,
)
PARTS = st.fixed_dictionaries({"train": ROWS, "validation": ROWS, "test": ROWS})


@given(PARTS, PARTS)
def test_every_row_is_accounted_for(
    a: dict[str, list[Example]], b: dict[str, list[Example]]
) -> None:
    found = difference(a, b)
    both = found.same + found.count("changed") + found.count("moved")
    assert found.rows_a == sum(map(len, a.values())) == both + found.count("removed")
    assert found.rows_b == sum(map(len, b.values())) == both + found.count("added")
    back = difference(b, a)
    assert (back.same, back.count("added"), back.count("moved")) == (
        found.same,
        found.count("removed"),
        found.count("moved"),
    )


@given(PARTS)
def test_nothing_lies_between_a_set_and_itself(a: dict[str, list[Example]]) -> None:
    found = difference(a, {name: rows[::-1] for name, rows in a.items()})
    assert found.changes == ()
    assert found.retold == 0
    assert all(shift.a == shift.b for shift in (*found.labels, *found.sources))


def test_each_kind_is_told() -> None:
    a = {
        "train": [row("same", label="y"), row("answer"), row("label", label="y")],
        "test": [row("moved"), row("gone")],
    }
    b = {
        "train": [row("same", label="y", source="t"), row("answer", "b"), row("label", label="n")],
        "validation": [row("moved")],
        "test": [row("new", source="t")],
    }
    found = difference(a, b)
    told = {
        c.prompt: (c.kind, c.part_a, c.part_b, c.before, c.after, c.label_before, c.label_after)
        for c in found.changes
    }
    assert told == {
        "answer": ("changed", "train", "train", "a", "b", None, None),
        "label": ("changed", "train", "train", "a", "a", "y", "n"),
        "moved": ("moved", "test", "validation", "a", "a", None, None),
        "gone": ("removed", "test", None, "a", None, None, None),
        "new": ("added", None, "test", None, "a", None, None),
    }
    assert (found.same, found.retold, found.leaked) == (1, 1, 1)
    labels = {s.name: (s.a, s.b, s.share_a, s.share_b) for s in found.labels}
    assert labels == {"y": (2, 1, 1.0, 0.5), "n": (0, 1, 0.0, 0.5)}
    assert {s.name: (s.a, s.b) for s in found.sources} == {"s": (5, 3), "t": (0, 2)}
    said = json.loads(json.dumps(difference_json(found, shown=2)))
    assert (said["changed"], said["moved"], said["test_to_training"]) == (2, 1, 1)
    assert [c["kind"] for c in said["changes"]] == ["changed", "changed"]


def test_a_set_that_is_not_divided_has_no_rows_that_moved() -> None:
    divided = {"train": [row("p")], "test": [row("q")]}
    found = difference(divided, {"all": [row("p"), row("q"), row("r")]})
    assert (found.same, found.count("moved"), found.count("added")) == (2, 0, 1)


def test_rows_are_compared_whole_and_told_masked() -> None:
    token, other = "ghp_" + "A1b2" * 9, "ghp_" + "B1c2" * 9
    long = "so that it would be cut in the middle where it is shortened: "
    a = {"all": [row(f"Key? {long}{token}"), row("b", f"Use {token}")]}
    b = {"all": [row("b", f"Use {other}"), row("c", token, label=token)]}
    found = difference(a, b)
    assert {c.kind for c in found.changes} == {"added", "removed", "changed"}
    said = json.dumps(difference_json(found))
    assert token[4:10] not in said
    assert other[4:10] not in said
    assert "[github_token]" in said
