"""Lineages: what a session leaves to stand on, whether the chain is whole, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import ModelError, StoreError
from tunesmith.store.chain import Chain, chain_of, path_to
from tunesmith.store.home import store_of

if TYPE_CHECKING:
    from tunesmith.store.artefacts import Artefacts
    from tunesmith.store.lineages import LearnedSession
    from tunesmith.store.store import Store

WEIGHTS = ".safetensors"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a session leaves for the next: a base, the frozen adapters on it, and whether they were
    trained on its weights in 4 bits."""

    base: str
    adapters: tuple[Path, ...] = ()
    four_bit: bool = False


def standing(path: Sequence[LearnedSession], artefacts: Artefacts) -> Standing:
    """What the last session of a path leaves to stand on."""
    if not path:
        raise ValueError("the base itself stands on nothing")
    found = Standing(path[0].base)
    for session in path:
        if session.merged is not None:
            found = Standing(str(artefacts.place("merged", session.merged)))
            continue
        adapter = artefacts.place("adapter", session.adapter) / "adapter"
        kept = found.adapters[:-1] if session.continued else found.adapters
        found = Standing(found.base, (*kept, adapter), session.four_bit)
    return found


def check_path(path: Sequence[LearnedSession], artefacts: Artefacts) -> None:
    """Every link is there, and holds what it held when it was made; StoreError names the first
    that is not."""
    for session in path:
        at = f"session {session.number} ({session.topic}) of {session.lineage}"
        links = [("adapter", session.adapter, session.adapter_sha256)]
        if session.merged is not None:
            links.append(("merged", session.merged, session.merged_sha256 or ""))
        for stage, key, expected in links:
            place = artefacts.get(stage, key)
            if place is None:
                raise StoreError(
                    f"{at}: its {stage} model is missing or incomplete "
                    f"({artefacts.place(stage, key)})",
                    hint="restore the folder, or tunesmith rollback to a session before it",
                )
            changed = artefacts.changed(stage, key)
            if recorded_hash(place) != expected or changed.endswith(WEIGHTS):
                changed = f"its {stage} weights"
            if changed:
                raise StoreError(
                    f"{at}: {changed} are not those that were saved (checksum)",
                    hint="restore the folder, or tunesmith rollback to a session before it",
                )


def check_base(path: Sequence[LearnedSession], *, base: str, tokenizer: str, weights: str) -> None:
    """The recipe's base is the one that the lineage stands on; ModelError where it is not."""
    for session in path[:1]:
        if session.base != base:
            raise ModelError(
                f"the lineage {session.lineage} stands on {session.base}, the recipe says {base}",
                hint="begin another with --lineage NAME: an adapter fits its own base alone",
            )
        if session.tokenizer != tokenizer:
            raise ModelError(
                f"the tokenizer of {base} is not the one that {session.lineage} was learned with",
                hint="pin model.revision, or begin another lineage with --lineage NAME",
            )
        if session.weights != weights:
            raise ModelError(
                f"the weights of {base} are not those that {session.lineage} stands on",
                hint="pin model.revision, or begin another lineage with --lineage NAME",
            )


def recorded_hash(artefact: Path) -> str:
    """SHA-256 over the names and hashes of an artefact's weight files, as it was published."""
    from tunesmith.records import digest
    from tunesmith.store.artefacts import read_manifest

    files: dict[str, dict[str, str]] = (read_manifest(artefact) or {}).get("files", {})
    weights = sorted(name for name in files if name.endswith(WEIGHTS))
    return digest(*(f"{name} {files[name]['sha256']}" for name in weights))


def show_chain(home: Path, name: str | None = None) -> Chain:
    """A lineage by name, or the only one; StoreError where there is none, or more than one."""
    from tunesmith.store.store import Store

    with Store.open(store_of(home)) as store:
        return chain_of(store, name_of(store, name))


def name_of(store: Store, name: str | None) -> str:
    """The name, where it is one; without a name, the only lineage there is."""
    known = store.lineages()
    if name is None and len(known) == 1:
        return next(iter(known))
    if name is None or name not in known:
        raise StoreError(
            f"there is no lineage {name}" if name else "which lineage?",
            hint=f"there is {', '.join(known)}" if known else "tunesmith learn RECIPE begins one",
        )
    return name


def roll_back(home: Path, name: str | None = None, to: int | None = None) -> Chain:
    """Make an earlier session the current one (by default the parent); nothing is deleted.

    Raises StoreError where it is not there, or where its models are not whole.
    """
    from tunesmith.store.artefacts import Artefacts
    from tunesmith.store.store import Store

    with Store.open(store_of(home)) as store:
        lineage = name_of(store, name)
        sessions = store.sessions(lineage)
        current = store.lineages()[lineage]
        if to is None:
            if not current:
                raise StoreError(
                    f"{lineage} is at its base already", hint="name a session to go to"
                )
            to = next((s.parent for s in sessions if s.number == current), 0)
        if to and to not in {s.number for s in sessions}:
            raise StoreError(
                f"{lineage} has no session {to}", hint="tunesmith lineage shows the chain"
            )
        check_path(path_to(sessions, to), Artefacts(home))
        store.set_current(lineage, to)
        return chain_of(store, lineage)
