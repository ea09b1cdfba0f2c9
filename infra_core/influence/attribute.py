"""Influence of examples, spans and tokens on query groups, whose side is already done."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import polars as pl
from torch import nn

from infra_core.corpus.example import TokenizedExample
from infra_core.influence.blocks import blocks_shaped
from infra_core.influence.factors import Factors
from infra_core.influence.kept import kept_passes
from infra_core.influence.passes import BATCH_TOKENS, Progress, passing, quiet
from infra_core.influence.query import precondition_queries
from infra_core.influence.scores import score_rows, scores_frame
from infra_core.influence.token_rules import RULES, Queries
from infra_core.influence.tracking import layer_of, track
from infra_core.recipe import ScoreParams

Detail = Literal["layer", "module"]

PARTS: dict[Detail | None, Callable[[str], str]] = {None: lambda _name: "", "layer": layer_of, "module": str}


def attribute(
    model: nn.Module,
    factors: Mapping[str, Factors],
    groups: Mapping[str, Sequence[TokenizedExample]],
    examples: Iterable[TokenizedExample],
    params: ScoreParams,
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> pl.DataFrame:
    """Score examples against query groups: `precondition_queries`, then `score_examples`.

    Returns
    -------
    DataFrame
        Of the SCORES schema: a row a pair of example and group, in the order of the examples.
    """
    preconditioned = precondition_queries(model, factors, groups, params, batch_tokens=batch_tokens)
    return score_examples(model, preconditioned, examples, params, batch_tokens=batch_tokens)


def score_examples(
    model: nn.Module,
    preconditioned: Queries,
    examples: Iterable[TokenizedExample],
    params: ScoreParams,
    *,
    detail: Detail | None = None,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Return the influence of each example, its spans and its tokens on each query group.

    Under the rule ``loss_term`` a token's influence is that of its own loss; under ``position`` it is that
    of the gradient entering at the position which predicts it, later losses included. Both sum to the
    influence of the example.

    Parameters
    ----------
    model
        The model that the queries were preconditioned with.
    preconditioned
        From `precondition_queries` or `compress_queries`.
    examples
        Training rows. One without scored tokens, or of a single token, has influence zero.
    params
        Token rule.
    detail
        ``layer`` or ``module`` gives a row for each of them, named in a further column ``part``; they sum to
        what is given without it. Under ``loss_term`` each costs a pass of its own.
    batch_tokens
        Padded positions a batch; does not change the result beyond rounding.
    progress
        Called with (tokens done, tokens in all or None) after each batch.

    Returns
    -------
    DataFrame
        Of the SCORES schema: a row a pair of example and group, in the order of the examples.
    """
    found: dict[int, list[dict[str, object]]] = {}
    shapes = preconditioned.shapes
    parts = {name: PARTS[detail](name) for name in shapes}
    names = list(dict.fromkeys(parts.values()))
    with quiet(model):
        tracked = track(model, blocks_shaped(model, shapes, "queries"))
        kept = kept_passes(examples, model, tracked)
        slopes_of = RULES[params.token_rule](model, tracked, preconditioned, parts, kept)
        for batch, rows in passing(model, examples, batch_tokens, progress):
            slopes = slopes_of(batch, rows)
            for row, (index, example) in enumerate(zip(batch.index, rows, strict=True)):
                found[index] = [
                    scored | ({"part": name} if detail else {})
                    for name, of_part in zip(names, slopes, strict=True)
                    for scored in score_rows(example, preconditioned.groups, of_part[:, row, : len(example)])
                ]
    return scores_frame([row for index in sorted(found) for row in found[index]], detailed=bool(detail))
