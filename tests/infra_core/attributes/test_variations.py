"""What changes its sign is found, and what only ceases to be clear is not."""

import polars as pl
import pytest

from infra_core.attributes.cells import CELLS
from infra_core.attributes.tokens import TOKENS
from infra_core.attributes.variations import compared

GROUP = "math/correct"


def by_class(**bounds):
    """Classes with the interval of each."""
    rows = [
        (GROUP, "math", name, 9, 9, 9, 0.5, (low + high) / 2, low, high, 0.0, None, None)
        for name, (low, high) in bounds.items()
    ]
    return pl.DataFrame(rows, schema=pl.Schema(TOKENS), orient="row")


def by_band(*rows):
    """Cells of a band and source with their interval."""
    named = [
        {"group": GROUP, "across": False, "domain": "math", "band": band, "source": source, "n_problems": 9,
         "influence": (low + high) / 2, "low": low, "high": high}
        for band, source, low, high in rows
    ]  # fmt: skip
    return pl.DataFrame(named, schema=pl.Schema(CELLS))


@pytest.mark.parametrize(
    ("own", "other", "turned"),
    [
        ((0.1, 0.3), (-0.3, -0.1), True),
        ((-0.3, -0.1), (0.1, 0.3), True),
        ((0.1, 0.3), (-0.3, 0.1), False),
        ((-0.1, 0.3), (-0.3, -0.1), False),
        ((0.1, 0.3), (0.2, 0.9), False),
    ],
)
def test_a_sign_turns_where_both_intervals_exclude_zero_on_either_side(own, other, turned):
    table = compared(
        {"token_class": by_class(operator=own)}, {"all": {"token_class": by_class(operator=other)}}
    )
    assert table.select("variation", "label", "turned").rows() == [
        ("own", "operator", False),
        ("all", "operator", turned),
    ]


def test_bands_are_compared_over_all_sources_and_rows_without_one_too():
    own = by_band(("easy", None, 0.1, 0.2), (None, None, 0.1, 0.2), ("easy", "ours", 0.1, 0.2))
    other = by_band((None, None, -0.2, -0.1), ("easy", None, 0.1, 0.2), ("easy", "ours", -0.2, -0.1))
    table = compared({"band": own}, {"unit norm": {"band": other}})
    varied = table.filter(pl.col("variation") != "own")
    assert varied.select("label", "turned").rows() == [("easy", False), ("unrated", True)]


def test_without_variations_there_is_nothing_to_compare():
    assert compared({"token_class": by_class(operator=(0.1, 0.3))}, {}).is_empty()
