"""The page says the verdict first, tells everything the store knows, and needs nothing else."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tunesmith.compare import plain_words
from tunesmith.errors import StoreError
from tunesmith.records import Choice, Comparison, Estimate, Metric, Verdict
from tunesmith.report.background import machine, settings
from tunesmith.report.cases import cases
from tunesmith.report.evidence import (
    classes,
    confusions,
    costs,
    curves,
    outcomes,
    scores,
    slices,
    twins,
)
from tunesmith.report.facts import Facts, gather
from tunesmith.report.page import page, render
from tunesmith.report.verdicts import forests, opening
from tunesmith.store.nouns import GoldCheck, Status
from tunesmith.store.store import Store


def sentence(comparison: Comparison) -> str:
    return f"{comparison.b} is <said> to be {comparison.verdict} against {comparison.a}."


@pytest.fixture(scope="module")
def facts(filled: Any) -> Facts:
    """What the filled store knows."""
    return gather(filled.store, filled.run_id)


class Outline(HTMLParser):
    """Headings, ids, table captions, and every address that a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tables = self.captions = 0
        self.depth: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
            self.levels.append(int(tag[1]))
        self.tables += tag == "table"
        self.captions += tag == "caption"
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "action", "data", "srcset", "poster"):
                self.addresses.append(value or "")


def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(html)
    return parser


def test_headings_are_in_order_and_every_table_has_a_caption(report: Path) -> None:
    found = outline(report.read_text("utf-8"))
    assert found.levels[0] == 1
    assert found.levels.count(1) == 1
    for above, below in zip(found.levels, found.levels[1:], strict=False):
        assert below <= above + 1
    assert found.tables == found.captions > 10
    assert len(set(found.ids)) == len(found.ids)


def test_the_page_refers_to_nothing_outside_itself(report: Path) -> None:
    html = report.read_text("utf-8")
    found = outline(html)
    assert all(address.startswith(("#", "data:")) for address in found.addresses)
    assert {a[1:] for a in found.addresses if a.startswith("#")} <= set(found.ids)
    assert "default-src 'none'" in html
    assert html.count("<script>") == 2  # Plotly and ours; the data is JSON, not a script


def test_what_a_model_wrote_cannot_become_part_of_the_page(report: Path) -> None:
    html = report.read_text("utf-8")
    assert "<script>alert(1)</script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;b&gt;with&lt;/b&gt;" in html
    assert "is &lt;said&gt; to be" in html


def test_verdict_comes_before_evidence_before_data_before_plan(report: Path) -> None:
    html = report.read_text("utf-8")
    parts = ("verdict", "evidence", "examples", "data", "plan", "repeat")
    places = [html.index(f'<section id="{part}"') for part in parts]
    assert places == sorted(places)
    for words in (
        "Yes: qlora got better.",
        "1 of 12 test prompts also stands in training.",
        "What weakens this",
        "tunesmith run orgaccess --seed 7",
        "3c1f9ab27d0e (with uncommitted changes)",
        "a low rank wants ten times full tuning&#39;s rate",
        "always the most common label",
        "9f" * 32,
    ):
        assert words in html


def test_no_evidence_says_what_it_would_have_taken(facts: Facts) -> None:
    [better, nothing] = opening(facts, sentence).cards
    assert better.kind == "better"
    assert ("Answers that changed", "10 fixed, 1 broken") in better.facts
    assert not any("settle" in name for name, _ in better.facts)
    assert nothing.word == "No evidence"
    assert ("Smallest difference this test could show", "41.0 points") in nothing.facts
    assert ("Examples that would settle it", "about 87") in nothing.facts


