"""Rank correlations over subsets: against scipy, and against worlds whose truth is known."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from infra_core.validity.lds import Bank

ROWS, SUBSETS, QUERIES = 30, 40, 6


def world(seed: int = 0, noise: float = 0.0, seeds: int = 2, rows: int = ROWS, subsets: int = SUBSETS):
    """A world in which rows add up: what a subset does is the sum of what its rows are worth, and luck."""
    random = np.random.default_rng(seed)
    members = random.random((subsets, rows)).argsort(axis=1) < rows // 2
    worth = random.normal(size=(rows, QUERIES))
    luck = noise * np.sqrt(rows) * random.normal(size=(subsets, seeds, QUERIES))
    return Bank(members, (members @ worth)[:, None] + luck, ("a", "a", "a", "b", "b", "b")), worth


def test_where_rows_add_up_what_they_are_worth_predicts_every_subset():
    bank, worth = world()
    assert bank.judge(worth, 0).value == pytest.approx(1.0)
    assert bank.judge(-worth, 0).value == pytest.approx(-1.0)
    assert bank.judge_group("b", worth, 0).value == pytest.approx(1.0)
    assert bank.ceiling(0).value == bank.ceiling(0, "a").value == pytest.approx(1.0)


def test_the_correlation_of_a_query_is_spearmans():
    bank, worth = world(noise=0.5)
    scores = worth + np.random.default_rng(1).normal(size=worth.shape)
    predicted, actual = bank.members @ scores, bank.outcomes.mean(axis=1)
    expected = [spearmanr(predicted[:, query], actual[:, query]).statistic for query in range(QUERIES)]
    assert bank.judge(scores, 0).value == pytest.approx(np.mean(expected), abs=1e-12)
    of_group = spearmanr(predicted[:, :3].mean(axis=1), actual[:, :3].mean(axis=1)).statistic
    assert bank.judge_group("a", scores, 0).value == pytest.approx(of_group, abs=1e-12)


@pytest.mark.parametrize(("unit", "origin"), [(1e-6, 0.0), (3.0, -7.0), (1.0, 1000.0)])
def test_unit_and_origin_of_scores_do_not_matter(unit, origin):
    """Subsets are of one size, so a constant on every row is a constant on every subset."""
    bank, worth = world(noise=0.3)
    expected = bank.judge(worth, 0).value
    assert bank.judge(unit * worth + origin, 0).value == pytest.approx(expected, abs=1e-9)


def test_scores_that_tell_no_row_from_another_predict_nothing():
    bank, worth = world()
    assert bank.judge(np.full_like(worth, 0.1), 0).value == 0.0
    assert abs(bank.judge(np.random.default_rng(5).normal(size=worth.shape), 0).value) < 0.3


def test_noise_lowers_the_ceiling_and_more_seeds_raise_it():
    quiet, loud = world(noise=0.1)[0], world(noise=0.6)[0]
    assert quiet.ceiling(0).value > 0.9 > loud.ceiling(0).value > 0
    assert world(noise=0.6, seeds=8)[0].ceiling(0).value > loud.ceiling(0).value


def test_predictions_are_compared_subset_for_subset():
    """Two that are nearly alike differ by far less than either is uncertain."""
    bank, worth = world(noise=0.7)
    near = worth + 0.05 * np.random.default_rng(2).normal(size=worth.shape)
    found = {"one": bank.judge(worth, 3), "near": bank.judge(near, 3), "none": bank.judge(0 * worth, 3)}
    assert (found["one"] - found["near"]).interval().stderr < found["one"].interval().stderr / 3
    assert (found["one"] - found["none"]).interval().low > 0


def test_intervals_cover_what_a_huge_bank_would_find():
    """95 % of them should; one in ten missing is the most that chance allows here."""
    truth = np.mean([world(seed=s, noise=1.0, subsets=4000, rows=20)[0].ceiling(0, "a").value for s in (1,)])
    covered = 0
    for seed in range(200):
        bank, _ = world(seed=1, noise=1.0, rows=20, subsets=4000)
        some = np.random.default_rng(seed).choice(4000, size=48, replace=False)
        found = Bank(bank.members[some], bank.outcomes[some], bank.groups).ceiling(seed, "a").interval()
        covered += found.low <= truth <= found.high
    assert covered >= 180
