"""The walk in the documents runs, line by line."""

import doctest
from pathlib import Path

WALK = Path(__file__).resolve().parents[2] / "docs" / "walk.md"


def test_the_walk_runs():
    result = doctest.testfile(str(WALK), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 20
    assert result.failed == 0
