"""Sections on rows: where they came from, what was dropped, what is in each mixture, what was queried."""

from collections.abc import Iterator

import polars as pl

from infra_core.corpus.screen import refused
from infra_core.mixture import composition
from infra_core.report.figures import Figures, Place
from infra_core.report.inputs import BANDS, BASELINE, ReportInputs
from infra_core.report.markdown import code, escape, table

POOLS = ("corpus", "reserve", "benchmark")
OFF = {
    "decontaminate": "Decontamination is off: nobody looked whether benchmark questions stand in the corpus.",
    "deduplicate": "Nobody looked for duplicates.",
}
"""What is said where a recipe turns a look off."""


def funnel(inputs: ReportInputs, figures: Figures) -> list[str]:
    """Return what became of each source's rows, from the files to training, and why rows were dropped.

    Tokens are those of prompt and response; a row that cleaning dropped has none, since it may have no text.
    """
    recipe = inputs.recipe
    named = {
        "corpus": [source.name for source in recipe.corpus.sources],
        "reserve": [source.name for source in recipe.corpus.reserve],
        "benchmark": list(recipe.benchmarks),
    }
    rows = [
        [pool, code(source), *_fate(inputs, figures, pool, source)]
        for pool in POOLS
        for source in named[pool]
    ]
    header = [
        "pool",
        "source",
        "read",
        "dropped",
        "kept",
        "tokens",
        "duplicate",
        "contaminated",
        "left",
        "tokens",
    ]
    lines = table(header, rows, left=2)
    reasons = _reasons(inputs.dropped, figures)
    return lines + (["Why rows were dropped:", "", *reasons] if reasons else [])


def _fate(inputs: ReportInputs, figures: Figures, pool: str, source: str) -> list[str]:
    place = Place(group=pool, source=source)
    kept = inputs.ratings.filter(pl.col("pool") == pool, pl.col("source") == source)
    kept = kept.with_columns(tokens=pl.col("prompt_tokens") + pl.col("response_tokens"))
    dropped = inputs.dropped.filter(pl.col("source") == source).height
    gone = refused(inputs.screen, pool)
    left = kept.join(gone, on="example_id", how="anti")
    verdicts = kept.join(gone.select("example_id", "verdict"), on="example_id")["verdict"]
    counts = {
        "rows read": kept.height + dropped,
        "rows dropped": dropped,
        "rows kept": kept.height,
        "tokens kept": int(kept["tokens"].sum()),
        "rows duplicate": int((verdicts == "duplicate").sum()),
        "rows contaminated": int((verdicts == "contaminated").sum()),
        "rows left": left.height,
        "tokens left": int(left["tokens"].sum()),
    }
    return [
        figures.count(name, value, place, "tokens" if name.startswith("tokens") else "rows")
        for name, value in counts.items()
    ]


def _reasons(dropped: pl.DataFrame, figures: Figures) -> list[str]:
    # A reason is "what: evidence"; the evidence is a row's own, so only the what is counted.
    what = pl.col("reason").str.split(":").list.first().str.strip_chars()
    counted = dropped.group_by("source", reason=what).agg(rows=pl.len()).sort("source", "reason")
    rows = [
        [
            code(source),
            escape(reason),
            figures.count("rows dropped", rows, Place(source=source, reason=reason)),
        ]
        for source, reason, rows in counted.iter_rows()
    ]
    return table(["source", "reason", "rows"], rows, left=2) if rows else []


def screened(inputs: ReportInputs, figures: Figures) -> list[str]:
    """Return what the global looks found: duplicates and overlap with the benchmarks."""
    lines = [f"**{OFF[name]}**" for name in OFF if not getattr(inputs.recipe.screen, name)]
    lines = [piece for line in lines for piece in (line, "")]
    counted = (
        inputs.screen
        .group_by("pool", "verdict", "rule", "matched_source")
        .agg(rows=pl.len())
        .sort("pool", "verdict", "rule", "matched_source", nulls_last=True)
    )
    if counted.is_empty():
        return [*lines, "No duplicates, and no overlap with a benchmark.", ""]
    rows = [
        [
            pool,
            verdict,
            rule,
            code(source or "unknown"),
            figures.count(
                "rows screened", rows, Place(group=pool, reason=f"{verdict}, {rule}", source=source)
            ),
        ]
        for pool, verdict, rule, source, rows in counted.iter_rows()
    ]
    lines += table(["pool", "verdict", "rule", "like a row of", "rows"], rows, left=4)
    told = "Duplicates and contaminated rows are in no mixture; suspects stay. Every overlap, with the words"
    return [*lines, f"{told} that both texts have, is a row of `overlaps.parquet` of the screen.", ""]


