"""Every paper that code or documents cite has a line in docs/papers.md."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAPERS = ROOT / "docs" / "papers.md"
CITATION = re.compile(r"arxiv(?:\.org/(?:abs|pdf)/|[:\s]\s*)(\d{4}\.\d{4,5})", re.IGNORECASE)
FOLDERS = ("infra_core", "tasks", "flows", "tests", "docs", "deployments")
SUFFIXES = {".md", ".py", ".yaml", ".toml"}


def citing_files() -> list[Path]:
    """Files that may cite a paper, papers.md itself left out."""
    found = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    return [path for path in found if path.suffix in SUFFIXES and path != PAPERS]


def test_every_cited_arxiv_id_is_listed():
    listed = set(CITATION.findall(PAPERS.read_text()))
    unlisted = {
        f"{path.relative_to(ROOT)}: {cited}"
        for path in citing_files()
        for cited in CITATION.findall(path.read_text())
        if cited not in listed
    }
    assert not unlisted, f"cited, but not in docs/papers.md: {sorted(unlisted)}"


def test_no_paper_is_listed_twice():
    listed = CITATION.findall(PAPERS.read_text())
    assert sorted(set(listed)) == sorted(listed)


@pytest.mark.parametrize(
    "text",
    [
        "arXiv:2505.19949",
        "(arXiv 2505.19949)",
        "https://arxiv.org/abs/2505.19949",
        "arxiv.org/pdf/2505.19949v2",
    ],
)
def test_citations_are_seen_in_every_usual_form(text):
    assert CITATION.findall(text) == ["2505.19949"]
