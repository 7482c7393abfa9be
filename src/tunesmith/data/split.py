"""Split: by prompt and origin, stratified by source and label, the same on every machine.

Rows that share a prompt, or that were made from one thing (`meta["split_group"]`: the document
that generated rows cite, or that a question and its paraphrases share), form a group, and a group
is never parted: a test example whose prompt or whose source was trained on measures memory. The
order in which groups are taken is a hash of the seed and the group's name (its prompt, where it has
no other), so neither the order of the rows nor the machine matters, and adding rows moves few of
the old ones.
Within a stratum (source, label) the quota of each part follows by largest remainders; the counts
are exact to within a group.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.data.near import near_duplicates, prompt_text
from tunesmith.errors import DataError
from tunesmith.records import TOGETHER, Example, Reject, Splits

Stratum = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows that share a prompt or an origin, and where the hash puts them in the queue."""

    rank: str
    rows: tuple[Example, ...]
    stratum: Stratum


def split(
    examples: Sequence[Example],
    *,
    validation: float,
    test: float,
    seed: int,
    together: bool = True,
) -> Splits:
    """Part the examples; `test` is a share of the divided ones, `validation` of what is not test.

    `meta["role"]` of an example says what may become of it: "test" goes to the test part whole,
    "train" never goes there, anything else is divided. A group that holds test-role rows is
    theirs: its other rows are in no part (`withheld` lists them with the reason). Each part comes
    in the hash's order. Without `together` a group is a prompt alone. Raises DataError where a part
    that was asked for would be empty.
    """
    _check_shares(validation, test)
    groups, fixed = _groups(_joined(examples, together=together), seed)
    divided = [g for g in groups if not _train_only(g)]
    trained = [g for g in groups if _train_only(g)]
    tested, rest = _take(divided, test, leave=validation)
    validated, kept = _take([*rest, *trained], validation)
    parts = Splits(
        train=_flat(kept, seed),
        validation=_flat(validated, seed),
        test=_flat([*fixed, *tested], seed),
    )
    _check_parts(parts, [*groups, *fixed], validation=validation, test=test)
    return parts


def withheld(examples: Sequence[Example], *, together: bool = True) -> tuple[Reject, ...]:
    """Rows that `split` leaves out: their group also has rows of a test source."""
    if all(e.meta.get("role") != "test" for e in examples):
        return ()
    left: list[Reject] = []
    for rows in _joined(examples, together=together).values():
        tested = next((e for e in rows if e.meta.get("role") == "test"), None)
        if tested is not None:
            left += [_withheld(e, tested) for e in rows if e.meta.get("role") != "test"]
    places = {e.place: number for number, e in enumerate(examples)}
    return tuple(sorted(left, key=lambda reject: places[reject.place]))


def _withheld(example: Example, tested: Example) -> Reject:
    shared = "prompt" if example.prompt_key == tested.prompt_key else "origin"
    return Reject(
        example.place,
        f"its {shared} stands in the test source, too ({tested.place})",
        {
            "prompt": example.messages[-1].content,
            "target": example.target,
            "label": example.label,
        },
    )


def twins(train: Sequence[Example], test: Sequence[Example]) -> frozenset[str]:
    """Ids of the test examples whose prompt has an exact or near twin in the training part."""
    known = {e.prompt_key for e in train}
    exact = {e.id for e in test if e.prompt_key in known}
    open_ = [e for e in test if e.id not in exact]
    near = near_duplicates([prompt_text(e) for e in open_], [prompt_text(e) for e in train])
    return frozenset(exact | {e.id for e, hit in zip(open_, near, strict=True) if hit})


def _groups(
    joined: Mapping[str, Sequence[Example]], seed: int
) -> tuple[list[_Group], list[_Group]]:
    """Groups to divide, and groups that the test sources hold (without their other rows)."""
    free: list[_Group] = []
    fixed: list[_Group] = []
    for name, rows in joined.items():
        tested = tuple(e for e in rows if e.meta.get("role") == "test")
        group = _Group(_rank(seed, name), tested or tuple(rows), _stratum(tested or rows))
        (fixed if tested else free).append(group)
    return sorted(free, key=lambda g: g.rank), sorted(fixed, key=lambda g: g.rank)


def _joined(examples: Sequence[Example], *, together: bool) -> dict[str, list[Example]]:
    """Rows that a chain of shared prompts and origins joins, by a name that they alone decide."""
    above: dict[str, str] = {}

    def head(name: str) -> str:
        while above.setdefault(name, name) != name:
            above[name] = name = above[above[name]]
        return name

    keys = [e.prompt_key for e in examples]
    for example, key in zip(examples, keys, strict=True):
        # The least name heads a group: with the blank, an origin's goes before any prompt's hash.
        said = example.meta.get(TOGETHER) if together else None
        origin = f" {said}" if said else key
        least, other = sorted((head(origin), head(key)))
        above[other] = least
    joined: dict[str, list[Example]] = {}
    for example, key in zip(examples, keys, strict=True):
        joined.setdefault(head(key), []).append(example)
    return joined


