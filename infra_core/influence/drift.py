r"""How far a corpus has moved from the one that a model and its factors are of.

Two things are looked at. How many rows came or went, since the model learnt from the others. And how far
those that came move the curvature: their Λ along the bases of before, in units of what scores divide by.
With n rows now, m of them new, the mean whitened square of a gradient was

.. math:: w = \sum_{ij} \Lambda_{ij} / (\Lambda_{ij} + \lambda)

and is w′ for the new rows alone, with their Λ above the line. Λ of all rows would move it by
(m / n) (w′ / w − 1). Rows of the same kind have a w′ of nearly w where factors are of a hundred rows or more;
bases and Λ of few rows are fitted to those, and all others look strange beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from infra_core.influence.factors import Factors, IdentityFactors, damped_inverse
from infra_core.recipe import DriftLimits, FactorParams

MEASURED = ("ekfac", "diagonal")
"""Curvatures whose Λ is that of rows; that of others says nothing of them, so rows are counted only."""


@dataclass(frozen=True)
class Drift:
    """A corpus beside an earlier one.

    Attributes
    ----------
    before, now
        Rows of each that differ from each other.
    new, gone
        Rows of the one that are not in the other.
    ratio
        w′ / w; None where it was not measured.
    """

    before: int
    now: int
    new: int
    gone: int
    ratio: float | None = None

    @property
    def rows(self) -> float:
        """Share of rows that came or went."""
        return (self.new + self.gone) / max(self.before, 1)

    @property
    def curvature(self) -> float | None:
        """Share by which the rows that came move the curvature."""
        return None if self.ratio is None else self.new / max(self.now, 1) * abs(self.ratio - 1)

    def told(self, limits: DriftLimits) -> str:
        """Say it in a sentence, beside what is allowed.

        Examples
        --------
        >>> Drift(before=100, now=101, new=1, gone=0, ratio=1.5).told(DriftLimits())
        '1 of 101 rows is new and 0 are gone: 1.0 % (at most 5.0 %); curvature moves by 0.5 % (at most 5.0 %)'
        """
        is_new = "is" if self.new == 1 else "are"
        rows = f"{self.new:,} of {self.now:,} rows {is_new} new and {self.gone:,} are gone"
        found = f"{rows}: {_percent(self.rows)} (at most {_percent(limits.rows)})"
        if self.curvature is None:
            return found
        return (
            f"{found}; curvature moves by {_percent(self.curvature)} (at most {_percent(limits.curvature)})"
        )

    def is_near(self, limits: DriftLimits) -> bool:
        """Whether both are within what is allowed, as far as they were measured."""
        return self.rows <= limits.rows and (self.curvature or 0.0) <= limits.curvature


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def is_measured(params: FactorParams) -> bool:
    """Whether factors that were fitted so have a Λ that rows can be held against."""
    return params.curvature in MEASURED


def whitened(
    eigenvalues: Mapping[str, Tensor], factors: Mapping[str, Factors], *, damping: float
) -> tuple[float, float]:
    """Return w′ and w, of rows with these eigenvalues and of those that the factors are of.

    Both add up over blocks.
    """
    found, own = 0.0, 0.0
    for name, values in eigenvalues.items():
        one = factors[name]
        if isinstance(one, IdentityFactors):
            continue
        weights = damped_inverse(one, damping=damping).double()
        found += float((values.to(weights) * weights).sum())
        own += float((one.eigenvalues.double() * weights).sum())
    return found, own
