"""`infra show` counts what an artifact holds, and prints foreign text as text."""

import io
import json

import pytest
from rich.console import Console

from flows.show import print_corpus, print_mixture
from infra_core.corpus.schema import CORPUS, MIXTURE
from infra_core.recipe import CleanParams, Source
from infra_core.store.lineage import ancestors
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import read_tables
from tasks._stage import RunContext
from tasks.ingest import catalogued, ingest


def shown(view, store, artifact):
    console = Console(file=io.StringIO(), width=160, highlight=False)
    view(console, store, artifact)
    return console.file.getvalue()


def cells(text):
    """The rows of all tables, as tuples of text."""
    lines = [line for line in text.splitlines() if line.startswith("│")]
    return {tuple(cell.strip() for cell in line.strip("│").split("│")) for line in lines}


@pytest.fixture(scope="module")
def artifacts(finished):
    """Artifacts of the finished run by stage."""
    found = {}
    for _, artifact in ancestors(finished.ctx.store, finished.report):
        found.setdefault(artifact.stage, []).append(artifact)
    return found


def test_a_mixture_is_counted_by_source_domain_band_and_by_why_rows_are_in_it(finished, artifacts):
    store = finished.ctx.store
    for mixture in artifacts["mix"]:
        rows = read_tables(store, mixture, MIXTURE, "mixture.parquet")
        table = cells(shown(print_mixture, store, mixture))
        for kinds in (("source", "domain", "band"), ("origin", "reason")):
            for names, here in rows.group_by(*kinds):
                assert (*names, str(here.height), f"{here['tokens'].sum():,}") in table
        [sample] = rows.head(1)["prompt"]
        assert sample.splitlines()[0] in shown(print_mixture, store, mixture)


def test_a_corpus_has_bands_and_lengths_where_a_rating_of_it_is_in_the_store(finished, artifacts):
    """The corpus of the run has 48 rows a source, sixteen of each band."""
    store = finished.ctx.store
    inputs = store.manifest(artifacts["rate_difficulty"][0]).inputs
    corpus = store.at(f"ingest/{inputs['corpus']}")
    table = cells(shown(print_corpus, store, corpus))
    found = [row for row in table if row[:3] == ("sums", "math", "easy")]
    assert [row[3] for row in found] == ["16"]
    assert sum(int(row[1]) for row in table if " to " in row[0]) == read_tables(store, corpus, CORPUS).height


def test_what_was_dropped_is_counted_by_reason_and_text_cannot_act(tmp_path):
    """A row with codes for the terminal and with markup prints as what it is; ratings are missed in words."""
    rows = [{"q": "[red]\x1b[31m1+1?", "a": "2"}, {"q": "2+2?", "a": None}, {"q": "", "a": "3"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = Source(
        name="ours", domain="math", uri=str(tmp_path / "rows.jsonl"), mapping={"prompt": "q", "response": "a"}
    )
    ctx = RunContext(ArtifactStore(str(tmp_path / "store")))
    corpus = ingest(ctx, params=catalogued([source], CleanParams(), need_response=True))
    text = shown(print_corpus, ctx.store, corpus)
    assert {("ours", "no response", "1"), ("ours", "no prompt", "1")} <= cells(text)
    assert "[red]\ufffd[31m1+1?" in text
    assert "no ratings of it are in this store" in text