def mixtures(inputs: ReportInputs, figures: Figures) -> list[str]:
    """Return each mixture's rows and tokens by domain and band, beside the untouched corpus."""
    arms = [BASELINE, *inputs.changed]
    totals = {
        arm: composition(inputs.mixtures[arm], inputs.ratings)
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
    moved = [line for arm in inputs.changed for line in _moved(inputs, arm, figures)]
    return lines + ([*moved, ""] if moved else [])


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


def _moved(inputs: ReportInputs, arm: str, figures: Figures) -> Iterator[str]:
    mixture, untouched = inputs.mixtures[arm], inputs.mixtures[BASELINE]
    came_in = mixture.filter(pl.col("origin") == "swapped_in").group_by("domain", "reason").agg(rows=pl.len())
    for domain, reason, rows in came_in.sort("domain", "reason").iter_rows():
        # What follows a comma in a reason tells of a reserve that was too small, with counts of its own.
        what, _, shortage = reason.partition(",")
        in_domain = untouched.filter(pl.col("domain") == domain)
        left = in_domain.join(mixture, on="example_id", how="anti").height
        place = Place(arm=arm, domain=domain)
        out, into = figures.count("rows left", left, place), figures.count("rows swapped in", rows, place)
        short = ". The reserve held no more, so the swap is smaller than asked for" if shortage else ""
        yield f"- {code(arm)}, {escape(what)}: {out} rows left, {into} came in{short}."


def queries(inputs: ReportInputs, figures: Figures) -> list[str]:
    """Return how many queries of which kind there are, and what a reader must know of them."""
    counted = (
        inputs.queries
        .group_by("group", "task")
        .agg(queries=pl.len(), questions=pl.col("question_id").n_unique())
        .sort("group", "task")
    )
    rows = [
        [
            code(group),
            code(task),
            figures.count("queries", queries, Place(group=group, task=task)),
            figures.count("query questions", questions, Place(group=group, task=task), "questions"),
        ]
        for group, task, queries, questions in counted.iter_rows()
    ]
    lines = table(["group", "task", "queries", "questions"], rows, left=2)
    if "reference" in set(inputs.queries["objective"]):
        lines += [
            "**Queries are reference answers, not the model's own**: influence here is on how likely the "
            "model finds them, not on what it gets right by itself.",
            "",
        ]
    elif "changed" in set(inputs.queries["objective"]):
        lines += [
            "Influence is measured on the fine-tuned model's own answers: the right ones to questions that "
            "went from wrong to right (gained), the wrong ones to questions that went from right to wrong "
            "(lost). **Positive influence on what was lost makes wrong answers likelier.**",
            "",
        ]
    else:
        lines += ["Influence is measured on the model's own right answers; wrong ones are kept aside.", ""]
    return lines + _overlap(inputs, figures)


def _overlap(inputs: ReportInputs, figures: Figures) -> list[str]:
    asked = inputs.queries["question_id"].unique()
    lines = []
    for task in inputs.tasks:
        exam = inputs.answers[BASELINE][0].filter(pl.col("task") == task)["question_id"].unique()
        shared = int(exam.is_in(asked.to_list()).sum())
        if shared:
            told = figures.count("questions queried and examined", shared, Place(task=task), "questions")
            of = figures.count("questions", len(exam), Place(task=task), "questions")
            lines += [
                f"**{told} of {of} exam questions of {code(task)} are also queries**: what is said of this "
                "task is said of questions that chose the data.",
                "",
            ]
    return lines or ["No exam question is a query.", ""]
