"""A session's adapter merged into what it stood on, looked at before it is accepted.

The merged model is loaded as the next session will load it, and held against the one that was
trained: log-probabilities at the answers, and the answers' own scores. Where the two differ, the
session stays as it is, its adapter beside the base; nothing is lost.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import ModelError
from tunesmith.pipeline.context import Desk
from tunesmith.pipeline.identity import adapter_inputs
from tunesmith.pipeline.lineage import recorded_hash
from tunesmith.pipeline.training import mean_scores, take_base
from tunesmith.records import Example
from tunesmith.store.provenance import code_hash

if TYPE_CHECKING:
    from tunesmith.store.nouns import StageArtefact

LOOKED_AT = 64  # test examples on which the two models are compared
LIKE = 0.02  # by which the mean score may differ: near-equal words may change places


@dataclass(frozen=True, slots=True)
class MergedSession:
    """A merged model: the key of its artefact, and the hash of its weights."""

    key: str
    sha256: str


class _OtherwiseError(ModelError):
    """The merged model does not answer as the trained one."""


def merge_session(
    desk: Desk, adapter: StageArtefact, data: StageArtefact, variant: str
) -> MergedSession | None:
    """Merge what the desk's recipe stands on with a session's adapter, compare, and publish.

    None where the merged model would answer otherwise.
    """
    from tunesmith.data.freeze import read_splits

    base, four_bit = desk.recipe.model, desk.recipe.four_bit(variant)
    folders = [*map(Path, base.adapters), adapter.directory / "adapter"]
    inputs = {
        "base": base.name,
        "four_bit": four_bit,
        "adapters": [adapter_inputs(folder) for folder in folders],
        "compared_on": data.key,
        "code": code_hash("models"),
    }
    test = read_splits(data.directory).test[-LOOKED_AT:]  # the newest topic stands last

    def build(directory: Path) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="tunesmith-") as scratch:
            return _merge(desk, folders, directory, test, four_bit, Path(scratch))

    try:
        artefact = desk.stand_on("merged", inputs, build, of=variant)
    except _OtherwiseError as error:
        desk.listener.say(f"{error.message}; {error.hint}")
        return None
    facts = desk.artefacts.facts("merged", artefact.key)
    desk.listener.say(
        f"merged: logits within {facts['difference']:.1g} of the trained model's (rounding "
        f"explains {facts['tolerance']:.1g}), mean score {facts['score']:.3f} against "
        f"{facts['score_trained']:.3f} on {len(test)} test examples"
    )
    return MergedSession(artefact.key, recorded_hash(artefact.directory))


def _merge(
    desk: Desk,
    adapters: Sequence[Path],
    directory: Path,
    test: Sequence[Example],
    four_bit: bool,
    scratch: Path,
) -> dict[str, Any]:
    """Write the merged model; raises `_OtherwiseError` where it is not to be stood on."""
    from tunesmith.models.adapters import with_adapter
    from tunesmith.models.agreement import check_merged
    from tunesmith.models.load import load
    from tunesmith.models.merge import concatenate, merge
    from tunesmith.models.resident import RESIDENT

    base = desk.recipe.model.model_copy(update={"adapters": ()})
    whole = adapters[0] if len(adapters) == 1 else concatenate(adapters, scratch / "whole")
    key, loaded = take_base(desk, base, four_bit=four_bit)
    found = merge(loaded, whole, directory)
    as_used = {"name": str(directory), "revision": None, "dtype": "float32"}
    merged = load(base.model_copy(update=as_used), four_bit=False, hardware=desk.hardware)
    trained = with_adapter(loaded, whole)
    agreement = check_merged(trained, merged, trained.renderer.examples(test))
    like = max(LIKE, 2 / max(len(test), 1))  # an answer or two may fall the other way
    models, first = {"score_trained": trained, "score": merged}, desk.task.primary
    score = {name: mean_scores(desk, it, test).get(first, 0.0) for name, it in models.items()}
    RESIDENT.give_back(key, trained)
    if not agreement.accepted or abs(score["score"] - score["score_trained"]) > like:
        raise _OtherwiseError(
            f"not merged: the logits would be {agreement.difference:.2g} apart where rounding "
            f"explains {agreement.tolerance:.1g}, {agreement.kept:.0%} of what was learned would "
            f"show, and the mean score would go from {score['score_trained']:.3f} to "
            f"{score['score']:.3f}",
            hint="the adapter stays beside its base, which answers as it was trained",
        )
    size = {"bytes": found.bytes, "update": found.update}
    return asdict(agreement) | {"accepted": agreement.accepted} | score | size
