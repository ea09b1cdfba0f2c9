"""Section on variations: what changes its sign where influence is taken otherwise."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from infra_core.attributes.variations import ATTRIBUTES, BAND, OWN
from infra_core.report.figures import Figures, Place
from infra_core.report.influence import mean
from infra_core.report.inputs import ReportInputs
from infra_core.report.markdown import code, table

TOLD = (
    "The tables above again: the recipe's own means, and those with influence of other modules, of a model "
    "of another training seed, or of gradients that are divided by the tokens of their row, or all of one "
    "length; the latter two are scaled so that an average row counts as before. A mean in bold has another "
    "sign than the recipe's own, and both are clear of zero."
)
NAMES = {"band": "difficulty", "behaviour": "behaviour", "token_class": "class of tokens"}


def variations(inputs: ReportInputs, figures: Figures) -> list[str]:
    """Return a table for each attribute, with a column a variation, and how many means change sign."""
    lines = [TOLD, ""]
    for attribute in ATTRIBUTES:
        found = inputs.variations.filter(pl.col("attribute") == attribute)
        if found.height:
            names = found["variation"].unique(maintain_order=True).to_list()
            rows = list(_rows(found, names, figures))
            header = ["queries", "domain", NAMES[attribute], *map(code, names)]
            unit = "an example" if attribute == BAND else "a token"
            lines += [f"By {NAMES[attribute]}, in nats {unit}:", "", *table(header, rows, left=3)]
    varied = inputs.variations.filter(pl.col("variation") != OWN)
    for (name,), found in varied.group_by("variation", maintain_order=True):
        place = Place(variation=str(name))
        turned = figures.count("means that change sign", int(found["turned"].sum()), place)
        of = figures.count("means compared", found.height, place)
        lines += [f"Under {code(str(name))} {turned} of {of} means change sign.", ""]
    return lines


def _rows(found: pl.DataFrame, names: list[str], figures: Figures) -> Iterator[list[str]]:
    keys = ["group", "domain", "label"]
    for (group, domain, label), own in found.group_by(keys, maintain_order=True):
        by_name = {row["variation"]: row for row in own.iter_rows(named=True)}
        cells = [_shown(by_name[name], figures) if name in by_name else "–" for name in names]
        yield [code(str(group)), code(str(domain)), str(label).replace("_", " "), *cells]


def _shown(row: dict[str, Any], figures: Figures) -> str:
    about = {row["attribute"]: row["label"], "variation": row["variation"]}
    text = mean(
        figures, "influence varied", row, "", Place(group=row["group"], domain=row["domain"], **about)
    )
    return f"**{text}**" if row["turned"] else text
