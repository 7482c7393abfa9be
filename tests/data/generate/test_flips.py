"""Counterfactual permissions: the label follows from the rule, and only from what the row says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tunesmith.data.generate.flips import CORE, RULES, decided, flips

DATA = Path(os.environ.get("TUNESMITH_SHARED_DATA", "../shared/data")) / "orgaccess"


def row(query: str, label: str = "full", **restriction: Any) -> dict[str, str]:
    permissions = {
        "department": ["it"],
        "access_level": "read",
        "allowed_actions": ["view"],
        **restriction,
    }
    return {
        "permissions": json.dumps(permissions),
        "query": query,
        "expected_response": label,
    }


CASES = [
    (row("Show the logs of AWS.", vendor_restriction="AWS"), "full"),
    (row("Show the logs of Azure.", vendor_restriction="AWS"), "rejected"),
    (row("Show the logs of AWS and Azure.", vendor_restriction="AWS"), "partial"),
    (row("Show the logs on Google Cloud.", vendor_restriction="GCP"), "rejected"),
    (row("Sales in EMEA and APAC", region_restriction=["EMEA", "APAC"]), "full"),
    (row("Sales in EMEA and LATAM", region_restriction=["EMEA"]), "partial"),
    (row("Report on Client-A", client_restriction=["Client-B"]), "rejected"),
    (row("Logs from 6 years ago", retention_period="5y"), "rejected"),
    (row("Logs from 5 years ago", retention_period="5y"), "full"),
    (row("Contract v3.5", version_restriction="v3.0"), "rejected"),
    (row("Contract v3.0", version_restriction="v3.0"), "full"),
    (row("After 40 minutes open the file", session_timeout=40), "rejected"),
    (row("After 39 minutes open the file", session_timeout=40), "full"),
    (row("Trigger 60 API calls", rate_limit=50), "partial"),
    (row("Trigger 50 API calls", rate_limit=50), "full"),
    (row("Rotate with 3 approvals submitted", quorum_required=3), "full"),
    (row("Rotate with 1 approval submitted", quorum_required=3), "rejected"),
]


@pytest.mark.parametrize(("given", "label"), CASES)
def test_a_rule_decides(given: dict[str, str], label: str) -> None:
    found = decided(given)
    assert found is not None
    assert found[2].label == label


@pytest.mark.parametrize(
    "given",
    [
        row("Rotate with 2 approvals submitted", quorum_required=3),  # decided both ways
        row("Logs from 2 years ago and from 9 years ago", retention_period="5y"),
        row("Show the logs.", vendor_restriction="AWS"),
        row("Show the logs of AWS.", vendor_restriction="AWS", rate_limit=5),  # two restrictions
        row("Show the logs of AWS."),
        row("Show the logs of AWS.", log_required=True),
        {**row("x"), "permissions": "not JSON"},
        {**row("x"), "permissions": "[1]"},
        row("Logs from 2 years ago", retention_period=True),
        row("Logs from 2 years ago", retention_period="30 days"),
    ],
)
def test_what_no_rule_reads_is_left_alone(given: dict[str, str]) -> None:
    assert decided(given) is None
    assert flips([given], seed=0).rows == ()


@pytest.mark.parametrize(("given", "label"), CASES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_flip_changes_one_restriction_and_the_label(
    given: dict[str, str], label: str, seed: int
) -> None:
    made = flips([{**given, "expected_response": label}], seed=seed)
    (flipped,) = made.rows
    before, after = json.loads(given["permissions"]), json.loads(flipped["permissions"])
    changed = {key for key in before if before[key] != after[key]}
    assert len(changed) == 1
    assert not changed & CORE
    assert type(before[next(iter(changed))]) is type(after[next(iter(changed))])
    assert flipped["query"] == given["query"]
    assert flipped["expected_response"] != label
    again = decided(flipped)
    assert again is not None
    assert again[2].label == flipped["expected_response"]
    assert flipped["rationale"]


def test_a_row_whose_own_label_the_rule_does_not_give_is_counted_and_not_used() -> None:
    contrary = row("Show the logs of Azure.", "full", vendor_restriction="AWS")
    plain = row("Show the logs of Azure.", "rejected", vendor_restriction="AWS")
    found = flips([contrary, plain, row("Hello")], seed=0)
    assert found.looked_at == 3
    assert found.read == {"vendor_restriction": 2}
    assert found.reproduced == {"vendor_restriction": 1}
    assert len(found.rows) == 1


def test_a_count_draws_by_the_seed_and_keeps_the_order() -> None:
    many = [
        {**row(f"Trigger {n} API calls", "full", rate_limit=500), "row": str(n)}
        for n in range(10, 40)
    ]
    found = flips(many, seed=1, count=5).rows
    assert len(found) == 5
    numbers = [int(r["row"]) for r in found]
    assert numbers == sorted(numbers)
    assert found == flips(many, seed=1, count=5).rows
    assert numbers != [int(r["row"]) for r in flips(many, seed=2, count=5).rows]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no OrgAccess data at {DATA}")
def test_how_far_the_rules_go_on_the_real_rows() -> None:
    import pyarrow.parquet as pq

    rows = [
        {**r, "expected_response": {"reject": "rejected"}.get(label, label)}
        for r in pq.read_table(DATA / "easy.parquet").to_pylist()
        if (label := r["expected_response"]) and r["permissions"] and r["query"]
    ]
    found = flips(rows, seed=1)
    assert set(found.read) == set(RULES)
    # 5,340 of 26,741 rows are read, 4,074 of them with their own label: the rules are not the data.
    assert sum(found.read.values()) == pytest.approx(5340, abs=60)
    assert sum(found.reproduced.values()) == pytest.approx(4074, abs=60)
    assert 0.98 <= len(found.rows) / sum(found.reproduced.values()) <= 1
