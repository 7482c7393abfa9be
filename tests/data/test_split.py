"""Splitting: disjoint, complete, stratified, and blind to the order of the rows."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data import findings
from tunesmith.data.split import split, twins, withheld
from tunesmith.errors import DataError
from tunesmith.records import Example, Message, Splits


def example(
    prompt: str,
    label: str = "yes",
    *,
    source: str = "s",
    role: str = "",
    place: str = "",
    group: str = "",
) -> Example:
    meta = {"source": source} | ({"role": role} if role else {})
    meta |= {"split_group": group} if group else {}
    return Example((Message("user", prompt),), f"{label}!", label, meta, place)


def parts(splits: Splits) -> list[tuple[Example, ...]]:
    return [splits.train, splits.validation, splits.test]


EXAMPLES = st.lists(
    st.builds(
        example,
        st.sampled_from([f"prompt {i}" for i in range(40)]),
        st.sampled_from(["yes", "no", "rare"]),
        source=st.sampled_from(["easy", "hard"]),
        role=st.sampled_from(["", "", "train", "test"]),
        group=st.sampled_from(["", "", "a", "b", "c"]),
    ),
    min_size=1,
    max_size=80,
)


@given(EXAMPLES, st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([0.0, 0.2, 0.4]), st.integers())
def test_disjoint_complete_and_blind_to_order(
    examples: list[Example], validation: float, test: float, seed: int
) -> None:
    placed = [
        example(
            e.messages[0].content,
            e.label or "",
            source=e.meta["source"],
            role=e.meta.get("role", ""),
            place=f"f:{i}",
            group=e.meta.get("split_group", ""),
        )
        for i, e in enumerate(examples)
    ]
    try:
        first = split(placed, validation=validation, test=test, seed=seed)
    except DataError as error:
        assert error.hint
        return
    keys = [{e.prompt_key for e in part} for part in parts(first)]
    assert not keys[0] & keys[1]
    assert not keys[0] & keys[2]
    assert not keys[1] & keys[2]
    origins = [
        {e.meta["split_group"] for e in part if "split_group" in e.meta} for part in parts(first)
    ]
    assert not (origins[0] & origins[1] or origins[0] & origins[2] or origins[1] & origins[2])
    left_out = Counter(reject.place for reject in withheld(placed))
    assert Counter(e.place for part in parts(first) for e in part) + left_out == Counter(
        e.place for e in placed
    )
    assert all(e.meta.get("role") != "train" for e in first.test)
    assert all(e.meta.get("role") != "test" for e in (*first.train, *first.validation))
    shuffled = random.Random(seed).sample(placed, len(placed))
    assert split(shuffled, validation=validation, test=test, seed=seed) == first


def test_quotas_are_exact_where_every_prompt_stands_once() -> None:
    examples = [
        example(f"{source} {label} {i}", label, source=source)
        for source, label, n in (
            ("easy", "yes", 500),
            ("easy", "no", 300),
            ("hard", "yes", 100),
            ("hard", "rare", 37),
        )
        for i in range(n)
    ]
    splits = split(examples, validation=0.1, test=0.2, seed=7)
    assert splits.sizes() == {"train": 675, "validation": 75, "test": 187}
    strata = Counter((e.meta["source"], e.label) for e in splits.test)
    assert strata[("easy", "yes")] == 100
    assert strata[("easy", "no")] == 60
    assert strata[("hard", "yes")] == 20
    assert strata[("hard", "rare")] == 7


@given(
    st.lists(st.sampled_from(["yes", "no", "rare"]), min_size=2, max_size=120),
    st.sampled_from([0.1, 0.25, 0.5]),
    st.integers(0, 2**32),
)
def test_each_label_has_its_share_to_within_a_row(
    labels: list[str], test: float, seed: int
) -> None:
    examples = [example(f"p{i}", label) for i, label in enumerate(labels)]
    found = split(examples, validation=0.0, test=test, seed=seed)
    shares = Counter(e.label for e in found.test)
    assert all(abs(shares[label] - test * n) <= 1 for label, n in Counter(labels).items())
    assert abs(len(found.test) - test * len(labels)) <= 1


@given(
    st.lists(st.tuples(st.sampled_from(["yes", "no"]), st.integers(1, 4)), min_size=4, max_size=60),
    st.integers(0, 2**32),
)
def test_each_label_has_its_share_to_within_a_group(
    groups: list[tuple[str, int]], seed: int
) -> None:
    examples = [
        example(f"p{i}", label, place=f"{i}.{j}")
        for i, (label, size) in enumerate(groups)
        for j in range(size)
    ]
    found = split(examples, validation=0.0, test=0.4, seed=seed)
    taken = Counter(e.label for e in found.test)
    for label, n in Counter(e.label for e in examples).items():
        assert abs(taken[label] - 0.4 * n) <= max(s for x, s in groups if x == label)


def test_groups_stay_whole_and_quotas_hold_to_within_one() -> None:
    draw = random.Random(1)
    examples = [
        example(f"p{i}", draw.choice(["yes", "no"]), place=f"{i}.{j}")
        for i in range(300)
        for j in range(draw.choice([1, 1, 1, 2, 5]))
    ]
    splits = split(examples, validation=0.1, test=0.2, seed=0)
    assert abs(len(splits.test) - 0.2 * len(examples)) <= 5
    assert not {e.prompt_key for e in splits.test} & {e.prompt_key for e in splits.train}


def test_the_seed_matters_and_a_few_new_rows_move_few_old_ones() -> None:
    examples = [example(f"p{i}") for i in range(1000)]
    one = split(examples, validation=0.1, test=0.2, seed=1)
    two = split(examples, validation=0.1, test=0.2, seed=2)
    assert {e.id for e in one.test} != {e.id for e in two.test}
    more = split(
        [*examples, *(example(f"q{i}") for i in range(20))], validation=0.1, test=0.2, seed=1
    )
    moved = {e.id for e in one.test} - {e.id for e in more.test}
    assert len(moved) <= 20


def test_the_same_on_every_machine_and_hash_seed() -> None:
    code = (
        "from tunesmith.data.split import split\n"
        "from tunesmith.records import Example, Message\n"
        "e = [Example((Message('user', f'p{i}'),), 'x', 'ab'[i % 2]) for i in range(20)]\n"
        "s = split(e, validation=0.2, test=0.2, seed=3)\n"
        "print(*(e.messages[0].content for e in s.test + s.validation))"
    )
    for hash_seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
        )
        # Frozen: a change here moves rows between the parts of every data set ever split.
        assert done.stdout.strip() == GOLDEN


GOLDEN = "p10 p11 p7 p14 p19 p16 p12"


def test_a_test_source_stays_whole_and_takes_its_prompts_out_of_training() -> None:
    examples = [
        *(example(f"t{i}", source="test", role="test", place=f"t:{i}") for i in range(10)),
        *(example(f"p{i}", source="rest", place=f"p:{i}") for i in range(20)),
        example("t3", "no", source="rest", role="train", place="x:1"),
    ]
    splits = split(examples, validation=0.1, test=0.0, seed=0)
    assert sorted(e.place for e in splits.test) == [f"t:{i}" for i in range(10)]
    left_out = withheld(examples)
    assert [(r.place, "t:3" in r.reason) for r in left_out] == [("x:1", True)]
    (finding,) = findings.withheld(left_out)
    assert finding.count == 1
    assert not list(findings.withheld(()))


def test_rows_made_from_one_document_are_never_parted() -> None:
    examples = [
        example(f"{wording} {i}", source=source, place=f"{source}:{i}", group=f"document {i}")
        for source, wording in (("human", "Why is it"), ("made", "For what reason is it"))
        for i in range(60)
    ]
    found = split(examples, validation=0.1, test=0.2, seed=1)
    assert found.sizes() == {"train": 86, "validation": 10, "test": 24}
    tested = {e.meta["split_group"] for e in found.test}
    assert len(tested) == 12
    assert not tested & {e.meta["split_group"] for e in (*found.train, *found.validation)}


def test_a_shared_prompt_joins_two_origins() -> None:
    joined = [
        example("p", group="a", place="1"),
        example("p", group="b", place="2"),
        example("q", group="b", place="3"),
    ]
    others = [example(f"o{i}", place=f"o{i}") for i in range(6)]
    for seed in range(20):
        found = split([*joined, *others], validation=0.0, test=0.4, seed=seed)
        held = [sum(e in part for e in joined) for part in parts(found)]
        assert sorted(held) == [0, 0, 3]


def test_what_a_test_row_was_made_from_is_not_trained_on() -> None:
    examples = [
        example("asked", role="test", group="document", place="t:1"),
        example("asked otherwise", group="document", place="x:1"),
        *(example(f"p{i}", place=f"p:{i}") for i in range(4)),
    ]
    (left_out,) = withheld(examples)
    assert left_out.place == "x:1"
    assert left_out.reason == "its origin stands in the test source, too (t:1)"
    assert "x:1" not in {e.place for e in split(examples, validation=0, test=0, seed=0).train}


def test_what_is_made_from_one_thing_can_be_parted_on_demand() -> None:
    examples = [example(f"p{i}", group="one", place=f"p:{i}") for i in range(20)]
    with pytest.raises(DataError, match=r"the largest has 20 rows \(made from 'one'\)") as caught:
        split(examples, validation=0.1, test=0.2, seed=0)
    assert "data.keep_together: false" in caught.value.hint
    apart = split(examples, validation=0.1, test=0.2, seed=0, together=False)
    assert apart.sizes() == {"train": 14, "validation": 2, "test": 4}


def test_a_large_group_leaves_rows_for_test_and_validation() -> None:
    examples = [example(f"p{i}", group="one", place=f"p:{i}") for i in range(180)]
    examples += [example(f"q{i}", place=f"q:{i}") for i in range(20)]
    found = split(examples, validation=0.1, test=0.1, seed=0)
    assert found.sizes() == {"train": 180, "validation": 9, "test": 11}


def test_twins_are_exact_or_near() -> None:
    train = [example(f"Grant the {w} team access to the quarterly {w} report") for w in "abcdef"]
    test = [
        example("Grant the a team access to the quarterly a report", "no"),
        example("grant the b team  access to the quarterly b report!"),
        example("Something else altogether, about the weather in spring"),
    ]
    assert twins(train, test) == {test[0].id, test[1].id}
    assert twins([], test) == frozenset()


def test_too_little_data_or_a_wrong_share_is_said() -> None:
    with pytest.raises(DataError, match="1 distinct prompts or origins"):
        split([example("p")] * 5, validation=0.1, test=0.2, seed=0)
    with pytest.raises(DataError, match=r"test share is 1\.5"):
        split([example("p")], validation=0.1, test=1.5, seed=0)
    with pytest.raises(DataError, match="nothing to test on"):
        only = [example(f"p{i}", role="train") for i in range(9)]
        split(only, validation=0.1, test=0.2, seed=0)