@pytest.mark.parametrize(
    ("verdicts", "headline"),
    [
        ((Verdict.BETTER, Verdict.BETTER), "Yes, it got better."),
        ((Verdict.WORSE, Verdict.WORSE), "No, it got worse."),
        ((Verdict.BETTER, Verdict.EQUIVALENT), "Yes: qlora got better."),
        ((Verdict.BETTER, Verdict.WORSE), "Mixed: qlora got better, grit got worse."),
        ((Verdict.WORSE, Verdict.NO_EVIDENCE), "No: qlora got worse."),
        ((Verdict.EQUIVALENT, Verdict.EQUIVALENT), "It stayed the same."),
        (
            (Verdict.EQUIVALENT, Verdict.NO_EVIDENCE),
            "There is no evidence that it got better: the smallest difference this test set could"
            " have shown is 41.0 points.",
        ),
    ],
)
def test_the_headline_claims_what_the_verdicts_say(
    facts: Facts, verdicts: tuple[Verdict, Verdict], headline: str
) -> None:
    said = tuple(
        replace(comparison, verdict=verdict)
        for comparison, verdict in zip(facts.comparisons, verdicts, strict=False)
    )
    assert opening(replace(facts, comparisons=said), sentence).headline == headline


def test_what_takes_the_ground_from_the_verdict_is_said_at_once(facts: Facts) -> None:
    assert opening(facts, sentence).cautions == ()
    broken = replace(facts, gold_checks=(GoldCheck("accuracy", 12, 0.5),))
    assert "scorer accuracy" in opening(broken, sentence).cautions[0]


def held_against_majority(
    facts: Facts, value: float, verdict: Verdict, detectable: float | None
) -> Facts:
    """The facts, with qlora (83.3 %) compared to a majority class of this share."""
    ours = facts.comparisons[0]
    more = replace(
        ours, a="majority", value_a=value, difference=ours.value_b - value, verdict=verdict,
        detectable=detectable, caveats=(),
    )  # fmt: skip
    return replace(facts, comparisons=(*facts.comparisons, more))


@pytest.mark.parametrize(
    ("value", "verdict", "detectable", "headline", "caution"),
    [
        (4 / 12, Verdict.BETTER, None, "Yes: qlora got better.", None),
        (
            9 / 12, Verdict.NO_EVIDENCE, 0.367,
            "qlora is better than the untuned model, but there is no evidence that qlora beats"
            " majority.",
            "There is no evidence that qlora beats majority, which needs no model: accuracy 83.3%"
            " against 75.0%; the smallest difference this test set could have shown is"
            " 36.7 points.",
        ),
        (
            11 / 12, Verdict.NO_EVIDENCE, None,
            "qlora is better than the untuned model, but there is no evidence that qlora beats"
            " majority.",
            "There is no evidence that qlora beats majority, which needs no model: accuracy 83.3%"
            " against 91.7%; so few examples could not have shown any difference.",
        ),
        (
            1.0, Verdict.WORSE, None,
            "qlora is better than the untuned model, but qlora is worse than majority.",
            "qlora is worse than majority, which needs no model: accuracy 83.3% against 100.0%.",
        ),
        (
            10 / 12, Verdict.EQUIVALENT, 0.2,
            "qlora is better than the untuned model, but qlora is no better than majority.",
            "qlora is no better than majority, which needs no model, within the margin that"
            " matters: accuracy 83.3% against 83.3%.",
        ),
    ],
)  # fmt: skip
def test_better_than_untuned_is_not_said_to_beat_what_it_was_not_shown_to_beat(
    facts: Facts,
    value: float,
    verdict: Verdict,
    detectable: float | None,
    headline: str,
    caution: str | None,
) -> None:
    said = opening(held_against_majority(facts, value, verdict, detectable), sentence)
    assert said.headline == headline
    assert said.cautions == (() if caution is None else (caution,))


