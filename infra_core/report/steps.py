"""Section on steps: which behaviours teach, in themselves and against others at the same place."""

from infra_core.attributes.places import PLACES, correlates
from infra_core.report.figures import Figures, Place
from infra_core.report.influence import mean
from infra_core.report.inputs import ReportInputs
from infra_core.report.markdown import code, table

TOLD = (
    "Spans by what they do, as `docs/behaviours.md` defines it: mean influence of a token in nats, and how "
    "far that is beyond all spans at the same place, where a response is cut into "
    f"{PLACES} equal stretches. Intervals are over problems. Rules on words tell a behaviour, so these are "
    "signs of what teaches, not proof."
)


def steps(inputs: ReportInputs, figures: Figures) -> list[str]:
    """Return a table for each query group: behaviours by domain, with their share and influence."""
    figures.count("stretches of a response", PLACES)
    lines = [TOLD, ""]
    for (group,), found in inputs.steps.group_by("group", maintain_order=True):
        rows = []
        for row in found.iter_rows(named=True):
            place = Place(group=str(group), domain=row["domain"], behaviour=row["behaviour"])
            rows.append([
                code(row["domain"]),
                _named(row["behaviour"]),
                figures.count("spans", row["n_spans"], place),
                figures.plain("share of tokens", row["share"], place, "fraction"),
                mean(figures, "step influence", row, "", place),
                mean(figures, "step influence beyond place", row, "_beyond_place", place),
            ])
        header = ["domain", "behaviour", "spans", "of tokens", "a token", "beyond its place"]
        lines += [f"On {code(str(group))}:", "", *table(header, rows, left=2)]
    turned = [
        f"**{_named(row['behaviour'])} of {code(row['domain'])} on {code(row['group'])} changes sign when "
        "its place is held**: where it stands explains it, not what it does."
        for row in correlates(inputs.steps).iter_rows(named=True)
    ]
    return lines + [line for one in turned for line in (one, "")]


def _named(behaviour: str) -> str:
    return behaviour.replace("_", " ")
