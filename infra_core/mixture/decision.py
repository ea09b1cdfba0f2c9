"""What a rule decided, and what that makes of every row: who stays, comes, leaves, counts more or is cut."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from infra_core.corpus.schema import CORPUS, MIXTURE, RANGES, Schema, example_id
from infra_core.mixture.pools import Pools, Swap, left
from infra_core.mixture.span_edits import EDITS
from infra_core.mixture.weigh import WEIGHTS

COMING: Schema = {
    "pool": pl.String(),  # corpus | reserve
    "place": pl.Int64(),  # which row of its pool
    **{name: MIXTURE[name] for name in MIXTURE if name not in CORPUS},
    "cut": RANGES,  # stretches of the response that are taken out of it
}
"""One row for every row of a mixture, without its text."""


@dataclass(frozen=True)
class Decision:
    """What a rule does; nothing of it is the untouched corpus.

    Attributes
    ----------
    swaps
        By domain.
    weights
        Schema WEIGHTS.
    masked, cut
        Schema EDITS: stretches out of the loss, and out of the text.
    """

    swaps: Mapping[str, Swap] = field(default_factory=dict)
    weights: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=pl.Schema(WEIGHTS)))
    masked: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=pl.Schema(EDITS)))
    cut: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=pl.Schema(EDITS)))

    def within(self, domains: Collection[str]) -> "Decision":
        """Return what of it concerns these domains."""
        here = pl.col("domain").is_in(sorted(domains))
        return replace(
            self,
            swaps={domain: swap for domain, swap in self.swaps.items() if domain in domains},
            weights=self.weights.filter(here),
            masked=self.masked.filter(here),
            cut=self.cut.filter(here),
        )


def carry_out(decision: Decision, pools: Pools) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return every row of the mixture without its text, schema COMING, and every row that left, schema LEFT.

    Kept rows stand in corpus order, then those that came in, in the order of the reserve. Where rows do not
    pair one to one, `replaces` is null for the rest.
    """
    swaps = [swap for _, swap in sorted(decision.swaps.items())]
    out = [
        left(
            swap.leaving.with_columns(
                replaced_by=_beside(swap.incoming, swap.leaving), reason=pl.lit(swap.reason)
            )
        )
        for swap in swaps
    ]
    came = [
        swap.incoming.with_columns(
            replaces=_beside(swap.leaving, swap.incoming),
            reason=pl.lit(swap.reason),
            pool=pl.lit("reserve"),
            origin=pl.lit("swapped_in"),
        )
        for swap in swaps
    ]
    gone = pl.concat([pools.refused.clear(), *out])
    kept = pools.corpus.join(gone, on="example_id", how="anti", maintain_order="left")
    coming = pl.concat(_coming(frame) for frame in (_edited(kept, decision), *came))
    return coming.sort("pool", "place"), pl.concat([pools.refused, gone])


def _beside(others: pl.DataFrame, rows: pl.DataFrame) -> pl.Series:
    """Return for each of `rows` the id of the one at its place among `others`; null beyond the last."""
    names = others["example_id"].head(rows.height)
    return names.extend_constant(None, rows.height - len(names))


def _edited(rows: pl.DataFrame, decision: Decision) -> pl.DataFrame:
    """Give kept rows their weight and edits."""
    masked, cut = (
        frame.select("example_id", "ranges", "tokens", "reason").rename({
            "ranges": name,
            "tokens": f"{name}_tokens",
            "reason": f"{name}_reason",
        })
        for frame, name in ((decision.masked, "masked"), (decision.cut, "cut"))
    )
    weights = decision.weights.select("example_id", "weight", weight_reason="reason")
    known = rows
    for frame in (weights, masked, cut):
        known = known.join(frame, on="example_id", how="left", maintain_order="left")
    gone, unscored = (pl.col(f"{name}_tokens").fill_null(0) for name in ("cut", "masked"))
    is_cut = pl.col("cut").is_not_null()
    return known.with_columns(
        pool=pl.lit("corpus"),
        origin=pl
        .when(is_cut | pl.col("masked").is_not_null())
        .then(pl.lit("edited"))
        .otherwise(pl.lit("kept")),
        replaces=pl.when(is_cut).then("example_id"),
        reason=pl.coalesce("cut_reason", "masked_reason", "weight_reason", pl.lit("kept")),
        tokens=pl.col("tokens") - gone,
        scored_tokens=pl.col("scored_tokens") - gone - unscored,
    )


def _coming(rows: pl.DataFrame) -> pl.DataFrame:
    missing = [name for name in COMING if name not in rows.columns]
    return (
        rows
        .with_columns(pl.lit(None).alias(name) for name in missing)
        .select(*COMING)
        .cast(pl.Schema(COMING))
    )


def assemble(texts: pl.DataFrame, coming: pl.DataFrame) -> pl.DataFrame:
    """Join the texts of some rows of one pool with what was decided of them; schema MIXTURE.

    Parameters
    ----------
    texts
        Schema CORPUS and `place`, which row of the pool each is.
    coming
        Schema COMING, of that pool; rows whose text is not here are left out.
    """
    joined = texts.join(coming, on="place", how="inner", maintain_order="left")
    return _without_cuts(joined).select(*MIXTURE).cast(pl.Schema(MIXTURE))


def _without_cuts(rows: pl.DataFrame) -> pl.DataFrame:
    if not rows["cut"].is_not_null().any():
        return rows
    texts, names = [], []
    for row in rows.select("domain", "prompt", "response", "cut", "example_id").iter_rows():
        domain, prompt, response, cut, name = row
        texts.append(_outside(response, cut) if cut else response)
        names.append(example_id(domain, prompt, texts[-1]) if cut else name)
    return rows.with_columns(
        pl.Series("response", texts, dtype=pl.String()), pl.Series("example_id", names, dtype=pl.String())
    )


def _outside(text: str, ranges: list[dict[str, int]]) -> str:
    """Return a text without stretches of it.

    Examples
    --------
    >>> _outside("one two three", [{"start": 4, "stop": 8}])
    'one three'
    """
    edges = [0, *(edge for piece in ranges for edge in (piece["start"], piece["stop"])), len(text)]
    return "".join(text[start:stop] for start, stop in zip(edges[::2], edges[1::2], strict=True))
