"""What the documents point to is there: files, headings, modules, functions."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")
# `infra_core/lm/objective.py` or, for what is defined there, `infra_core/lm/objective.py::summed_loss`
PATH = re.compile(r"`((?:infra_core|tasks|flows|tests|docs|deployments)/[\w./-]*)(?:::(\w+))?`")
DOCUMENTS = sorted([
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "deployments").rglob("*.md"),
])


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def anchors(path: Path) -> set[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+\s+(.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@cache
def definitions(path: Path) -> set[str]:
    """Functions, classes, methods and names assigned in a module."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_relative_links_resolve(document):
    for target in LINK.findall(document.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        place, _, anchor = target.partition("#")
        found = (document.parent / place).resolve() if place else document
        assert found.exists(), f"{target} leads nowhere"
        assert not anchor or anchor in anchors(found), f"{target}: {named(found)} has no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_paths_and_functions_named_in_backticks_exist(document):
    for place, name in PATH.findall(document.read_text()):
        found = ROOT / place
        assert found.exists(), f"{place} does not exist"
        assert not name or name in definitions(found), f"{place} defines no {name}"
