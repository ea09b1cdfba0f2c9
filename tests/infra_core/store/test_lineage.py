"""Where an artifact comes from."""

import shutil
from pathlib import Path

from infra_core.store.lineage import ancestors
from infra_core.store.store import ArtifactStore


def make(store, stage, **inputs):
    return store.materialize(stage, 1, None, inputs, lambda out: None, {})


def test_ancestors_are_listed_once_each_with_their_depth(tmp_path):
    store = ArtifactStore(str(tmp_path))
    corpus = make(store, "ingest")
    model = make(store, "train", corpus=corpus)
    scores = make(store, "score", checkpoint=model, corpus=corpus)
    make(store, "unrelated")
    assert ancestors(store, scores) == [(0, scores), (1, model), (2, corpus)]


def test_an_ancestor_that_was_deleted_is_still_named_by_its_key(tmp_path):
    store = ArtifactStore(str(tmp_path))
    corpus = make(store, "ingest")
    model = make(store, "train", corpus=corpus)
    shutil.rmtree(Path(corpus.uri.removeprefix("file://")))
    assert ancestors(store, model) == [(0, model), (1, corpus.key)]
