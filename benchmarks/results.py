"""A measured number, the bar it is held against, and the table and file they end up in."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Bar:
    """At least or at most so much."""

    direction: str
    limit: float

    def holds(self, value: float) -> bool:
        """Tell whether a value is on the right side; a NaN never is."""
        return value >= self.limit if self.direction == ">=" else value <= self.limit

    def __str__(self) -> str:
        return f"{self.direction} {self.limit:g}"


def at_least(limit: float) -> Bar:
    """Return the bar that values of `limit` and more clear."""
    return Bar(">=", limit)


def at_most(limit: float) -> Bar:
    """Return the bar that values of `limit` and less clear."""
    return Bar("<=", limit)


@dataclass(frozen=True, slots=True)
class Result:
    """One number. Without a bar it is only reported."""

    name: str
    value: float
    unit: str
    bar: Bar | None = None

    @property
    def holds(self) -> bool | None:
        """Whether it clears its bar; None without one."""
        return None if self.bar is None else self.bar.holds(self.value)

    def record(self) -> dict[str, object]:
        """Return it as results.json has it; a value that is not finite becomes null, which JSON can say."""
        return {
            "name": self.name,
            "value": self.value if math.isfinite(self.value) else None,
            "unit": self.unit,
            "bar": None if self.bar is None else str(self.bar),
            "holds": self.holds,
        }


def table(results: Sequence[Result]) -> Table:
    """Draw the results, those with a bar marked."""
    drawn = Table("measurement", "value", "unit", "bar", "")
    for column in drawn.columns[1:2]:
        column.justify = "right"
    for result in results:
        verdict = {None: "", True: "[green]holds[/]", False: "[red]fails[/]"}[result.holds]
        drawn.add_row(result.name, f"{result.value:.4g}", result.unit, str(result.bar or ""), verdict)
    return drawn


def write(
    path: Path, measurement: str, machine: dict[str, str], versions: dict[str, str], results: Sequence[Result]
) -> None:
    """Put a measurement into results.json, in place of what was there of it."""
    known = json.loads(path.read_text()) if path.exists() else {}
    known[measurement] = {
        "machine": machine,
        "versions": versions,
        "results": [one.record() for one in results],
    }
    path.write_text(json.dumps(known, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