def test_where_all_got_better_the_headline_still_names_who_was_not_beaten(facts: Facts) -> None:
    both = [replace(c, verdict=Verdict.BETTER) for c in facts.comparisons[:2]]
    only = replace(facts, comparisons=tuple(both))
    short = held_against_majority(only, 9 / 12, Verdict.NO_EVIDENCE, 0.3)
    assert opening(short, sentence).headline == (
        "Better than the untuned model, but there is no evidence that qlora beats majority."
    )
    alone = replace(short, comparisons=(both[0], short.comparisons[-1]))
    assert opening(alone, sentence).headline == (
        "Better than the untuned model, but there is no evidence that it beats majority."
    )
    lookup = replace(short.comparisons[-1], a="tf-idf", verdict=Verdict.WORSE)
    two = replace(short, comparisons=(*short.comparisons, lookup))
    assert opening(two, sentence).headline == (
        "Better than the untuned model, but qlora is worse than tf-idf, and there is no evidence"
        " that qlora beats majority."
    )
    mixed = replace(
        short, comparisons=(both[0], replace(both[1], verdict=Verdict.WORSE), short.comparisons[-1])
    )
    assert opening(mixed, sentence).headline == (
        "Mixed: qlora got better, grit got worse; there is no evidence that qlora beats majority."
    )


def test_so_few_examples_that_nothing_could_be_shown_are_told(facts: Facts) -> None:
    few = replace(facts.comparisons[1], detectable=None)
    said = opening(replace(facts, comparisons=(few,)), sentence)
    assert said.headline == (
        "There is no evidence that it got better: so few examples could not have shown any"
        " difference."
    )


def test_a_caveat_of_every_card_stands_once_above_them(facts: Facts) -> None:
    mine = ("Only 12 test examples.", "1 of 12 test prompts also stands in training.")
    theirs = ("The two differ on only 4 examples.", "Only 12 test examples.")
    some = [replace(c, caveats=theirs) for c in facts.comparisons]
    weak = replace(facts, comparisons=(replace(some[0], caveats=mine), *some[1:]))
    said = opening(weak, sentence)
    assert said.caveats == ("Only 12 test examples.",)
    assert [card.caveats for card in (*said.cards, *said.also)] == [
        mine[1:], theirs[:1], theirs[:1],
    ]  # fmt: skip
    html = page(weak, plain_words)
    for caveat in (*mine, theirs[0]):
        shown = 2 if caveat == theirs[0] else 1
        assert html.count(caveat) == shown, caveat
    alone = opening(replace(weak, comparisons=weak.comparisons[:1]), sentence)
    assert (alone.caveats, alone.cards[0].caveats) == ((), mine)


def test_intervals_carry_the_level_that_the_recipe_asked_for(facts: Facts) -> None:
    assert facts.level == "95%"
    wishes = {**facts.experiment.resolved, "evaluation": {"confidence": 0.9}}
    wide = replace(facts, experiment=replace(facts.experiment, resolved=wishes))
    assert dict(opening(wide, sentence).cards[0].facts)["90% interval"] == "+38.0 to +88.0"
    html = page(wide, sentence)
    assert "with their 90% intervals" in html
    assert "lies with 90% confidence" in html
    assert "95% " not in html


def test_every_table_has_the_untuned_model_first_and_those_without_a_model_last(
    facts: Facts,
) -> None:
    order = ["baseline", "qlora", "grit", "majority", "tf-idf"]
    for grid in (scores(facts), *slices(facts), twins(facts)):
        assert grid is not None
        assert [name for name, _, _ in grid.rows] == order
    assert [row.variant for row in outcomes(facts)] == order
    assert [(row.b, row.a) for row in forests(facts)[0].rows] == [
        ("qlora", "baseline"), ("grit", "baseline"), ("grit", "qlora"), ("majority", "baseline"),
    ]  # fmt: skip


def test_what_a_variant_is_stands_below_the_table_in_full_width(report: Path) -> None:
    html = report.read_text("utf-8")
    row, note = html.index('<th scope="row">tf-idf'), html.index("TF-IDF and logistic regression")
    assert html.index("</table>", row) < note
    assert "The same for every other score (1)" in html


