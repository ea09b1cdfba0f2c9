"""Scores by the model on its way: the mean of what it says after shares of its training."""

import numpy as np
import pytest

from flows.attribute import attribute
from infra_core.corpus.schema import SCORES
from infra_core.recipe import Recipe
from infra_core.store.artifact import Artifact
from infra_core.store.lineage import ancestors
from infra_core.store.tables import read_tables
from tasks._checkpoint import load_checkpoint
from tasks._factors import fitted_as, load_fitted


@pytest.fixture(scope="module")
def scored(finished):
    """The finished recipe, scored after half of its training and at its end."""
    given = Recipe.load(finished.recipe)
    train = given.train.model_copy(update={"scored_after": (0.5, 1.0)})
    return attribute(given.model_copy(update={"train": train}), finished.ctx)


def inputs(finished, scored):
    """The scores that were averaged, those by the earlier model first."""
    of = [
        found
        for name, found in ancestors(finished.ctx.store, scored.scores)
        if isinstance(found, Artifact) and found.stage == "score"
    ]
    factors = {each: finished.ctx.store.manifest(each).inputs["factors"] for each in of}
    keys = [fit.key for fit in scored.fits]
    return sorted(of, key=lambda each: keys.index(factors[each]))


def test_a_score_is_the_mean_of_both_models(finished, scored):
    store = finished.ctx.store
    half, end = (read_tables(store, each, SCORES) for each in inputs(finished, scored))
    mean = read_tables(store, scored.scores, SCORES)
    assert scored.scores.stage == "average"
    assert mean.select("example_id", "group").equals(end.select("example_id", "group"))
    expected = (half["influence"].to_numpy() + end["influence"].to_numpy()) / 2
    np.testing.assert_allclose(mean["influence"].to_numpy(), expected, rtol=1e-6, atol=1e-8)
    for column in ("spans", "tokens"):
        assert mean[column].list.len().equals(end[column].list.len())
        np.testing.assert_allclose(
            mean[column].list.sum().to_numpy(), mean["influence"].to_numpy(), rtol=1e-3, atol=1e-4
        )


def test_what_is_kept_on_the_way_leaves_the_end_as_it_was(finished, scored):
    """The last of the averaged scores are those of the run without; to the byte."""
    store = finished.ctx.store
    _, end = inputs(finished, scored)
    found = {part["sha256"] for part in store.manifest(end).parts.values()}
    assert found <= {sha for (stage, _, _), sha in finished.hashes.items() if stage == "score"}


def test_the_model_of_a_fit_is_the_one_that_was_kept_then(finished, scored):
    ctx = finished.ctx
    half = fitted_as(ctx, scored.fits[0])
    assert (half.after, fitted_as(ctx, scored.factors).after) == (0.5, None)
    model, _ = load_fitted(ctx, scored.checkpoint, half)
    end, _ = load_checkpoint(ctx, scored.checkpoint)
    assert any(not a.equal(b) for a, b in zip(model.parameters(), end.parameters(), strict=True))
    assert model.dtype == end.dtype
