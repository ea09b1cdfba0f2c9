"""Global looks at the text: duplicates within and across pools, and overlap with benchmark questions.

*Overlap* is found row by row (`corpus.overlap`). *Duplicates* are told by signatures (`corpus.near`): rows
whose prompts are equal or nearly so ask for one *problem*.

- Rows with equal prompt **and** response are one row.
- What one source says to a problem under one wording (or one `group` of its own) is an *offer*. Several
  responses in an offer are wanted and stay. Of the offers for one problem the better one stays, whole:
  `prefer` says which. With ``responses: all`` the offers of several sources stay side by side where their
  prompts are equal.
- A reserve row whose problem is in the corpus is a duplicate: swapping it in would teach what is there.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from infra_core.corpus.near import Texts, problems
from infra_core.corpus.schema import OVERLAPS, SCREEN, SIGNATURES
from infra_core.recipe import ScreenParams

PREFERRED: Mapping[str, pl.Expr] = {
    "judged": ~pl.col("judged"),
    "labelled": ~pl.col("labelled"),
    "longer": -pl.col("response_chars").cast(pl.Int64),
    "shorter": pl.col("response_chars").cast(pl.Int64),
    "source": pl.col("source_rank"),
}
"""What makes a row the better one, as something that is smaller the better it is."""


def screen(
    signatures: Mapping[str, pl.DataFrame],
    overlaps: Mapping[str, pl.DataFrame],
    texts: Texts,
    params: ScreenParams,
    *,
    sources: Sequence[str] = (),
) -> pl.DataFrame:
    """List the rows that a global look finds wanting, once: contaminated before duplicate before suspect.

    Parameters
    ----------
    signatures
        By pool, the corpus first: `SIGNATURES` rows.
    overlaps
        By pool: `OVERLAPS` rows.
    texts
        Looks prompts up by example_id, whichever pool they are in.
    params
        What to look for.
    sources
        Their order in the recipe, the most trusted first; others come after, as they appear.

    Returns
    -------
    DataFrame
        `SCREEN` rows, in the order of the pools. Rows of one pool with equal `example_id` are one row here:
        whoever reads a whole pool keeps the first of them with `schema.distinct`.
    """
    table = _in_order(signatures, sources)
    listed = [_worst(overlaps.get(pool, pl.DataFrame(schema=OVERLAPS)), pool) for pool in signatures]
    if params.deduplicate:
        listed.append(_duplicates(table, texts, params))
    severity = pl.col("verdict").replace_strict({"contaminated": 0, "duplicate": 1, "suspect": 2})
    order = table.select("pool", "example_id").with_row_index("place")
    return (
        pl
        .concat(listed)
        .join(order, on=["pool", "example_id"])
        .sort("place", severity)
        .unique(["pool", "example_id"], keep="first", maintain_order=True)
        .select(SCREEN.keys())
        .cast(pl.Schema(SCREEN))
    )


def refused(screen: pl.DataFrame, pool: str) -> pl.DataFrame:
    """Return the rows of a `SCREEN` that keep a row of `pool` out; `suspect` rows stay in.

    A row may match its own id: a question that stands in the corpus word for word and a reserve row that the
    corpus has too are refused; a corpus row that repeats itself is not, since one of the two is kept.
    """
    keeps_out = pl.col("verdict").is_in(["duplicate", "contaminated"])
    repeats_itself = (
        (pl.lit(pool) == "corpus")
        & (pl.col("verdict") == "duplicate")
        & pl.col("matched").eq_missing(pl.col("example_id"))
    )
    return screen.filter(pl.col("pool") == pool, keeps_out, ~repeats_itself)


def _worst(overlaps: pl.DataFrame, pool: str) -> pl.DataFrame:
    """Return the heaviest overlap of each row."""
    return (
        overlaps
        .sort(pl.col("verdict") != "contaminated", -pl.col("containment"), maintain_order=True)
        .unique("example_id", keep="first", maintain_order=True)
        .select(
            "example_id", "verdict", "rule", "containment",
            pool=pl.lit(pool), matched="question_id", matched_source="benchmark",
        )
        .select(SCREEN.keys())
    )  # fmt: skip


def _in_order(signatures: Mapping[str, pl.DataFrame], sources: Sequence[str]) -> pl.DataFrame:
    """Return one row an example, pool by pool, by source, file and line.

    The order of parts must not decide anything.
    """
    empty = pl.DataFrame(schema=SIGNATURES)
    pools = [frame.with_columns(pool=pl.lit(name)) for name, frame in signatures.items()]
    table = pl.concat([empty.with_columns(pool=pl.lit("")), *pools])
    named = dict.fromkeys([*sources, *table["source"].unique(maintain_order=True)])
    ranks = {name: rank for rank, name in enumerate(named)}
    place = pl.col("raw_ref").str.extract_groups(r"^(.*)#(\d+)(?:\.(\d+))?$")
    ordered = table.with_columns(
        source_rank=pl.col("source").replace_strict(ranks, return_dtype=pl.Int32),
        pool_rank=pl.col("pool").replace_strict({name: i for i, name in enumerate(signatures)}, default=0),
    ).sort(
        "pool_rank",
        "source_rank",
        place.struct[0],
        place.struct[1].cast(pl.Int64),
        place.struct[2].cast(pl.Int64),
        maintain_order=True,
    )
    return ordered.unique(["pool", "example_id"], keep="first", maintain_order=True)


def _duplicates(table: pl.DataFrame, texts: Texts, params: ScreenParams) -> pl.DataFrame:
    found = problems(table.select(SIGNATURES.keys()), texts, params.similarity)
    rows = pl.concat([table.with_row_index("place"), found], how="horizontal")
    if params.responses == "all":
        offer = pl.col("prompt_key").cast(pl.String)
    else:
        offer = pl.format("{} {}", "source", pl.coalesce("group", pl.col("prompt_key").cast(pl.String)))
    # The corpus goes before the reserve whatever is preferred: it is what is there.
    best_first = rows.with_columns(offer=offer).sort(
        "pool_rank", *(PREFERRED[name] for name in params.prefer), "place", maintain_order=True
    )
    of_problem = {"winner": "offer", "winner_pool": "pool", "kept": "example_id", "kept_source": "source"}
    of_text = {"kept_equal": "example_id", "equal_source": "source", "equal_place": "place"}
    judged = best_first.with_columns(
        *(pl.col(what).first().over("problem").alias(name) for name, what in of_problem.items()),
        *(pl.col(what).first().over("whole_key", "pool").alias(name) for name, what in of_text.items()),
    )
    beaten = (pl.col("offer") != pl.col("winner")) | (pl.col("pool") != pl.col("winner_pool"))
    repeated = pl.col("equal_place") != pl.col("place")
    return (
        judged
        .filter(beaten | repeated)
        .with_columns(
            verdict=pl.lit("duplicate"),
            rule=pl
            .when(repeated | (pl.col("similarity") == 1))
            .then(pl.lit("equal"))
            .otherwise(pl.lit("near")),
            matched=pl.when(beaten).then("kept").otherwise("kept_equal"),
            matched_source=pl.when(beaten).then("kept_source").otherwise("equal_source"),
            containment=pl.when(beaten).then("similarity").otherwise(1.0),
        )
        .select(SCREEN.keys())
        .cast(pl.Schema(SCREEN))
    )
