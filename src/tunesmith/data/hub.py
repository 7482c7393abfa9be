"""Data sets of the Hugging Face hub, at one commit.

The revision that a recipe names (a branch, a tag, nothing) is resolved to a commit first and the
rows are read at that commit, so that the manifest pins what was read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith.data.columnar import pick_split, read_dataset
from tunesmith.data.source import RawRow, Source
from tunesmith.errors import DataError

HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:[\w.-]+)?$")

COMMIT = re.compile(r"^[0-9a-f]{40}$")


def looks_like_hub_id(path: str) -> bool:
    """Whether `path` has the form owner/name or owner/name:configuration."""
    return HUB_ID.match(path) is not None


def resolve_revision(path: str, revision: str | None) -> str:
    """The commit (40 hex digits) that `revision` of the data set stands for now.

    A whole commit stands for itself: the hub is not asked, and what is cached is read without it.
    """
    if revision is not None and COMMIT.match(revision):
        return revision
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (  # type: ignore[attr-defined] # HTTPError is httpx's
        GatedRepoError,
        HfHubHTTPError,
        HTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = path.partition(":")[0]
    try:
        sha = HfApi().dataset_info(name, revision=revision, timeout=30).sha
    except GatedRepoError as error:
        raise DataError(
            f"{name}: this data set is gated on the hub.",
            hint="Accept its terms on its page, then log in with `hf auth login`.",
        ) from error
    except RepositoryNotFoundError as error:
        raise DataError(
            f"{path}: neither a file here nor a data set that the hub knows (or lets you see).",
            hint="Check the spelling; a private one needs `hf auth login`.",
        ) from error
    except RevisionNotFoundError as error:
        raise DataError(
            f"{name}: the hub knows no revision {revision!r} of it.",
            hint="Name a branch, a tag or a commit of the data set, or leave it out.",
        ) from error
    except (HfHubHTTPError, HTTPError, OSError) as error:
        raise DataError(
            f"{path}: no file of this name is here, and the hub cannot be asked: {_short(error)}",
            hint="Check the path, or the network (HF_ENDPOINT, proxies), or use a local copy.",
        ) from error
    if not sha:
        raise DataError(f"{name}: the hub names no commit for it.", hint="Name a revision.")
    return str(sha)


def read_hub(source: Source, revision: str) -> Iterator[RawRow]:
    """Rows of the hub data set that `source.path` names, at the commit `revision`."""
    import datasets
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    name, _, configuration = str(source.path).partition(":")
    try:
        loaded = datasets.load_dataset(name, configuration or None, revision=revision)
    except (datasets.exceptions.DatasetsError, ValueError, OSError, HTTPError) as error:
        raise DataError(
            f"{source.path}: cannot be loaded from the hub: {_short(error)}",
            hint="Check the configuration (owner/name:configuration) and the network.",
        ) from error
    dataset = pick_split(loaded, source.split, str(source.path))
    _check_commit(dataset, name, revision)
    yield from read_dataset(dataset, f"{name}/{dataset.split}")


def _check_commit(dataset: Any, name: str, revision: str) -> None:
    """Refuse rows of another commit: out of the hub's reach, `datasets` (5.2) takes the latest that
    is in its cache, whatever was asked for. It keeps each commit in a folder of that name."""
    for file in dataset.cache_files:
        commit = Path(file["filename"]).parent.name
        if COMMIT.match(commit) and commit != revision:
            raise DataError(
                f"{name}: the hub cannot be asked, and the cache holds commit {commit[:12]}, not "
                f"{revision[:12]}.",
                hint="Go online once (HF_HUB_OFFLINE unset), or name the commit that is there.",
            )


def _short(error: BaseException) -> str:
    """The first two lines of what a library says: the second often holds the names to choose."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__
