"""Where and with what an artifact was made: recorded in its manifest, never hashed."""

import os
import platform
import shutil
import socket
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "transformers", "prefect", "lm_eval", "polars")


def provenance() -> dict[str, str]:
    """Describe the code, the packages and the machine. Holds no environment variable and no credential."""
    found = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hostname": socket.gethostname(),
        "cpu_count": str(os.cpu_count()),
        **_commit(),
    }
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _commit() -> dict[str, str]:
    """The commit of this code and whether it was edited since; nothing if it does not lie in a checkout."""
    folder = Path(__file__).parent
    # An environment inside somebody's checkout is not that checkout's code: git must know this very file.
    if _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return {}
    commit = _git(folder, "rev-parse", "HEAD")
    edits = _git(folder, "status", "--porcelain", "--untracked-files=no", ":/")
    if commit is None or edits is None:
        return {}
    return {"git_commit": commit, "git_dirty": "true" if edits else "false"}


def _git(folder: Path, *arguments: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    # Without optional locks: asking must not get in the way of a commit made meanwhile.
    command = [git, "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
