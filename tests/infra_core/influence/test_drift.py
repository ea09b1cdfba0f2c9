"""Drift is none where the rows are those of before, and as large as what new rows do to the curvature."""

import pytest
import torch

from infra_core.influence import FactorParams, fit_eigenbasis, fit_factors
from infra_core.influence.drift import Drift, is_measured, whitened
from infra_core.influence.eigenvalues import eigenvalues_along
from infra_core.recipe import DriftLimits
from tests import tiny

OLD = tiny.examples((12, 7, 9, 5, 11, 14), seed=1)
NEW = tiny.examples((30, 26), seed=2)
DAMPING = 0.1


@pytest.fixture(scope="module", params=["ekfac", "diagonal"])
def fitted(request):
    model, params = tiny.qwen2(), FactorParams(curvature=request.param)
    return model, params, fit_factors(model, OLD, params)


def ratio(fitted, rows):
    model, params, factors = fitted
    found, own = whitened(eigenvalues_along(model, rows, factors, params), factors, damping=DAMPING)
    return found / own


def test_rows_that_factors_are_of_have_their_eigenvalues(fitted):
    model, params, factors = fitted
    for name, values in eigenvalues_along(model, OLD, factors, params).items():
        torch.testing.assert_close(values, factors[name].eigenvalues, rtol=1e-5, atol=0)
    assert ratio(fitted, OLD) == pytest.approx(1)


def test_what_is_said_of_the_grown_corpus_is_what_fitting_on_it_in_the_same_bases_gives(fitted):
    """Λ is a mean over sequences, so that of all rows moves by the share of the new ones."""
    moved = ratio(fitted, [*OLD, *NEW]) - 1
    found = Drift(before=len(OLD), now=len(OLD) + len(NEW), new=len(NEW), gone=0, ratio=ratio(fitted, NEW))
    assert found.curvature == pytest.approx(abs(moved), rel=1e-4)
    assert found.curvature > 0.05  # longer rows have larger gradients
    assert not found.is_near(DriftLimits(rows=0.5))


def test_other_rows_of_the_same_kind_are_near():
    """Of enough rows: beside factors of thirty of these, others have a ratio of 1.9."""
    model, params = tiny.qwen2(), FactorParams()
    old, new = (tiny.examples((12, 7, 9, 5, 11, 14) * 20, seed=seed) for seed in (1, 2))
    assert 0.8 < ratio((model, params, fit_factors(model, old, params)), new) < 1.3


def test_rows_that_came_and_rows_that_went_both_count():
    limits = DriftLimits(rows=0.05)
    assert Drift(before=100, now=100, new=2, gone=3).is_near(limits)
    assert not Drift(before=100, now=101, new=3, gone=3).is_near(limits)


def test_the_sentence_names_numbers_and_limits():
    told = Drift(before=200, now=203, new=3, gone=0, ratio=3.0).told(DriftLimits(curvature=0.02))
    assert "3 of 203 rows are new" in told
    assert "1.5 % (at most 5.0 %)" in told
    assert "curvature moves by 3.0 % (at most 2.0 %)" in told


@pytest.mark.parametrize(("curvature", "measured"), [("kfac", False), ("identity", False), ("ekfac", True)])
def test_only_a_curvature_that_is_of_rows_is_held_against_them(curvature, measured):
    assert is_measured(FactorParams(curvature=curvature)) == measured


def test_the_bases_are_those_of_before():
    """A basis of its own would hide that new rows lie along other directions."""
    model, params = tiny.qwen2(), FactorParams()
    factors = fit_factors(model, OLD, params)
    own = fit_factors(model, NEW, params, fit_eigenbasis(model, NEW, params))
    along = eigenvalues_along(model, NEW, factors, params)
    name = next(iter(factors))
    assert along[name].sum() == pytest.approx(own[name].eigenvalues.sum().item(), rel=1e-4)
    assert not torch.allclose(along[name], own[name].eigenvalues)
