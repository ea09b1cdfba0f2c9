"""Which rows may leave a corpus and which may come in. Pure polars and no texts; no rule is decided here."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from infra_core.corpus.schema import LEFT, Schema, distinct
from infra_core.corpus.screen import refused
from infra_core.errors import DataError
from infra_core.seeds import generator

COLUMNS = ("example_id", "domain", "source", "group")
"""What a rule must be given of every row, in the order of the pool. Texts are not among it."""

ROWS: Schema = {
    "place": pl.Int64(),  # which row of its pool, from 0
    "example_id": pl.String(),
    "domain": pl.String(),
    "source": pl.String(),
    "family": pl.String(),  # the collection that the source belongs to
    "problem": pl.String(),  # shared by responses to one problem
    "band": pl.String(),
    "tokens": pl.Int64(),  # prompt and response
    "scored_tokens": pl.Int64(),
}


@dataclass(frozen=True)
class Swap:
    """What a rule does to one domain: `leaving` rows out, `incoming` rows in, as they were chosen."""

    leaving: pl.DataFrame
    incoming: pl.DataFrame
    reason: str


@dataclass(frozen=True)
class Pools:
    """Rows with their band and tokens, schema ROWS, and none that the screen refused.

    Attributes
    ----------
    corpus
        What training would see if nothing were changed, in corpus order.
    reserve
        What may come in: neither refused nor already held, one row per content.
    refused
        Corpus rows that are in no mixture, schema LEFT.
    """

    corpus: pl.DataFrame
    reserve: pl.DataFrame
    refused: pl.DataFrame

    @property
    def domains(self) -> list[str]:
        """Domains of the corpus, sorted."""
        return self.corpus["domain"].unique().sort().to_list()

    def of(self, pool: str, domain: str) -> pl.DataFrame:
        """Return the rows of ``corpus`` or ``reserve`` in one domain."""
        rows = self.corpus if pool == "corpus" else self.reserve
        return rows.filter(pl.col("domain") == domain)


def open_pools(
    corpus: pl.DataFrame,
    reserve: pl.DataFrame,
    ratings: pl.DataFrame,
    screen: pl.DataFrame,
    families: Mapping[str, str] | None = None,
) -> Pools:
    """Join what is known of both pools and leave out what the screen refused.

    Parameters
    ----------
    corpus, reserve
        `COLUMNS` of every row, in the order of the pool; other columns are let go.
    ratings, screen
        Schemas RATINGS and SCREEN.
    families
        Source → collection, where it is not the source itself.

    Raises
    ------
    DataError
        If a row has no rating.
    """
    rows, spare = (
        _rated(_placed(frame, families or {}), ratings, pool)
        for frame, pool in ((corpus, "corpus"), (reserve, "reserve"))
    )
    once = distinct(rows)
    kept = once.join(refused(screen, "corpus"), on="example_id", how="anti", maintain_order="left")
    may_come = distinct(spare).join(
        refused(screen, "reserve"), on="example_id", how="anti", maintain_order="left"
    )
    may_come = may_come.join(rows, on="example_id", how="anti", maintain_order="left")
    return Pools(kept, may_come, _refused(rows, kept, screen))


def _placed(frame: pl.DataFrame, families: Mapping[str, str]) -> pl.DataFrame:
    own = pl.concat_str(pl.lit("example "), "example_id")  # never equal to the name of a problem
    return (
        frame
        .select(*COLUMNS)
        .with_row_index("place")
        .with_columns(
            family=pl.col("source").replace(families),
            problem=pl.coalesce(pl.concat_str(pl.lit("problem "), "group"), own),
        )
    )


def _rated(rows: pl.DataFrame, ratings: pl.DataFrame, pool: str) -> pl.DataFrame:
    known = distinct(ratings.filter(pl.col("pool") == pool)).select(
        "example_id",
        "band",
        tokens=pl.col("prompt_tokens") + pl.col("response_tokens"),
        scored_tokens="response_tokens",
    )
    joined = rows.join(known, on="example_id", how="left", maintain_order="left")
    unrated = joined.filter(pl.col("tokens").is_null())
    if unrated.height:
        raise DataError(
            f"{unrated.height} of {rows.height} {pool} rows have no rating, first "
            f"{unrated['example_id'][0]}; rate the same {pool} that is mixed"
        )
    return joined.select(*ROWS).cast(pl.Schema(ROWS))


def _refused(rows: pl.DataFrame, kept: pl.DataFrame, screen: pl.DataFrame) -> pl.DataFrame:
    """Say of every corpus row that is not kept why: what the screen found, or that it is there already."""
    what = pl.format("{} of {} in {}", "verdict", "matched", "matched_source")
    verdicts = refused(screen, "corpus").select("example_id", reason=what)
    return left(
        rows
        .join(kept, on="place", how="anti", maintain_order="left")
        .join(verdicts.unique("example_id", keep="first"), on="example_id", how="left", maintain_order="left")
        .with_columns(pl.col("reason").fill_null("repeats an earlier row"))
    )


def left(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with a `reason`, and if they have one a `replaced_by`, in schema LEFT."""
    named = rows if "replaced_by" in rows.columns else rows.with_columns(replaced_by=pl.lit(None))
    return named.select(*LEFT).cast(pl.Schema(LEFT))


def tokens(rows: pl.DataFrame) -> int:
    """Sum the tokens, prompt and response, of rows."""
    return int(rows["tokens"].sum())


def shuffled(rows: pl.DataFrame, seed: int, *names: str) -> pl.DataFrame:
    """Return the rows in the seeded order called `names`, whatever order they came in."""
    order = generator(seed, *names).permutation(rows.height)
    return rows.sort("example_id")[order]
