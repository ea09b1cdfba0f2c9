"""Rules of the house that no linter keeps."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("infra_core", "tasks", "flows")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
NAMES_NOTHING = {"utils", "util", "common", "helpers", "helper", "constants", "misc"}
LONGEST = 300


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> Iterator[str]:
    """Every module and every name that a file imports, dotted."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


def test_no_module_is_longer_than_can_be_read_at_one_go():
    lengths = {named(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_every_module_is_named_after_what_it_holds():
    assert [named(path) for path in [*MODULES, *TESTS] if path.stem in NAMES_NOTHING] == []


def test_annotations_stay_visible_to_the_shape_checker():
    blind = [named(path) for path in [*MODULES, *TESTS] if "__future__.annotations" in imported(path)]
    assert blind == [], "postponed annotations hide shapes from jaxtyping and beartype"


def test_every_module_says_what_it_is_for():
    assert [named(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_no_test_mocks_our_own_code():
    mocking = {
        named(path): name
        for path in TESTS
        for name in imported(path)
        if name.startswith(("unittest.mock", "mock.", "pytest_mock"))
    }
    assert mocking == {}, "use memory:// and tests/tiny.py instead"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_is_a_package(package):
    """A folder without `__init__.py` is left out of an installed copy and of the import contracts."""
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert [named(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_imports_go_one_way():
    found = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