def test_classes_have_tables_of_their_own_in_the_order_of_the_task(facts: Facts) -> None:
    """The untuned model names no `full`, so its precision has a gap there and keeps its place."""
    figure = Estimate(0.5, 4, (0.15, 0.85))
    had = {
        "baseline": ("recall: full", "precision: partial", "recall: partial", "recall: rejected"),
        "qlora": (
            "precision: full", "recall: full", "precision: partial", "recall: partial",
            "precision: rejected", "recall: rejected", "precision: unknown",
        ),
    }  # fmt: skip
    more = [Metric(name, m, "all", figure) for name, metrics in had.items() for m in metrics]
    full = replace(facts, metrics=(*facts.metrics, *more))
    assert scores(full) == scores(facts)
    tables = {grid.caption.split()[0]: grid for grid in classes(full)}
    assert set(tables) == {"Precision", "Recall"}
    for grid in tables.values():
        assert grid.heads == ("full", "partial", "rejected", "unknown")
        assert [name for name, _, _ in grid.rows] == ["baseline", "qlora"]
    untuned = [cell.value for cell in tables["Precision"].rows[0][2]]
    assert untuned == ["–", "50.0%", "–", "–"]
    assert "Class by class" in page(full, sentence)
    assert "Class by class" not in page(facts, sentence)


def test_where_it_ran_is_told_in_units_and_nothing_is_left_empty(facts: Facts) -> None:
    hardware = {"memory": 25_276_514_304, "four_bit_reason": "", "cores": 2}
    seen = replace(facts.experiment.provenance, hardware=hardware, git_revision="9" * 40)
    told = dict(machine(replace(facts, experiment=replace(facts.experiment, provenance=seen))))
    assert told["memory"] == "25.3\u202fGB"
    assert told["cores"] == "2"
    assert "four bit reason" not in told
    assert told["git revision"] == f"{'9' * 12} (with uncommitted changes)"


def test_a_forest_puts_every_interval_where_it_belongs(facts: Facts) -> None:
    for forest in forests(facts):
        stated = [c for c in facts.comparisons if c.metric == forest.metric]
        marks = dict(forest.ticks)
        ends = sorted(marks)
        unit = 100 if forest.unit == "percentage points" else 1
        low, high = (float(marks[end].replace("−", "-")) / unit for end in (ends[0], ends[-1]))
        assert low <= 0 <= high
        for row, comparison in zip(forest.rows, stated, strict=True):
            assert low <= comparison.ci[0] <= comparison.ci[1] <= high
            for at, value in (
                (row.dot, comparison.difference),
                (row.low, comparison.ci[0]),
                (row.low + row.width, comparison.ci[1]),
                (forest.zero, 0.0),
            ):
                assert at == pytest.approx(100 * (value - low) / (high - low), abs=0.02)


def test_confusion_counts_every_answer_once(facts: Facts) -> None:
    from sklearn.metrics import confusion_matrix

    gold = {t.example.id: t.example.label for t in facts.examples}
    for grid in confusions(facts):
        answers = facts.answers[grid.caption]
        heads = list(grid.heads)
        assert heads == ["full", "partial", "rejected", "unparsed"]
        wanted = confusion_matrix(
            [gold[a.example_id] for a in answers],
            [a.label or "unparsed" for a in answers],
            labels=heads,
        )
        shown = [[int(cell.value) for cell in cells] for _, _, cells in grid.rows]
        assert shown == wanted[:3].tolist()


def test_examples_are_sorted_into_fixed_broken_and_wrong(facts: Facts) -> None:
    told = cases(facts, None, each=4)
    assert told is not None
    assert (told.variant, told.score) == ("qlora", "accuracy")
    counts = {group.title: group.count for group in told.groups}
    assert counts == {"Fixed": 10, "Broken": 1, "Wrong before and after": 1}
    fixed = told.groups[0].cases[0]
    states = {reply.variant: reply.state for reply in fixed.replies}
    assert states["qlora"] == "right"
    assert states["baseline"] != "right"


