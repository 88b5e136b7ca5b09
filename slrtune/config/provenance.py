"""With which code something was made."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

# Code that is shipped to a cluster leaves its repository behind: who ships it says the commit.
COMMIT_VARIABLE = "SLRTUNE_GIT_COMMIT"
_PACKAGES = ("slrtune", "torch", "ray", "optuna", "timm")


def provenance() -> dict[str, Any]:
    """Commit and versions of what runs now, as plain data."""
    return {
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def git_commit() -> str | None:
    """The commit of this code, with ``+changes`` where files differ; None = no repository."""
    if COMMIT_VARIABLE in os.environ:
        return os.environ[COMMIT_VARIABLE] or None
    package = Path(__file__).parent.parent
    # An environment within somebody else's repository is not of its commit.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(package, "rev-parse", "HEAD")
    return f"{commit}+changes" if commit and _git(package, "status", "-s", ".") else commit


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
