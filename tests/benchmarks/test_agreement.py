"""Correlations and growth."""

import numpy as np
import pytest

from benchmarks.agreement import growth_exponent, pearson, spearman


def test_pearson_ignores_scale_and_shift_but_not_sign():
    values = np.random.default_rng(0).normal(size=(2, 9))
    assert pearson(values, 3 * values + 1) == pytest.approx(1)
    assert pearson(values, -values) == pytest.approx(-1)


def test_spearman_is_that_of_the_worst_query():
    """Taken over all pairs together, the first query would hide the second."""
    values = np.arange(10.0).reshape(2, 5)
    other = np.stack([values[0] ** 3, -values[1]])
    assert spearman(values, values**3) == pytest.approx(1)
    assert spearman(values, other) == pytest.approx(-1)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.5])
def test_a_power_law_gives_back_its_exponent(power):
    sizes = (8, 16, 64)
    found = growth_exponent(sizes, [0.3 * size**power for size in sizes])
    assert found == pytest.approx((power, 0), abs=1e-6)


def test_an_exponent_s_error_is_what_it_scatters_by():
    random, sizes = np.random.default_rng(0), np.geomspace(1, 64, 7)
    found = [growth_exponent(sizes, sizes * np.exp(0.1 * random.normal(size=7))) for _ in range(400)]
    told = np.mean([one.error for one in found])
    assert told == pytest.approx(np.std([one.exponent for one in found]), rel=0.1)
