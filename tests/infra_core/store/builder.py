"""A process of its own that slowly builds one artifact and notes what it does; run by the tests."""

import json
import sys
import time
from pathlib import Path

from infra_core.store.store import ArtifactStore, WorkDir
from tests.faults import sleep_in_another_time

PARTS = ["0.bin", "1.bin", "2.bin", "3.bin"]


def content(name: str) -> bytes:
    """What part `name` holds."""
    return name.encode() * 1000


def main(root: str, log: str, lease_seconds: float, pause: float = 0.1) -> None:
    """Build, noting each part in `log` when it is half written and when it is whole."""

    def note(text: str) -> None:
        with Path(log).open("a") as file:
            file.write(f"{text}\n")

    def build(out: WorkDir) -> None:
        note("build")
        for name in out.pending(PARTS):
            with out.open(name) as file:
                file.write(content(name)[:1000])
                note(f"half {name}")
                time.sleep(pause)
                file.write(content(name)[1000:])
            note(name)

    sleep_in_another_time()
    note("ready")
    artifact = ArtifactStore(root, lease_seconds).materialize("slow", 1, None, {}, build, {})
    note(f"finished {artifact.key}")


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
