"""Labels that may be wrong: a cheap classifier, cross-validated, is sure of another one.

TF-IDF of words and pairs of words, logistic regression, five folds; rows that are equal or nearly
so are one group, and a group is never on both sides. A row is told where the classifier's
probability of another label is at least the mean that rows of that label get (the threshold of
confident learning, Northcutt et al. 2021, arXiv 1911.00068), ranked by how far that label is ahead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tunesmith.data.near import prompt_text
from tunesmith.data.quality.flags import Flag, Hit
from tunesmith.records import Example, Severity

FOLDS = 5
FEWEST = 50  # labelled rows
PER_LABEL = 10  # rows of a label below which nothing is said of it
FEATURES = 50_000


def noise(examples: Sequence[Example], rows: Sequence[int], groups: Sequence[int]) -> list[Flag]:
    """Rows, of those named, with doubtful labels, the most doubtful first.

    `groups`: for every example the number of its group of duplicates.
    """
    counts = Counter(examples[row].label for row in rows if examples[row].label is not None)
    known = {label for label, n in counts.items() if n >= PER_LABEL}
    used = [row for row in rows if examples[row].label in known]
    if len(known) < 2 or len(used) < FEWEST or len({groups[row] for row in used}) < FOLDS:
        return []
    labels = [str(examples[row].label) for row in used]
    guesses, accuracy = _guesses(
        [prompt_text(examples[row]) for row in used], labels, [groups[row] for row in used]
    )
    ranked = sorted(((lead, i, label) for i, (lead, label) in guesses.items()), reverse=True)
    hits = tuple(
        Hit(used[i], f"{labels[i]}, rather {label} (ahead by {lead:.2f})")
        for lead, i, label in ranked
    )
    if not hits:
        return []
    message = (
        f"labels are doubted by a classifier that is right in {accuracy:.0%} of {len(used):,} rows "
        "it was not trained on"
    )
    advice = "Read the first ones; it doubts rare and hard rows, too, so drop none unread."
    return [Flag("label_noise", Severity.INFO, message, hits, advice)]


def _guesses(
    texts: Sequence[str], labels: Sequence[str], groups: Sequence[int]
) -> tuple[dict[int, tuple[float, str]], float]:
    """For each doubtful row how far which label is ahead; and the share that is guessed right."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    names = sorted(set(labels))
    truth = np.array([names.index(label) for label in labels])
    vectors = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, max_features=FEATURES, sublinear_tf=True
    ).fit_transform(texts)
    chance = np.zeros((len(texts), len(names)))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for learned, asked in folds.split(vectors, truth, groups):
        model = LogisticRegression(C=10.0, max_iter=300)
        model.fit(vectors[learned], truth[learned])
        chance[np.ix_(asked, model.classes_)] = model.predict_proba(vectors[asked])
    sure = np.array([chance[truth == k, k].mean() for k in range(len(names))])
    over = np.where(chance >= sure, chance, -1.0)
    best = over.argmax(axis=1)
    found = {
        i: (float(chance[i, best[i]] - chance[i, truth[i]]), names[best[i]])
        for i in range(len(texts))
        if over[i, best[i]] > 0 and best[i] != truth[i] and chance[i, best[i]] > chance[i, truth[i]]
    }
    return found, float((chance.argmax(axis=1) == truth).mean())
