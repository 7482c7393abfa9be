"""Where a figure comes from: code, libraries, command."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "datasets")


@cache
def code_hash(*parts: str) -> str:
    """Hash of the source of some of Tunesmith's packages or files: a changed stage runs again."""
    total = hashlib.sha256()
    for part in parts:
        place = PACKAGE / part
        for file in [place] if place.is_file() else sorted(place.rglob("*.py")):
            total.update(file.relative_to(PACKAGE).as_posix().encode())
            total.update(file.read_bytes())
    return total.hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python, Tunesmith and the libraries that a result depends on."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in ("tunesmith", *LIBRARIES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state() -> tuple[str | None, bool | None]:
    """Revision of the repository one stands in, and whether it was dirty; None outside of one."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], capture_output=True, text=True, check=False, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    revision = git("rev-parse", "HEAD")
    if not revision:
        return None, None
    return revision, bool(git("status", "--porcelain"))


def command_line() -> str:
    """The command as it was typed, near enough to type it again."""
    program = Path(sys.argv[0]).name
    return shlex.join([program, *sys.argv[1:]])
