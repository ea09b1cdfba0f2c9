"""Documents with examples run, line by line."""

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("document", ["walk.md", "library.md"])
def test_every_line_of_the_document_runs(document):
    result = doctest.testfile(
        str(DOCS / document), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert result.attempted > 20
    assert result.failed == 0
