"""Section on mixtures: what each is made of, and what its rule changed."""

from collections.abc import Iterator

import polars as pl

from infra_core.evaluation.statistics import Interval
from infra_core.mixture import composition
from infra_core.mixture.budget import SHORT
from infra_core.report.figures import Figures, Place
from infra_core.report.inputs import BANDS, BASELINE, ReportInputs
from infra_core.report.markdown import code, escape, table


def mixtures(inputs: ReportInputs, figures: Figures) -> list[str]:
    """Return each mixture's rows and tokens by domain and band, and what its rule changed."""
    arms = [BASELINE, *inputs.changed]
    totals = {
        arm: composition(inputs.mixtures[arm])
        .group_by("domain", "band")
        .agg(pl.col("rows").sum(), pl.col("tokens").sum())
        for arm in arms
    }
    domains = pl.concat([totals[arm]["domain"] for arm in arms]).unique().sort()
    rows = []
    for domain in domains:
        for band in BANDS:
            here = {
                arm: frame.filter(pl.col("domain") == domain, pl.col("band").eq_missing(pl.lit(band)))
                for arm, frame in totals.items()
            }
            if any(frame.height for frame in here.values()):
                name = band or "unrated"
                rows.append([code(domain), name, *_sizes(here, figures, domain=domain, band=name)])
    rows.append(["all", "", *_sizes(totals, figures)])
    header = ["domain", "band", *(f"{code(arm)} {unit}" for arm in arms for unit in ("rows", "tokens"))]
    lines = table(header, rows, left=2)
    changes = [
        line
        for arm in inputs.changed
        for line in (*_measured(inputs, arm, figures), *_changed(inputs, arm, figures))
    ]
    return lines + ([*changes, ""] if changes else [])


def _sizes(
    frames: dict[str, pl.DataFrame], figures: Figures, domain: str | None = None, band: str | None = None
) -> list[str]:
    cells = []
    for arm, frame in frames.items():
        place = Place(arm=arm, domain=domain, band=band)
        cells += [
            figures.count("rows in mixture", int(frame["rows"].sum()), place),
            figures.count("tokens in mixture", int(frame["tokens"].sum()), place, "tokens"),
        ]
    return cells


def _changed(inputs: ReportInputs, arm: str, figures: Figures) -> Iterator[str]:
    """Say, for every reason that a row is not as it was, what happened to how many."""
    mixture = inputs.mixtures[arm].filter(pl.col("reason") != "kept")
    left = inputs.left.get(arm, pl.DataFrame(schema=mixture.schema)).join(
        inputs.left.get(BASELINE, pl.DataFrame(schema=mixture.schema)), on="example_id", how="anti"
    )
    reasons = pl.concat([frame.select("domain", "reason") for frame in (left, mixture)]).unique()
    for domain, reason in reasons.sort("domain", "reason").iter_rows():
        here = (pl.col("domain") == domain) & (pl.col("reason") == reason)
        what, short, _ = reason.partition(SHORT)
        place = Place(arm=arm, domain=domain)
        said = [
            *_left(left.filter(here), place, figures),
            *_came(mixture.filter(here, pl.col("origin") == "swapped_in"), place, figures),
            *_edited(inputs, mixture.filter(here, pl.col("origin") == "edited"), place, figures),
            *_weighed(mixture.filter(here, pl.col("weight").is_not_null()), place, figures),
        ]
        more = ". The reserve held no more, so the change is smaller than asked for" if short else ""
        yield f"- {code(arm)}, {escape(what)}: {', '.join(said)}{more}."


def _left(rows: pl.DataFrame, place: Place, figures: Figures) -> Iterator[str]:
    if rows.height:
        count = figures.count("rows left", rows.height, place)
        yield f"{count} rows left ({_mean(rows, 'tokens a row left', place, figures)} tokens each)"


def _came(rows: pl.DataFrame, place: Place, figures: Figures) -> Iterator[str]:
    if rows.height:
        count = figures.count("rows swapped in", rows.height, place)
        yield f"{count} came in ({_mean(rows, 'tokens a row swapped in', place, figures)} tokens each)"


def _mean(rows: pl.DataFrame, metric: str, place: Place, figures: Figures) -> str:
    return figures.count(
        metric, round(float(rows["tokens"].cast(pl.Int64).sum()) / rows.height), place, "tokens"
    )


def _edited(inputs: ReportInputs, rows: pl.DataFrame, place: Place, figures: Figures) -> Iterator[str]:
    if rows.height:
        before = inputs.mixtures[BASELINE].join(
            rows.select(example_id=pl.coalesce("replaces", "example_id")), on="example_id", how="semi"
        )
        lost = int(before["scored_tokens"].sum()) - int(rows["scored_tokens"].sum())
        count = figures.count("rows edited", rows.height, place)
        yield f"{count} rows lost {figures.count('scored tokens lost', lost, place, 'tokens')} scored tokens"


def _weighed(rows: pl.DataFrame, place: Place, figures: Figures) -> Iterator[str]:
    if rows.height:
        count = figures.count("rows weighed", rows.height, place)
        least, most = (
            figures.plain(f"{name} weight", float(value), place, "weight")  # type: ignore[arg-type]
            for name, value in (("least", rows["weight"].min()), ("largest", rows["weight"].max()))
        )
        yield f"{count} rows count {least} to {most} times"


def _measured(inputs: ReportInputs, arm: str, figures: Figures) -> Iterator[str]:
    """Say which directions a measured flip found clear, and by how much."""
    for row in inputs.directions.get(arm, pl.DataFrame()).iter_rows(named=True):
        where = f"- {code(arm)}, {code(row['domain'])}"
        if row["gain"] is None or row["low"] is None:
            yield f"{where}: fewer than two bands help or harm clearly, so nothing moves."
            continue
        found = Interval(row["gain"], row["low"], row["high"], 0.0, row["n_problems"], 1)
        shown = figures.interval("measured gain", found, Place(arm=arm, domain=row["domain"]), "benefit")
        size = f"{shown} a {row['unit']}, in root mean squares of influence"
        if row["out_of"] is None:
            yield f"{where}: bands do not differ clearly ({size}), so nothing moves."
        else:
            yield f"{where}: {row['into']} rows help more than {row['out_of']} ones, by {size}."
