"""Tables and the summary carry the store's own figures to other programs."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest

from tunesmith.errors import StoreError
from tunesmith.records import Estimate, Metric
from tunesmith.report.tables import Table, summary, tables, to_csv, to_latex, to_markdown, write
from tunesmith.store.store import Store

HOSTILE = Table(
    "hostile",
    "50% of $ & # _ {x} ~ ^ \\",
    ("text", "figure", "flag"),
    (("a|b\nc <i>", 0.1 + 0.2, True), ('"quoted", so', None, False), ("ü ✓", 3, None)),
)


def test_every_table_is_written_in_three_forms(filled: Any, tmp_path: Path) -> None:
    files = write(filled.store, filled.run_id, tmp_path / "tables")
    assert {file.suffix for file in files} == {".csv", ".md", ".tex"}
    assert len(files) == 3 * len(tables(filled.store, filled.run_id))
    frame = pandas.read_csv(tmp_path / "tables" / "metrics.csv")
    stored = filled.store.metrics(filled.run_id)
    assert list(frame["value"]) == [metric.estimate.value for metric in stored]
    assert list(frame["ci_high"]) == [metric.estimate.ci[1] for metric in stored]
    tests = pandas.read_csv(tmp_path / "tables" / "comparisons.csv")
    stored_tests = filled.store.comparisons(filled.run_id)
    assert sorted(tests["verdict"]) == sorted(c.verdict for c in stored_tests)
    assert list(tests["b"])[-2:] == ["majority", "tf-idf"]  # baselines without a model come last


def test_csv_comes_back_field_by_field() -> None:
    [heads, *rows] = list(csv.reader(io.StringIO(to_csv(HOSTILE), newline="")))
    assert tuple(heads) == HOSTILE.heads
    assert rows[0] == ["a|b\nc <i>", str(0.1 + 0.2), "True"]
    assert rows[1] == ['"quoted", so', "", "False"]


def test_markdown_keeps_to_its_columns() -> None:
    lines = to_markdown(HOSTILE).splitlines()[2:]
    assert len(lines) == 2 + len(HOSTILE.rows)
    for line in lines:
        assert len(re.findall(r"(?<!\\)\|", line)) == len(HOSTILE.heads) + 1
    assert lines[1] == "| --- | ---: | --- |"
    assert lines[2] == r"| a\|b c &lt;i> | 0.3 | yes |"


def test_latex_escapes_every_sign_that_means_something() -> None:
    text = to_latex(HOSTILE)
    assert (
        r"50\% of \$ \& \# \_ \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{}" in text
    )
    assert r"a|b c \textless{}i\textgreater{} & 0.3 & yes \\" in text
    assert r"\begin{tabular}{lrl}" in text
    assert text.count("{") == text.count("}")


def test_the_summary_is_the_contract(filled: Any, tmp_path: Path) -> None:
    said = summary(filled.store, filled.run_id, report=tmp_path / "report.html")
    assert list(said) == ["run", "recipe", "report", "seconds", "variants", "comparisons"]
    assert said == json.loads(json.dumps(said, allow_nan=False))
    assert said["run"] == filled.run_id
    assert said["recipe"] == "orgaccess"
    assert said["report"] == str(tmp_path / "report.html")
    assert said["seconds"] >= 0
    assert [c["detectable"] for c in said["comparisons"] if c["b"] == "grit"] == [0.41, None, None]
    assert list(said["variants"]) == ["baseline", "qlora", "grit", "majority", "tf-idf"]
    figure = said["variants"]["qlora"]["metrics"]["accuracy"]
    assert (figure["value"], figure["n"]) == (10 / 12, 12)
    assert figure["ci"][0] <= figure["value"] <= figure["ci"][1]
    assert len(said["comparisons"]) == len(filled.store.comparisons(filled.run_id))
    assert set(said["comparisons"][0]) == {
        "metric", "a", "b", "n", "difference", "ci", "test", "p", "p_adjusted", "effect", "verdict",
        "detectable", "caveats",
    }  # fmt: skip
    weakened = next(c for c in said["comparisons"] if c["b"] == "qlora")
    assert "Only 12 test examples." in weakened["caveats"]
    verdicts = {comparison["verdict"] for comparison in said["comparisons"]}
    assert verdicts == {"better", "worse", "no evidence", "equivalent"}


def test_what_is_no_number_is_null(filled: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        run_id = store.start_run("r", runs=tmp_path).id
        [comparison, *_] = filled.store.comparisons(filled.run_id)
        store.record_metrics(
            run_id, [Metric("baseline", "m", "all", Estimate(math.nan, 0, (math.nan, math.nan)))]
        )
        parts = [comparison, replace(comparison, slice="easy")]
        store.record_comparisons(run_id, [replace(c, effect=math.inf) for c in parts])
        said = summary(store, run_id)
        assert said["report"] is None
        assert said["seconds"] is None
        assert said["variants"]["baseline"]["metrics"]["m"] == {
            "value": None, "n": 0, "ci": [None, None],
        }  # fmt: skip
        assert [c["effect"] for c in said["comparisons"]] == [None]  # slices are not in it
        assert "NaN" not in json.dumps(said)
        with pytest.raises(StoreError, match="no run begins with"):
            summary(store, "absent")


def test_a_place_that_cannot_be_written_is_told(filled: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write the tables"):
        write(filled.store, filled.run_id, tmp_path / "file" / "tables")
