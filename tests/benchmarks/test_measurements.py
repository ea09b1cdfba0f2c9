"""From the seconds, scores and bytes of each side to results."""

import numpy as np
import pytest

from benchmarks import ours
from benchmarks.measurements import against_bergson, against_kronfluence, against_the_limit, levels

SCORES = np.random.default_rng(0).normal(size=(2, 8))
SECONDS = {"covariance": 1.0, "eigh": 2.0, "lambda": 1.0, "queries": 0.5, "scores": 0.5}


def ours_like(**changes):
    flops = {"covariance": 6e9, "lambda": 3e9, "scores": 2e9}
    reply = {
        "scores": SCORES.tolist(),
        "seconds": SECONDS,
        "flops": flops,
        "gemm_rate": 1e10,
        "peak_bytes": 50,
    }
    return reply | changes


def theirs_like(**changes):
    seconds = {"covariance": 4.0, "eigh": 2.0, "lambda": 5.0, "scores": 3.0}
    return {"scores": (2 * SCORES).tolist(), "seconds": seconds, "peak_bytes": 100} | changes


def by_name(results):
    return {result.name: result for result in results}


def test_work_leaves_out_the_eigendecomposition_and_total_does_not():
    found = by_name(against_kronfluence([ours_like()] * 2, [ours_like()] * 2, theirs_like()))
    assert found["kronfluence work"].value == pytest.approx(12 / 3)
    assert found["kronfluence total"].value == pytest.approx(14 / 5)
    assert found["memory"].value == pytest.approx(0.5)


def test_the_slower_of_our_runs_counts_as_much_as_the_faster():
    slow = ours_like(seconds={stage: 3 * seconds for stage, seconds in SECONDS.items()})
    found = by_name(against_kronfluence([ours_like(), slow], [ours_like()], theirs_like()))
    assert found["kronfluence work"].value == pytest.approx(12 / 6)


def test_scores_that_differ_fail_their_bar_however_fast_they_came():
    wrong = theirs_like(scores=np.roll(SCORES, 1, axis=1).tolist())
    kronfluence = by_name(against_kronfluence([ours_like()], [ours_like()], wrong))
    assert kronfluence["kronfluence pearson"].holds is False
    assert kronfluence[f"kronfluence spearman, policy {ours.FASTEST}"].holds is False
    bergson = by_name(against_bergson([ours_like()], wrong | {"seconds": {"total": 9.0}}))
    assert bergson["bergson spearman"].holds is False
    assert bergson["bergson total"].holds is True


def test_the_limit_is_necessary_operations_over_seconds_over_the_rate():
    found = by_name(against_the_limit(ours_like()))
    assert found["limit covariance"].value == pytest.approx(0.6)
    assert found["limit lambda"].value == pytest.approx(0.3)
    assert found["limit covariance"].holds


def test_loss_terms_are_charged_per_group_over_the_instance_level():
    seconds = {"instance": 2.0, "position": 2.2, "loss_term": 6.0, "forward_backward": 1.0}
    found = by_name(levels(lambda *_, **__: {"seconds": seconds}, quick=True))
    assert found["token level, position"].value == pytest.approx(1.1)
    assert found["token level, loss_term"].value == pytest.approx(2.0)  # (6 − 2) / 2 groups / 1 s
