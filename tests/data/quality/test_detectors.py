"""Detectors on planted faults: recall and precision against what was planted, by count."""

from __future__ import annotations

import random

from data.quality.examples import example
from tunesmith.config.quality import QualitySettings
from tunesmith.data.quality import answers, language, licences, noise, overlap, repeats, sizes, urls
from tunesmith.data.quality.panel import look, spread
from tunesmith.records import Example

WORDS = ["".join(random.Random(i).choices("abcdefghij", k=6)) for i in range(300)]


def sentence(draw: random.Random, count: int = 30) -> str:
    return " ".join(draw.choices(WORDS, k=count))


def test_bounds_are_those_of_len() -> None:
    rows = [example("q", "x" * n) for n in range(1, 120)]
    short, long = sizes.bounds(rows, 50, 100)
    assert short.rows == frozenset(range(49))
    assert long.rows == frozenset(range(100, 119))
    assert sizes.bounds(rows, None, None) == []


def test_length_outliers_planted_among_ordinary_ones() -> None:
    draw = random.Random(1)
    rows = [example("q", "x" * draw.randint(200, 400)) for _ in range(300)]
    rows[17] = example("q", "x" * 12_080)
    rows[99] = example("q", "x")
    (flag,) = sizes.outliers(rows)
    assert flag.rows == {17, 99}
    assert sizes.outliers([example("q", "full")] * 50) == []


def test_low_scores() -> None:
    rows = [example("q", meta={"score": s}) for s in ("-1", "2", "3.5", "many")] + [example("q")]
    (flag,) = sizes.low_scores(rows, 3)
    assert flag.rows == {0, 1}
    assert sizes.low_scores(rows, None) == []


def test_refusals_and_boilerplate() -> None:
    draw = random.Random(2)
    rows = [example(f"q{i}", f"{sentence(draw)}\n{sentence(draw)}") for i in range(60)]
    footer = "For more help write to the office of admissions."
    for i in range(10):
        rows[i] = example(f"q{i}", f"{sentence(draw)}\n{footer}")
    rows[20] = example("q", "As an AI language model, I think that it rains.")
    rows[21] = example("q", "I'm sorry, but I cannot help with that.")
    (flag,) = answers.boilerplate(rows)
    assert flag.rows == {*range(10), 20}
    (refused,) = answers.refusals(rows)
    assert refused.rows == {21}


GOOD = [
    "https://www.memphis.edu/registrar/calendars/index.php?term=fall&year=2025#top",
    "http://localhost:8000/x",
    "https://en.wikipedia.org/wiki/Student%27s_t-test",
    "https://en.wikipedia.org/wiki/Bias_(statistics)",
    "https://8.8.8.8/a",
    "https://xn--bcher-kva.example/",
    "https://example.com/pages",
    "https://example.com/page",
]
BAD = [
    "https://www.memphis.edu/regis...",
    "https://exa_mple",
    "http:///path",
    "https:/example.com/x",
    "https://example.com/a%2",
    "https://example.com/a%zz",
    "https://example.com:99999/",
]


def test_links() -> None:
    texts = [f"See [here]({url}), or {url}." for url in (*GOOD, *BAD)]
    rows = [example("q", text) for text in texts]
    found = urls.broken(rows)
    assert found[0].rows == frozenset(range(len(GOOD), len(rows)))


def test_a_link_that_stops_in_a_word_that_another_row_ends() -> None:
    rows = [example("q", u) for u in ("https://a.edu/registrar/x", "https://a.edu/regis")]
    (flag,) = urls.broken(rows)
    assert flag.rows == {1}


def test_a_mixture_names_its_sources() -> None:
    stack = {"source": "stats", "licence": "CC-BY-SA-4.0"}
    notes = {"source": "notes", "licence": "CC BY-NC 4.0"}
    rows = [example("q", meta=stack)] * 3 + [example("q", meta=notes), example("q")]
    (flag,), (mix,) = licences.licences(rows)
    assert flag.code == "incompatible_licences"
    assert flag.rows == {3}
    assert "stats (CC-BY-SA-4.0)" in flag.message
    assert "notes (CC BY-NC 4.0)" in flag.message
    assert mix.count == 4
    assert licences.licences([example("q", meta=stack)] * 3)[0] == []


FRENCH = "Veuillez calculer la moyenne et expliquer pourquoi la variance augmente avec la taille. "
GERMAN = "Bitte erklären Sie, warum der Median gegen Ausreißer robuster ist als das Mittel. "
ENGLISH = [
    "Explain why the standard error shrinks as the number of observations grows, please. ",
    "When should one prefer a paired test over a test for two independent samples, and why? ",
    "Describe how a confidence interval for a proportion is computed by Wilson's method. ",
]


