"""A command of Prefect that is loaded at once and begins when a file is there.

``python -m flows.held FILE STARTER worker start …``: what takes seconds to load, and needs a server that
takes as long to come up, need not wait for it. It ends if the process STARTER is gone before the file came.
"""

import os
import sys
import time
from importlib import import_module
from pathlib import Path

from prefect.cli import app
from prefect.plugins import load_prefect_collections

LOADED = ("prefect.deployments.runner", "prefect.workers.process")
"""What `prefect deploy` and `prefect worker` would load once they begin, beside plugins."""

POLL_SECONDS = 0.05


def main(gate: Path, starter: int, arguments: list[str]) -> None:
    """Load, wait for the file, run the command."""
    for name in LOADED:
        import_module(name)
    load_prefect_collections()
    while not gate.exists():
        if os.getppid() != starter:
            return
        time.sleep(POLL_SECONDS)
    sys.argv = ["prefect", *arguments]
    app()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
