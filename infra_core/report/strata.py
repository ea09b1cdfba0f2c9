"""Section on strata: influence by fifths of response length and of perplexity."""

from typing import Any

from infra_core.attributes.strata import LENGTH
from infra_core.report.figures import Figures, Place
from infra_core.report.influence import mean
from infra_core.report.inputs import ReportInputs
from infra_core.report.markdown import code, table

FIFTHS = ("lowest", "second", "middle", "fourth", "highest")
TOLD = (
    "Mean influence by fifths of a domain's examples: of how long the response is in tokens, and of its "
    "perplexity under the model before fine-tuning. What changes along them may be what difficulty seems "
    "to do."
)


def strata(inputs: ReportInputs, figures: Figures) -> list[str]:
    """Return a table for each attribute: fifths by query group and domain."""
    lines = [TOLD, ""]
    for (attribute,), found in inputs.strata.group_by("attribute", maintain_order=True):
        rows = [_row(row, figures) for row in found.iter_rows(named=True)]
        header = ["queries", "domain", "fifth", "from", "to", "examples", "an example", "a token"]
        lines += [f"By {attribute}:", "", *table(header, rows, left=3)]
    return lines


def _row(row: dict[str, Any], figures: Figures) -> list[str]:
    fifth, attribute = FIFTHS[row["stratum"] - 1], row["attribute"]
    place = Place(group=row["group"], domain=row["domain"], attribute=attribute, stratum=fifth)

    def bound(name: str) -> str:
        metric = f"{name} {attribute}"
        if attribute == LENGTH:
            return figures.count(metric, round(row[name]), place, "tokens")
        return figures.plain(metric, row[name], place, "perplexity")

    return [
        code(row["group"]),
        code(row["domain"]),
        fifth,
        bound("least"),
        bound("most"),
        figures.count("examples scored", row["n_examples"], place),
        mean(figures, f"influence an example by {attribute}", row, "", place),
        mean(figures, f"influence a token by {attribute}", row, "_per_token", place),
    ]
