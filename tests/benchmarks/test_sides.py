"""Our own sides on tiny workloads; the peers' are slow and need installing."""

from dataclasses import replace

import pytest

from benchmarks import sides
from benchmarks.workloads import QUICK

TINY = replace(QUICK["a"], rows=3, longest=16)


def test_fit_and_score_reports_every_stage_and_a_score_a_pair():
    found = sides.fit_and_score(TINY)
    assert set(found["seconds"]) == {"covariance", "eigh", "lambda", "queries", "scores"}
    assert set(found["seconds"]) - {"eigh"} <= set(found["flops"])
    assert [len(query) for query in found["scores"]] == [3, 3]
    assert found["peak_bytes"] >= 0


def test_every_level_gives_the_same_scores_of_examples():
    """`levels` raises if the instance level, which uses none of the engine's hooks, disagrees."""
    assert set(sides.levels(TINY, repeats=1)["seconds"]) == {
        "instance", "position", "loss_term", "forward_backward",
    }  # fmt: skip


@pytest.mark.parametrize("axis", ["rows", "length", "width", "layers", "queries"])
def test_growth_moves_one_size_and_leaves_the_others(axis):
    changed, n_queries = sides._grown(TINY, axis, 12)
    moved = {
        "rows": replace(TINY, rows=12),
        "length": replace(TINY, shortest=12, longest=12),
        "width": replace(TINY, hidden=12, mlp=48),
        "layers": replace(TINY, layers=12),
        "queries": TINY,
    }
    assert (changed, n_queries) == (moved[axis], 12 if axis == "queries" else 2)