def _rank(seed: int, key: str) -> str:
    return hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=16).hexdigest()


def _stratum(rows: Sequence[Example]) -> Stratum:
    """Source and label of most of the rows; of equals the first by name."""
    counts = Counter((e.meta.get("source", ""), e.label or "") for e in rows)
    return min(counts, key=lambda stratum: (-counts[stratum], stratum))


def _train_only(group: _Group) -> bool:
    return any(e.meta.get("role") == "train" for e in group.rows)


def _take(
    groups: Sequence[_Group], share: float, *, leave: float = 0.0
) -> tuple[list[_Group], list[_Group]]:
    """Groups of about `share` of the rows of each stratum, and the others; both in rank order.

    What fits no later part either is left for training; of the rest, `leave` is the share that the
    next part takes of what stays, and this one leaves it that much.
    """
    strata: dict[Stratum, list[_Group]] = {}
    for group in groups:
        strata.setdefault(group.stratum, []).append(group)
    sizes = {s: sum(len(g.rows) for g in members) for s, members in strata.items()}
    quotas = _quotas(sizes, share)
    taken: set[str] = set()
    for stratum, members in strata.items():
        room = quotas[stratum]
        later = leave * (sizes[stratum] - room)
        small = sum(len(g.rows) for g in members if len(g.rows) <= room)
        if small < room + later:
            room = math.ceil(small * room / (room + later))
        for group in sorted(members, key=lambda g: g.rank):
            if len(group.rows) <= room:
                taken.add(group.rank)
                room -= len(group.rows)
    if not taken and sum(quotas.values()) > 0 and len(groups) > 1:
        # Every group is larger than its quota: a part that is too large beats none.
        taken.add(min(groups, key=lambda g: (len(g.rows), g.rank)).rank)
    return [g for g in groups if g.rank in taken], [g for g in groups if g.rank not in taken]


def _quotas(sizes: dict[Stratum, int], share: float) -> dict[Stratum, int]:
    """Rows to take of each stratum: largest remainders, at least one row where share > 0."""
    total = sum(sizes.values())
    wanted = max(1, round(share * total)) if share > 0 and total > 1 else 0
    exact = {s: share * n for s, n in sizes.items()}
    quotas = {s: int(x) for s, x in exact.items()}
    by_remainder = sorted(exact, key=lambda s: (quotas[s] - exact[s], s))
    for stratum in by_remainder[: max(0, wanted - sum(quotas.values()))]:
        quotas[stratum] += 1
    return quotas


def _flat(groups: Sequence[_Group], seed: int) -> tuple[Example, ...]:
    """Rows of the groups in rank order; those of one group by content and place."""
    ordered = sorted(groups, key=lambda g: g.rank)
    return tuple(
        e for g in ordered for e in sorted(g.rows, key=lambda e: (e.target, e.label or "", e.place))
    )


def _check_shares(validation: float, test: float) -> None:
    for name, share in (("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise DataError(
                f"The {name} share is {share}, not in [0, 1).", hint=f"Set data.{name} to 0.1, say."
            )


def _check_parts(
    parts: Splits, groups: Sequence[_Group], *, validation: float, test: float
) -> None:
    wanted = {"train": True, "validation": validation > 0, "test": test > 0}
    empty = [name for name, n in parts.sizes().items() if wanted[name] and not n]
    rows = [e for group in groups for e in group.rows]
    if test > 0 and not parts.test and all(e.meta.get("role") == "train" for e in rows):
        raise DataError(
            "Every source has the role train: there is nothing to test on.",
            hint="Give one source the role split or test.",
        )
    if not empty:
        return
    largest = max(groups, key=lambda g: len(g.rows))
    origins = Counter(e.meta[TOGETHER] for e in largest.rows if TOGETHER in e.meta)
    made = f" (made from {origins.most_common(1)[0][0]!r})" if origins else ""
    raise DataError(
        f"No rows are left for {' and '.join(empty)}: {len(rows)} examples with {len(groups)} "
        f"distinct prompts or origins, none of which is ever parted; the largest has "
        f"{len(largest.rows)} rows{made}.",
        hint="Give more examples, or set the shares data.test and data.validation"
        + ("; data.keep_together: false parts what was made from one thing." if made else "."),
    )
