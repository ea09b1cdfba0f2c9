"""The tree in docs/architecture.md is the tree of the code."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
ENTRY = re.compile(r"^( *)([\w.]+/?)(?:  .*)?$")


def drawn() -> list[str]:
    """Paths of the modules in the drawing, in its order."""
    drawing = ARCHITECTURE.read_text().split("\n## The tree\n")[1].split("```")[1]
    folders: list[str] = []
    paths = []
    for line in drawing.strip("\n").splitlines():
        if not line.strip():
            continue
        entry = ENTRY.match(line)
        assert entry, f"no entry of a tree: {line!r}"
        depth = len(entry[1]) // 2
        folders = [*folders[:depth], entry[2].rstrip("/")]
        if not entry[2].endswith("/"):
            paths.append("/".join(folders))
    return paths


def test_every_module_is_drawn_once_and_nothing_else():
    modules = {
        str(path.relative_to(ROOT))
        for package in ("infra_core", "tasks", "flows")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert sorted(drawn()) == sorted(modules), "give each module a line in docs/architecture.md"