def test_settings_that_differ_are_told_apart(facts: Facts) -> None:
    rows = {(it.name, it.value): it.methods for it in settings(facts.plans)}
    assert rows["rank", "16"] == ("qlora",)
    assert rows["rank", "8"] == ("grit",)
    assert rows["learning_rate", "0.0002"] == ()
    assert rows["packing", "no"] == ()


def test_curves_keep_first_and_last_step_and_stay_small(facts: Facts) -> None:
    steps = facts.training["qlora"]
    many = tuple(replace(steps[i % 60], step=i, loss=float("nan")) for i in range(50_000))
    [line, *_] = curves(replace(facts, training={"qlora": many}))
    assert line["x"][0] == 0
    assert line["x"][-1] == 49_999
    assert len(line["x"]) <= 1501
    assert set(line["y"]) == {None}


def test_a_run_that_has_only_begun_has_a_page_too(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        run = store.start_run("campus", runs=tmp_path)
        html = page(gather(store, run.id), sentence)
        assert "Nothing was compared yet." in html
        store.finish_run(run.id, Status.INTERRUPTED, error="Stopped by <you>.")
        html = page(gather(store, run.id), sentence)
        assert "This run was interrupted." in html
        assert "Stopped by &lt;you&gt;." in html
        assert len(html) < 60_000  # without curves no Plotly
        with pytest.raises(StoreError, match="no run begins with"):
            render(store, "absent", tmp_path / "r.html", sentence=sentence)
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match="cannot write the report"):
            render(store, run.id, tmp_path / "file" / "r.html", sentence=sentence)


def test_a_variant_may_be_called_like_a_method_of_a_mapping(facts: Facts) -> None:
    """Jinja looks attributes up where a key is missing: `notes["copy"]` was `dict.copy`."""
    names = {"majority": "copy", "tf-idf": "items"}
    renamed = replace(
        facts,
        variants=tuple(
            replace(v, name=names.get(v.name, v.name), description="") for v in facts.variants
        ),
        metrics=tuple(replace(m, variant=names.get(m.variant, m.variant)) for m in facts.metrics),
        answers={names.get(name, name): given for name, given in facts.answers.items()},
    )
    html = page(renamed, sentence)
    assert "built-in method" not in html
    assert ">copy <" in html


def test_an_adapter_of_an_earlier_step_says_of_how_many_it_was_the_best(facts: Facts) -> None:
    asked = [Choice("load_best_model_at_end", True, "", ""), Choice("lora_r", 4, "", "")]
    by = Choice("metric_for_best_model", "eval_accuracy", "", "")
    first, second, *_ = facts.adapters
    found = replace(
        facts,
        adapters=(replace(first, steps=30), replace(second, steps=30), *facts.adapters[2:]),
        plans={
            first.name: replace(facts.plans[first.name], choices=(*asked, by)),
            second.name: replace(facts.plans[second.name], choices=tuple(asked)),
        },
    )
    cells = {name: cells[1] for name, _, cells in costs(found).rows}
    assert (cells[first.name].value, cells[first.name].note) == (
        "30",
        "of 60, the best by accuracy",
    )
    assert cells[second.name].note == "of 60, the best by loss"
    assert {cells[1].note for _, _, cells in costs(facts).rows} == {""}
    last = replace(found, adapters=facts.adapters)
    assert {cells[1].note for _, _, cells in costs(last).rows} == {""}


def test_a_figure_of_fewer_examples_says_of_how_many(facts: Facts) -> None:
    few = Metric("qlora", "url_intact", "all", Estimate(0.5, 4, (0.2, 0.8)))
    found = replace(facts, metrics=(*facts.metrics, few))
    (cell,) = [cells[scores(found).heads.index("url_intact")]
               for name, _, cells in scores(found).rows if name == "qlora"]  # fmt: skip
    assert cell.note.endswith("of 4 examples")
    assert not any("of" in cell.note for _, _, cells in scores(facts).rows for cell in cells)
