"""Files of answers from any other program: what is read, refused, scored and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from tunesmith.compare import CompareSettings, compare_files, plain_words
from tunesmith.compare.files import checked_conditions, failing, read_answers
from tunesmith.errors import ConfigError, DataError, EvaluationError
from tunesmith.records import Verdict
from tunesmith.stats.intervals import newcombe_paired, wilson

Row = dict[str, Any]


def written(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def answers(right: int, n: int, shift: int = 0) -> list[Row]:
    return [
        {"id": i, "response": f"{i}" if (i + shift) % n < right else "no", "target": f"{i}"}
        for i in range(n)
    ]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    a = written(tmp_path / "old.jsonl", answers(40, 100))
    return a, written(tmp_path / "new.jsonl", answers(70, 100, shift=20))


def test_two_files_are_judged_by_the_textbook(pair: tuple[Path, Path]) -> None:
    found = compare_files(*pair, scorer="exact")
    (c,) = found.comparisons
    assert (found.a.value, found.a.ci) == (0.4, wilson(40, 100))
    assert (found.b.value, found.b.n) == (0.7, 100)
    # a is right on 0..39, b on 0..49 and on 80..99.
    assert c.discordant == (0, 30)
    assert c.p == pytest.approx(binomtest(0, 30).pvalue)
    assert c.ci == newcombe_paired(40, 0, 30, 30)
    assert (c.a, c.b, c.verdict, c.caveats) == ("old", "new", Verdict.BETTER, ())
    assert "new is better than old" in plain_words(c)


def test_the_json_is_the_contracts(pair: tuple[Path, Path]) -> None:
    told = json.loads(json.dumps(compare_files(*pair, scorer="exact").to_json()))
    assert set(told["a"]) == set(told["b"]) == {"value", "n", "ci"}
    contract = "metric a b n difference ci test p p_adjusted effect verdict".split()
    assert set(contract) <= set(told["comparisons"][0])


def test_order_and_ids_on_one_side_do_not_matter(pair: tuple[Path, Path], tmp_path: Path) -> None:
    rows = [json.loads(line) for line in pair[1].read_text().splitlines()]
    extra = [{"id": f"x{i}", "response": "", "target": "1"} for i in range(3)]
    turned = written(tmp_path / "new2.jsonl", extra + rows[::-1])
    found = compare_files(pair[0], turned, scorer="exact")
    assert found.comparisons[0].discordant == (0, 30)
    assert (found.only_a, found.only_b) == (0, 3)
    assert "3 ids stand only in new2: left out." in found.comparisons[0].caveats


def test_labels_are_read_before_targets_and_rare_ones_named(tmp_path: Path) -> None:
    rows = [
        {"id": i, "response": "blue.", "label": "blue", "target": "It is blue"} for i in range(60)
    ]
    rows[0]["label"] = rows[0]["response"] = "red"
    path = written(tmp_path / "a.jsonl", rows)
    found = compare_files(path, path, scorer="label")
    assert found.a.value == 1.0
    assert "Few examples of a class: red (1)." in found.comparisons[0].caveats
    assert (found.comparisons[0].a, found.comparisons[0].b) == (str(path), str(path))


def test_scores_between_0_and_1_are_resampled(tmp_path: Path) -> None:
    reference = "one two three four five six seven eight nine ten"
    words = reference.split()
    a = [
        {"id": i, "response": " ".join(words[: 1 + i % 6]), "target": reference} for i in range(60)
    ]
    b = [
        {"id": i, "response": " ".join(words[: 3 + i % 7]), "target": reference} for i in range(60)
    ]
    found = compare_files(
        written(tmp_path / "a.jsonl", a), written(tmp_path / "b.jsonl", b), scorer="rouge_l"
    )
    assert found.comparisons[0].test == "sign-flip permutation"
    assert found.comparisons[0].verdict is Verdict.BETTER


def test_refusing_may_count_either_way(tmp_path: Path) -> None:
    a = [{"id": i, "response": "Here you are: 42."} for i in range(60)]
    b = [{"id": i, "response": "I'm sorry, but I can't help with that."} for i in range(60)]
    paths = written(tmp_path / "a.jsonl", a), written(tmp_path / "b.jsonl", b)
    more = compare_files(*paths, scorer="refusal").comparisons[0]
    less = compare_files(*paths, scorer="refusal", lower_is_better=True).comparisons[0]
    assert (more.verdict, less.verdict) == (Verdict.BETTER, Verdict.WORSE)
    assert any("Refusing more counts as better" in s for s in more.caveats)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not json", "a.jsonl:2: not JSON"),
        ("[1, 2]", "a.jsonl:2: a list, not a JSON object"),
        ('{"response": "x", "target": "y"}', "a.jsonl:2: no `id`"),
        ('{"id": null, "response": "x"}', "a.jsonl:2: no `id`"),
        ('{"id": true, "response": "x"}', "a.jsonl:2: no `id`"),
        ('{"id": 2, "target": "y"}', "a.jsonl:2: no `response`"),
        ('{"id": 2, "response": 7, "target": "y"}', "a.jsonl:2: no `response`"),
        ('{"id": 2, "response": "x", "target": ["y"]}', "a.jsonl:2: `target` is a list"),
        ('{"id": 1, "response": "x", "target": "y"}', "a.jsonl:2: id '1' stands already on line 1"),
        ('{"id": "1", "response": "x", "target": "y"}', "id '1' stands already on line 1"),
        ("[" * 100_000, "a.jsonl:2: not JSON"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1, "response": "x", "target": "y"}\n' + line + "\n")
    with pytest.raises(DataError) as caught:
        read_answers(path)
    assert said in caught.value.message
    assert caught.value.hint


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n \n")
    binary = tmp_path / "binary.jsonl"
    binary.write_bytes(b'{"id": 1, "response": "\xff\xfe"}\n')
    for path, said in (
        (tmp_path / "missing.jsonl", "No such file"),
        (tmp_path, "directory"),
        (empty, "holds no answer"),
        (binary, "not UTF-8"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            read_answers(path)
        assert str(path) in caught.value.message


def test_a_byte_order_mark_blank_lines_and_windows_line_ends_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    first = b'{"id": 1, "response": "x\\u2028y", "label": 3}'
    second = b'{"id": 2, "response": ""}'
    path.write_bytes(b"\xef\xbb\xbf" + first + b"\r\n\r\n" + second)
    found = read_answers(path)
    assert list(found) == ["1", "2"]
    assert (found["1"].label, found["2"].number) == ("3", 3)


def test_references_must_be_there_and_agree(tmp_path: Path) -> None:
    a = written(tmp_path / "a.jsonl", [{"id": "q", "response": "x", "target": "x"}])
    other = written(tmp_path / "b.jsonl", [{"id": "q", "response": "x", "target": "y"}])
    none = written(tmp_path / "c.jsonl", [{"id": "q", "response": "x"}])
    both = written(
        tmp_path / "d.jsonl", [{"id": "q", "response": "x", "target": "x", "label": "l"}]
    )
    label = written(tmp_path / "e.jsonl", [{"id": "q", "response": "l", "label": "l"}])
    with pytest.raises(DataError, match="different references"):
        compare_files(a, other, scorer="exact")
    with pytest.raises(DataError, match=r"c\.jsonl:1: neither `target` nor `label`"):
        compare_files(a, none, scorer="exact")
    with pytest.raises(DataError, match="one has a `target`, the other only a `label`"):
        compare_files(a, label, scorer="exact")
    assert compare_files(both, label, scorer="exact").b.value == 1.0  # by the label of both
    assert compare_files(a, none, scorer="dot_valid").a.value == 0.0  # needs no reference


def test_files_without_a_common_id_are_refused_with_a_hint(tmp_path: Path) -> None:
    a = written(tmp_path / "a.jsonl", [{"id": 1, "response": "x", "target": "x"}])
    b = written(tmp_path / "b.jsonl", [{"id": 2, "response": "x", "target": "x"}])
    with pytest.raises(EvaluationError, match="share no id") as caught:
        compare_files(a, b, scorer="exact")
    assert "same id" in caught.value.hint


def test_an_unknown_scorer_gets_the_nearest_name(pair: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="no scorer 'rougel'") as caught:
        compare_files(*pair, scorer="rougel")
    assert caught.value.hint == "did you mean rouge_l?"


def test_conditions_hold_or_not(pair: tuple[Path, Path]) -> None:
    better = compare_files(*pair, scorer="exact")
    alike = compare_files(pair[0], pair[0], scorer="exact", settings=CompareSettings(margin=0.1))
    assert failing(better, ["worse", "no evidence", "not-better"]) == []
    assert failing(better, ["better"]) == ["better"]
    assert failing(alike, ["worse", "equivalent", "not-better"]) == ["equivalent", "not-better"]
    with pytest.raises(ConfigError) as caught:
        checked_conditions(["wose"])
    assert caught.value.hint == "did you mean worse?"


def test_words_in_common_are_held_against_exact_match(tmp_path: Path) -> None:
    def write(name: str, hour: str) -> Path:
        rows: list[Row] = [
            {"id": i, "response": hour.format(i % 9), "target": f"open from {i % 9 + 1} to 18"}
            for i in range(80)
        ]
        return written(tmp_path / f"{name}.jsonl", rows)

    files = write("old", "no"), write("new", "open from {} to 18")
    for scorer in ("rouge_l", "bleu"):
        found = compare_files(*files, scorer=scorer).comparisons[0]
        assert found.verdict is Verdict.BETTER
        assert found.caveats[0].startswith("None of new's 80 answers is exactly right")
        assert found.caveats[1].startswith("By exact (0.0% against 0.0%) there")
    exact = compare_files(*files, scorer="exact").comparisons[0]
    assert not any("By exact" in caveat for caveat in exact.caveats)


def test_a_file_against_itself_is_named(pair: tuple[Path, Path]) -> None:
    found = compare_files(pair[0], pair[0], scorer="exact").comparisons[0]
    assert found.verdict is Verdict.NO_EVIDENCE
    assert "Both are the same file." in found.caveats


def test_a_line_whose_target_the_scorer_has_nothing_to_say_of_is_left_out(tmp_path: Path) -> None:
    rows = [
        {"id": i, "response": f"at {link}", "target": f"at {link}"}
        for i, link in enumerate(["https://a.org/b?c=d&e", "https://a.org/f#g", "the desk"])
    ]
    broken = [row | {"response": row["response"].replace("&", "")} for row in rows]
    files = (written(tmp_path / "a.jsonl", broken), written(tmp_path / "b.jsonl", rows))
    found = compare_files(*files, scorer="url_intact")
    assert (found.a.value, found.a.n, found.comparisons[0].n) == (0.5, 2, 2)
    assert any(
        c.startswith("1 of 3 targets holds nothing that url_intact")
        for c in found.comparisons[0].caveats
    )
    with pytest.raises(EvaluationError, match="nothing that url_intact"):
        compare_files(
            written(tmp_path / "c.jsonl", broken[2:]),
            written(tmp_path / "d.jsonl", rows[2:]),
            scorer="url_intact",
        )