def test_languages_planted_in_english() -> None:
    rows = [example(ENGLISH[i % 3] * 2, f"{i} {ENGLISH[(i + 1) % 3]}" * 2) for i in range(120)]
    rows[5] = example(FRENCH, ENGLISH[0])
    rows[50] = example(ENGLISH[0], GERMAN)
    rows[70] = example("digraph { a -> b; b -> c [label=x]; }", "digraph { a -> b }")
    (flag,) = language.outliers(rows, range(len(rows)))
    assert flag.rows == {5, 50}
    assert [hit.note for hit in flag.hits] == ["prompt fr", "answer de"]
    assert language.outliers(rows, range(len(rows)), ("en", "fr", "de")) == []


def labelled(seed: int, count: int) -> tuple[list[Example], set[int]]:
    """Rows whose label follows from one word of eight, most of the time; and those flipped."""
    draw = random.Random(seed)
    cues = {"full": WORDS[:8], "partial": WORDS[8:16], "rejected": WORDS[16:24]}
    rows, flipped = [], set()
    for i in range(count):
        label = draw.choice(list(cues))
        text = f"{sentence(draw, 12)} {' '.join(draw.choices(cues[label], k=3))}"
        if draw.random() < 0.05:
            flipped.add(i)
            label = draw.choice([other for other in cues if other != label])
        rows.append(example(text, label, f"rows:{i + 1}", label=label))
    return rows, flipped


def test_flipped_labels_are_ranked_first() -> None:
    rows, flipped = labelled(3, 1200)
    (flag,) = noise.noise(rows, range(len(rows)), range(len(rows)))
    first = [hit.row for hit in flag.hits[: len(flipped)]]
    precision = len(set(first) & flipped) / len(first)
    assert precision > 0.8
    assert len(flag.rows & flipped) / len(flipped) > 0.7


def test_copies_of_a_wrong_label_do_not_vouch_for_it() -> None:
    rows, _ = labelled(4, 400)
    wrong = example(" ".join(WORDS[16:24]), "full", label="full")
    rows += [wrong] * 30
    groups = [*range(400), *[400] * 30]
    (flag,) = noise.noise(rows, range(len(rows)), groups)
    assert set(range(400, 430)) <= flag.rows


def test_too_few_rows_say_nothing() -> None:
    rows, _ = labelled(5, 40)
    assert noise.noise(rows, range(40), range(40)) == []


def test_rows_in_a_public_test_set() -> None:
    draw = random.Random(6)
    test = [sentence(draw, 40) for _ in range(50)]
    rows = [example(sentence(draw, 40), sentence(draw, 30)) for _ in range(100)]
    rows[3] = example(test[0].upper() + "!")
    rows[4] = example(" ".join([*test[1].split()[:-1], "other"]))
    rows[5] = example("short", f"{sentence(draw)} {' '.join(test[2].split()[10:24])}")
    (flag,) = overlap.against_tests(rows, {"bench": test})
    assert flag.rows == {3, 4, 5}
    notes = [hit.note for hit in flag.hits]
    assert [note.split(" ")[2] for note in notes] == ["stands", "nearly", "in"]
    assert overlap.against_tests(rows, {"bench": [sentence(draw, 40)]}) == []


def test_answers_across_sets() -> None:
    draw = random.Random(8)
    theirs = [example(sentence(draw), sentence(draw, 12)) for _ in range(20)]
    ours = [example(sentence(draw), sentence(draw, 12), f"o:{i}") for i in range(20)]
    ours[2] = example(f"{sentence(draw)} {theirs[7].target} {sentence(draw)}", place="o:2")
    theirs[9] = example(f"so: {ours[5].target}.")
    (found,) = overlap.leaked_answers(ours, theirs)
    assert found.examples == ("o:2", "o:5")


def test_prompts_that_stand_in_two_sources() -> None:
    rows = [example("x", meta={"source": s}) for s in ("a", "b", "a")] + [
        example("y", meta={"source": "b"})
    ]
    (found,) = overlap.between(rows, [e.prompt_key for e in rows])
    assert found.count == 1
    assert found.examples == ("a and b: 1",)


def test_rows_beyond_those_kept_of_a_cluster() -> None:
    rows = [example(f"{i}", place=f"r:{i}") for i in range(6)]
    (flag,) = repeats.near(rows, [0, 0, 0, 3, 3, 5], kept=1)
    assert flag.rows == {1, 2, 4}
    (flag,) = repeats.near(rows, [0, 0, 0, 3, 3, 5], kept=2)
    assert flag.rows == {2}


def test_what_was_looked_at_in_part_is_said() -> None:
    rows = [example(f"{i} {WORDS[i % 300]}", place=f"r:{i}") for i in range(4000)]
    seen = look(rows, [e.prompt_key for e in rows], QualitySettings(), deep=False)
    (said,) = seen.findings
    assert said.code == "not_all_looked"
    assert "2,000" in said.message
    assert list(spread(10, 4)) == [0, 2, 5, 7]


def test_private_metadata_is_found() -> None:
    token = "ghp_" + "A1b2" * 9
    meta = {"url": f"https://x.org/?t={token}", "topic": "ask jane.doe@memphis-college.edu"}
    rows = [example("Who?", meta=meta)]
    seen = look(rows, [e.prompt_key for e in rows], QualitySettings(), deep=False)
    assert {flag.code for flag in seen.flags} >= {"secrets", "personal_data"}
