"""Questions to an index: which rows help and harm any queries most, found without passing all rows again."""

import json
import logging
from collections.abc import Iterator, Sequence

import polars as pl
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase

from infra_core.corpus import TokenizedExample
from infra_core.corpus.render import render
from infra_core.corpus.schema import SCORES, distinct
from infra_core.errors import RequestError
from infra_core.influence import (
    IndexBlock,
    IndexParams,
    ScoreParams,
    beside,
    block_from_tensors,
    by_example,
    correlated,
    index_queries,
    leading,
    overlap,
    score_examples,
    search,
)
from infra_core.influence.search import FOUND, IndexedQueries
from infra_core.lm.classes import PreTrainedModel
from infra_core.recipe import Params, QuestionParams, Recipe
from infra_core.seeds import derive_seed, generator
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import write_table
from tasks._asked import query_groups
from tasks._factors import SUFFIX, fitted_as, load_fitted
from tasks._pools import pool_rows, scan_pool
from tasks._queries import Groups, ready_queries
from tasks._stage import RunContext, stage
from tasks.index import layers_in_turn

logger = logging.getLogger(__name__)

ANSWERS, EXACT, LEADING, AGREED = "answers.parquet", "exact.parquet", "leading.parquet", "agreement.json"
CANDIDATES = 4  # times as many as are told are scored exactly
ROUGH = 0.9  # Spearman, below which an index ranks too roughly to go without a warning

LED = {
    "group": pl.String(),
    "side": pl.String(),  # helpful | harmful
    "example_id": pl.String(),
    "influence": pl.Float32(),  # exact
    "indexed": pl.Float32(),  # as the index has it
    "error": pl.Float32(),  # its standard error
}


class AskRun(Params):
    """What is asked, of what kind of index, and how exact scores are taken."""

    name: str
    keep: IndexParams
    scores: ScoreParams
    contrasts: tuple[tuple[str, str], ...]
    best: int
    sample: int
    seed: int

    @classmethod
    def of(cls, given: Recipe) -> "AskRun":
        """Take from a recipe what the answers depend on."""
        asked = given.ask or QuestionParams()
        damping = given.scores.damping if asked.damping is None else asked.damping
        return cls(
            name=given.name,
            keep=given.require_index(),
            scores=given.scores.model_copy(update={"damping": damping, "energy": None}),
            contrasts=asked.contrasts,
            best=asked.best,
            sample=asked.sample,
            seed=derive_seed(given.seed, "ask"),
        )


@stage(version=2)
def ask(  # noqa: PLR0913 - inputs of a stage
    ctx: RunContext,
    out: WorkDir,
    *,
    checkpoint: Artifact,
    corpus: Artifact,
    factors: Artifact,
    index: Artifact,
    queries: Artifact | None = None,
    asked: Artifact | None = None,
    params: AskRun,
) -> None:
    """Write influence by the index, exact scores of what it puts first and last, and how the two agree.

    The groups are those of `queries`, as a run collected them, or the sources of `asked`, a pool of rows.
    """
    fitted = fitted_as(ctx, factors)
    model, tokenizer = load_fitted(ctx, checkpoint, fitted)
    groups = _groups(ctx, queries, asked, tokenizer)
    _check_contrasts(groups, params)
    turns = layers_in_turn(ctx, model, factors, fitted, params.keep)
    wanted = beside([
        index_queries(
            model,
            curvature,
            groups,
            params.keep,
            damping=params.scores.damping,
            layout=layout,
            batch_tokens=ctx.micro_batch_tokens,
        )
        for curvature, layout in turns()
    ])
    del turns  # and what it read
    for plus, minus in params.contrasts:
        wanted = wanted.contrast(plus, minus)
    found = search(wanted, _blocks(ctx, index, wanted))
    # A row that stands in several parts of the corpus is one example.
    found = found.unique(["example_id", "span", "group"], keep="first", maintain_order=True)
    write_table(out, ANSWERS, found, FOUND)
    whole = by_example(found)
    sample = _sample(whole, params)
    chosen = {*leading(whole, CANDIDATES * params.best)["example_id"], *sample}
    scores = _exact(ctx, model, factors, groups, params, _rows(ctx, corpus, chosen, tokenizer, params))
    write_table(out, EXACT, scores, SCORES)
    _compare(out, whole, _contrasted(scores, params), sample, params)
    out.notes["row_bytes"] = ctx.store.manifest(index).provenance.get("row_bytes", "")


