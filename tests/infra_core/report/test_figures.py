"""Numbers read as people write them, and no two figures share a name."""

import pytest

from infra_core.evaluation.statistics import Interval
from infra_core.report.figures import Figures, Place


def test_units_decide_how_a_number_reads():
    """Fractions as percentages, differences as signed points, minus as minus, no sign before zero."""
    figures = Figures()
    spread = Interval(-0.012, -0.04, 0.016, 0.01, 50, 2)
    assert figures.interval("a", spread, Place(), "difference") == "−1.2 points [−4.0, +1.6]"
    assert (
        figures.interval("b", Interval(0.5, 0.25, 1.0, 0.1, 9, 1), Place(), "fraction")
        == "50.0 % [25.0, 100.0]"
    )
    assert figures.plain("c", 0.0, Place(arm="x"), "nats") == "0"
    assert figures.count("d", 12345) == "12,345"
    assert [figure["id"] for figure in figures.as_json()] == ["a", "b", "c/arm=x", "d"]
    assert figures.as_json()[0] == {
        "id": "a", "metric": "a", "unit": "difference", "value": -0.012, "low": -0.04, "high": 0.016,
        "n": 50, "seeds": 2,
    }  # fmt: skip


def test_the_same_figure_may_be_printed_twice_but_not_with_two_values():
    """Else numbers.json would say one thing and the page another."""
    figures = Figures()
    assert figures.count("rows", 1) == figures.count("rows", 1)
    with pytest.raises(ValueError, match="two figures are called rows"):
        figures.count("rows", 2)
