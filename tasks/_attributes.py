"""Influence by difficulty, behaviour, class of token and word, read part by part."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from infra_core.attributes.cells import cells
from infra_core.attributes.clusters import problem_of
from infra_core.attributes.steps import BEHAVIOUR, STEPS, step_sums, steps
from infra_core.attributes.tokens import (
    CLASS,
    agreements,
    class_sums,
    classes,
    rule_agreement,
    word_influence,
)
from infra_core.attributes.top_words import top_words, word_sums
from infra_core.attributes.variations import BAND, Tables, compared
from infra_core.corpus.schema import BEHAVED, GRADIENT_NORMS, TOKENED, distinct
from infra_core.recipe import Recipe
from infra_core.store.artifact import Artifact
from infra_core.store.tables import read_table, read_tables, table_names
from tasks._scored import Scored
from tasks._stage import RunContext


@dataclass(frozen=True)
class Corpus:
    """What is known of the rows that were scored.

    Attributes
    ----------
    counted
        `example_id`, `domain` and `problem` of those that count.
    ratings
        Schema RATINGS.
    problems
        `example_id` and `group` of the corpus: which problem a row answers.
    behaviours
        What each span does; None where responses were scored whole.
    words
        What each token is.
    seeds
        Of resampling, by kind of table.
    """

    counted: pl.DataFrame
    ratings: pl.DataFrame
    problems: pl.DataFrame
    behaviours: Artifact | None
    words: Artifact
    seeds: Mapping[str, int]

    @classmethod
    def of(
        cls,
        rows: pl.DataFrame,
        unused: pl.DataFrame,
        ratings: pl.DataFrame,
        labels: Mapping[str, Any],
        seeds: Mapping[str, int],
    ) -> "Corpus":
        """Take rows (`example_id`, `domain` and `group`) without those that nobody trains on."""
        once = distinct(rows)
        used = once.join(unused, on="example_id", how="anti")
        problems = rows.select("example_id", "group")
        counted = used.select("example_id", "domain").join(problem_of(used, problems), on="example_id")
        return cls(counted, ratings, problems, labels["behaviours"], labels["token_classes"], seeds)


@dataclass(frozen=True)
class TokenTables:
    """Tables on tokens: TOKENS by rule, TOP_WORDS under the first rule, and AGREEMENT of two rules."""

    classes: Mapping[str, pl.DataFrame]
    words: pl.DataFrame
    agreement: pl.DataFrame


def influence_of(ctx: RunContext, scored: Scored, corpus: Corpus) -> pl.DataFrame:
    """Return the influence of every example that counts: `example_id`, `group`, `influence`."""
    return scored.whole(ctx).join(corpus.counted, on="example_id", how="semi", maintain_order="left")


def read_steps(ctx: RunContext, scored: Scored, corpus: Corpus) -> pl.DataFrame:
    """Return STEPS; none where responses were scored whole."""
    behaved = corpus.behaviours
    if behaved is None:
        return pl.DataFrame(schema=STEPS)

    def sums() -> Iterator[pl.DataFrame]:
        for name, found in scored.parts(ctx, table_names(ctx.store, behaved), "spans"):
            yield step_sums(read_table(ctx.store, behaved, name, BEHAVED), found, corpus.counted)

    return steps(sums(), seed=corpus.seeds["steps"])


def read_tokens(ctx: RunContext, rules: Mapping[str, Scored], corpus: Corpus) -> TokenTables:
    """Return what tokens teach under every rule that rows were scored by, the recipe's own first."""
    names, counted, seed = table_names(ctx.store, corpus.words), corpus.counted, corpus.seeds["tokens"]
    by_class: dict[str, list[pl.DataFrame]] = {rule: [] for rule in rules}
    by_word: list[pl.DataFrame] = []
    alike: list[pl.DataFrame] = []
    first = next(iter(rules))
    for parts in zip(*(scored.parts(ctx, names, "tokens") for scored in rules.values()), strict=True):
        words = read_table(ctx.store, corpus.words, parts[0][0], TOKENED)
        tables = {rule: found for rule, (_, found) in zip(rules, parts, strict=True)}
        for rule, found in tables.items():
            influence = word_influence(words, found, counted)
            by_class[rule].append(class_sums(influence))
            if rule == first:
                by_word.append(word_sums(influence))
        if len(tables) > 1:
            ours, theirs = tables.values()
            alike.append(agreements(words, ours, theirs, counted))
    return TokenTables(
        {rule: classes(sums, seed=seed) for rule, sums in by_class.items()},
        top_words(by_word),
        rule_agreement(alike, seed=seed),
    )


def cells_of(influence: pl.DataFrame, corpus: Corpus) -> pl.DataFrame:
    """Return CELLS of what `influence_of` returned."""
    return cells(influence, corpus.ratings, corpus.problems, seed=corpus.seeds["cells"])


def read_variations(
    ctx: RunContext,
    recipe: Recipe,
    varied: Mapping[str, Artifact],
    own: Tables,
    corpus: Corpus,
    scores: Artifact,
) -> pl.DataFrame:
    """Return VARIED: the tables again under each variation that the recipe asks for.

    Parameters
    ----------
    ctx, recipe
        Of the run.
    varied
        What variations rest on, by name.
    own
        Tables of the recipe's own scores.
    corpus, scores
        The rows, and those scores.
    """

    def tables(scored: Scored) -> Tables:
        by_class = read_tokens(ctx, {"": scored}, corpus).classes[""]
        return {
            BAND: cells_of(influence_of(ctx, scored, corpus), corpus),
            BEHAVIOUR: read_steps(ctx, scored, corpus),
            CLASS: by_class,
        }

    asked = variations(ctx, recipe, varied, corpus, scores)
    return compared(own, {name: tables(scored) for name, scored in asked.items()})


def variations(
    ctx: RunContext, recipe: Recipe, varied: Mapping[str, Artifact], corpus: Corpus, scores: Artifact
) -> dict[str, Scored]:
    """Return the scores of each variation by what the report calls it."""
    asked = recipe.robustness
    if asked is None:
        return {}
    found: dict[str, Scored] = {}
    if asked.modules is not None:
        found[f"modules {asked.modules}"] = Scored(varied["modules"])
    if asked.train_seed is not None:
        found[f"training seed {asked.train_seed}"] = Scored(varied["train_seed"])
    if "per_token" in asked.gradients:
        once = distinct(corpus.ratings)
        found["per token"] = Scored(scores, _inverse(once, "response_tokens"))
    if "unit_norm" in asked.gradients:
        norms = read_tables(ctx.store, varied["gradient_norms"], GRADIENT_NORMS)
        once = norms.unique("example_id", keep="first", maintain_order=True)
        found["unit norm"] = Scored(scores, _inverse(once, "gradient_norm"))
    return found


def _inverse(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return `weight` of each example, one over a column, which is one on average; zero stays zero."""
    inverse = pl.when(pl.col(column) > 0).then(1 / pl.col(column)).otherwise(0.0)
    return rows.select("example_id", weight=inverse / inverse.mean())