def _groups(
    ctx: RunContext, queries: Artifact | None, asked: Artifact | None, tokenizer: PreTrainedTokenizerBase
) -> Groups:
    if queries is not None:
        return query_groups(ctx, queries, tokenizer)
    by_source = pool_rows(ctx, asked).group_by("source", maintain_order=True)
    return {str(name): list(render(rows, tokenizer, spans=None)) for (name,), rows in by_source}


def _check_contrasts(groups: Groups, params: AskRun) -> None:
    """Refuse a difference with a group that is not asked about.

    Raises
    ------
    RequestError
        Naming it and those that are.
    """
    for name in (name for pair in params.contrasts for name in pair):
        if name not in groups:
            raise RequestError(f"ask.contrasts names the group {name!r}; there are {', '.join(groups)}")


def _blocks(ctx: RunContext, index: Artifact, wanted: IndexedQueries) -> Iterator[IndexBlock]:
    """Yield the blocks of an index, each mapped into memory while it is searched."""
    for name in ctx.store.parts(index, f"*{SUFFIX}"):
        [path] = ctx.store.local(index, [name])
        yield block_from_tensors(load_file(path), wanted.columns)


def _sample(whole: pl.DataFrame, params: AskRun) -> list[str]:
    """Draw the examples that say how far the index is to be trusted, from all that are in it."""
    names = whole["example_id"].unique().sort().to_list()
    drawn = generator(params.seed, "sample").permutation(len(names))[: params.sample]
    return [names[place] for place in sorted(drawn)]


def _rows(
    ctx: RunContext, corpus: Artifact, chosen: set[str], tokenizer: PreTrainedTokenizerBase, params: AskRun
) -> list[TokenizedExample]:
    texts = scan_pool(ctx, corpus).filter(pl.col("example_id").is_in(sorted(chosen))).collect()
    return list(render(distinct(texts), tokenizer, spans=params.scores.spans))


def _exact(
    ctx: RunContext,
    model: PreTrainedModel,
    factors: Artifact,
    groups: Groups,
    params: AskRun,
    examples: Sequence[TokenizedExample],
) -> pl.DataFrame:
    with ready_queries(ctx, model, factors, groups, params.scores) as target:
        return score_examples(model, target, examples, params.scores, batch_tokens=ctx.micro_batch_tokens)


def _contrasted(scores: pl.DataFrame, params: AskRun) -> pl.DataFrame:
    """Return exact influence, also on differences of groups: it is linear in them."""
    exact = scores.select("example_id", "group", "influence")
    both = [exact]
    for plus, minus in params.contrasts:
        first, second = (exact.filter(pl.col("group") == name) for name in (plus, minus))
        less = second.select("example_id", less="influence")
        both.append(
            first.join(less, on="example_id", maintain_order="left").select(
                "example_id",
                group=pl.lit(f"{plus} - {minus}"),
                influence=pl.col("influence") - pl.col("less"),
            )
        )
    return pl.concat(both)


def _compare(
    out: WorkDir, whole: pl.DataFrame, exact: pl.DataFrame, sample: Sequence[str], params: AskRun
) -> None:
    """Write what the index found beside what is true of it, and how well it finds."""
    indexed = whole.select("example_id", "group", "error", indexed="influence")
    led = leading(exact, params.best).join(exact, on=["group", "example_id"], maintain_order="left")
    led = led.join(indexed, on=["group", "example_id"], maintain_order="left")
    outermost = pl.col("influence") * pl.when(pl.col("side") == "helpful").then(-1).otherwise(1)
    led = led.sort("group", pl.col("side") == "harmful", outermost, "example_id")
    write_table(out, LEADING, led.select(*LED), LED)
    drawn = [
        frame.filter(pl.col("example_id").is_in(sample)).sort("group", "example_id")
        for frame in (exact, whole)
    ]
    agreement = correlated(*drawn)
    told = {
        "rows": whole["example_id"].n_unique(),
        "best": params.best,
        "candidates": CANDIDATES * params.best,
        "damping": params.scores.damping,
        "seed": params.seed,
        "overlap": overlap(whole, exact, params.best).sort("group", "side").to_dicts(),
        "agreement": agreement.to_dicts(),
    }
    with out.open(AGREED) as file:
        file.write(json.dumps(told, indent=2).encode())
    worst = min((row["spearman"] or 0.0 for row in agreement.to_dicts()), default=1.0)
    if not worst >= ROUGH:
        logger.warning(
            "the index ranks examples at a Spearman of %.2f with exact scores; raise index.coordinates", worst
        )
