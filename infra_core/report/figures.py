"""The numbers of a report. Whatever is printed is registered here first, so that numbers.json has it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from infra_core.evaluation.statistics import Interval

# A difference is shown with its sign, the size of one without; both are fractions shown as points.
Unit = Literal[
    "fraction",
    "difference",
    "size",
    "nats per token",
    "perplexity",
    "nats",
    "benefit",
    "correlation",
    "weight",
    "rows",
    "tokens",
    "questions",
    "seeds",
    "subsets",
    "seconds",
    "MiB",
]


@dataclass(frozen=True)
class Place:
    """What a figure is about; None where it is about all of them."""

    arm: str | None = None
    task: str | None = None
    domain: str | None = None
    band: str | None = None
    group: str | None = None  # of queries, or the pool of rows
    source: str | None = None
    reason: str | None = None
    against: str | None = None  # the arm, or method, that a difference is from
    behaviour: str | None = None  # of spans
    token_class: str | None = None
    word: str | None = None  # that tokens stand in
    rule: str | None = None  # of tokens, where it is not the recipe's own
    attribute: str | None = None  # of examples, by whose fifths they are looked at
    stratum: str | None = None  # which fifth
    variation: str | None = None  # of how influence is taken
    design: str | None = None  # of the subsets that models were trained on
    method: str | None = None  # that gave scores

    def __str__(self) -> str:
        """Return the part of a figure's id that says where it stands."""
        return "/".join(f"{key}={value}" for key, value in asdict(self).items() if value is not None)


EVERYWHERE = Place()


@dataclass(frozen=True)
class Figure:
    """One number and where it stands.

    Attributes
    ----------
    value, low, high
        With its 95 % interval where it has one. Fractions, though the text shows percentages.
    n
        What the interval is over: questions, or problems for influence.
    seeds
        Training seeds behind it.
    """

    metric: str
    unit: Unit
    value: float | int
    place: Place
    low: float | None = None
    high: float | None = None
    n: int | None = None
    seeds: int | None = None

    @property
    def id(self) -> str:
        """Metric and place: one figure each."""
        return f"{self.metric}/{self.place}" if self.place != EVERYWHERE else self.metric

    def as_json(self) -> dict[str, Any]:
        """Return the figure flat, without the parts of its place that say nothing."""
        place = {key: value for key, value in asdict(self.place).items() if value is not None}
        numbers = {key: getattr(self, key) for key in ("value", "low", "high", "n", "seeds")}
        return {"id": self.id, "metric": self.metric, "unit": self.unit, **place, **numbers}


class Figures:
    """All figures of one report, in the order they were printed."""

    def __init__(self) -> None:
        self._by_id: dict[str, Figure] = {}

    def count(self, metric: str, value: int, place: Place = EVERYWHERE, unit: Unit = "rows") -> str:
        """Register a count and return it as text."""
        return self._add(Figure(metric, unit, value, place))

    def plain(self, metric: str, value: float, place: Place, unit: Unit) -> str:
        """Register a value that has no interval and return it as text."""
        return self._add(Figure(metric, unit, value, place))

    def interval(self, metric: str, found: Interval, place: Place, unit: Unit) -> str:
        """Register a value with its interval and return both as text."""
        return self._add(
            Figure(metric, unit, found.value, place, found.low, found.high, found.n, found.seeds)
        )

    def as_json(self) -> list[dict[str, Any]]:
        """Return all figures as JSON objects."""
        return [figure.as_json() for figure in self._by_id.values()]

    def _add(self, figure: Figure) -> str:
        known = self._by_id.setdefault(figure.id, figure)
        if known != figure:
            raise ValueError(f"two figures are called {figure.id}: {known} and {figure}; name them apart")
        return shown(figure)


def shown(figure: Figure) -> str:
    """Return a figure as the report shows it, e.g. ``41.2 % [38.0, 44.1]``."""
    text = _number(figure.value, figure.unit) + _SUFFIX.get(figure.unit, "")
    if figure.low is None or figure.high is None:
        return text
    return f"{text} [{_number(figure.low, figure.unit)}, {_number(figure.high, figure.unit)}]"


def said(entry: Mapping[str, Any]) -> str:
    """Return a figure of numbers.json as the report shows it."""
    metric, unit, value = (entry[key] for key in ("metric", "unit", "value"))
    return shown(Figure(metric, unit, value, EVERYWHERE, entry["low"], entry["high"]))


_SUFFIX = {"fraction": " %", "difference": " points", "size": " points"}


def _number(value: float | int, unit: Unit) -> str:
    match unit:
        case "fraction" | "size":
            return f"{100 * value:.1f}"
        case "seconds":
            return f"{value:,.1f}"
        case "MiB":
            return f"{value:,.0f}"
        case "difference":
            return _signed(f"{100 * value:+.1f}")
        case "nats per token":
            return f"{value:.3f}"
        case "correlation" | "weight" | "perplexity":
            return _signed(f"{value:.2f}")
        case "nats" | "benefit":
            return _signed(f"{value:+.3g}")
        case _:
            return f"{value:,}"


def _signed(text: str) -> str:
    """Write minus as minus, and nothing before a zero."""
    return text.lstrip("+-") if not text.strip("+-0.") else text.replace("-", "−")
