"""Made-up corpora, reserves and what is known of them, for every test of a rule."""

import polars as pl
from hypothesis import strategies as st

from infra_core.corpus.schema import CORPUS, RATINGS, SCREEN
from infra_core.mixture import Evidence, carry_out, decide, open_pools
from infra_core.mixture.evidence import INFLUENCE

BANDS = ("easy", "medium", "hard", None)


def pool(name, rows):
    """Corpus rows and their ratings from (domain, band, tokens) triples."""
    ids = [f"{name}{number:04d}" for number in range(len(rows))]
    corpus = pl.DataFrame(
        [
            {
                "example_id": i,
                "domain": domain,
                "source": name,
                "raw_ref": f"f#{i}",
                "prompt": i,
                "response": i,
            }
            for i, (domain, _, _) in zip(ids, rows, strict=True)
        ],
        schema={column: CORPUS[column] for column in CORPUS},
    )
    ratings = pl.DataFrame(
        [
            {
                "example_id": i, "pool": name, "domain": domain, "source": name, "difficulty": 0.5,
                "difficulty_method": "label", "band": band, "prompt_tokens": 1, "response_tokens": tokens - 1,
            }
            for i, (domain, band, tokens) in zip(ids, rows, strict=True)
        ],
        schema=dict(RATINGS),
    )  # fmt: skip
    return corpus, ratings


def screened(*rows):
    given = [
        {"example_id": i, "pool": where, "verdict": verdict, "matched": matched, "matched_source": "x"}
        for i, where, verdict, matched in rows
    ]
    return pl.DataFrame([{name: row.get(name) for name in SCREEN} for row in given], schema=dict(SCREEN))


def world(corpus_rows, reserve_rows):
    (corpus, rated), (reserve, spare) = pool("corpus", corpus_rows), pool("reserve", reserve_rows)
    return corpus, reserve, pl.concat([rated, spare])


def tokens_of(ids, ratings):
    rated = ratings.filter(pl.col("example_id").is_in(list(ids)))
    return (rated["prompt_tokens"] + rated["response_tokens"]).sum()


rows = st.lists(
    st.tuples(st.sampled_from(("math", "code")), st.sampled_from(BANDS), st.integers(2, 60)), max_size=40
)


def influence(values, group="math/correct", pool="corpus"):
    """Influence of the rows of a pool on one group of queries, by number or by id."""
    named = values if isinstance(values, dict) else {f"{pool}{n:04d}": v for n, v in enumerate(values)}
    return pl.DataFrame(
        [(pool, name, group, float(value)) for name, value in named.items()],
        schema=pl.Schema(INFLUENCE),
        orient="row",
    )


def carried_out(params, corpus_rows, reserve_rows=(), evidence=None, screen=None):
    """What comes, named, what leaves, and the pools."""
    corpus, reserve, ratings = world(list(corpus_rows), list(reserve_rows))
    pools = open_pools(corpus, reserve, ratings, screened() if screen is None else screen, params.families)
    coming, gone = carry_out(decide(params, pools, evidence or Evidence()), pools)
    names = pl.concat(
        frame.select("place", "example_id", "domain", pool=pl.lit(name))
        for name, frame in (("corpus", pools.corpus), ("reserve", pools.reserve))
    )
    return coming.join(names, on=["pool", "place"], maintain_order="left"), gone, pools
