"""One more optimiser step on the rows that a method puts first for a query: how much likelier that makes it.

After the tail-patch of Chang et al. 2024 (arXiv:2410.17413). Unlike retraining it asks what rows teach a
model that has learnt already, and it costs a step a query.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from infra_core.corpus.example import TokenizedExample
from infra_core.evaluation.likelihood import likelihoods
from infra_core.evaluation.statistics import Difference, Interval, mean_interval, paired_difference
from infra_core.lm.batching import batches
from infra_core.lm.classes import PreTrainedModel
from infra_core.lm.objective import summed_loss
from infra_core.recipe.validity import Method

PATCHED = {
    "query_id": pl.String(),
    "group": pl.String(),
    "gain": pl.Float64(),  # nats by which the step makes the query's response likelier
}
BY_CHANCE: Method = "random"


@dataclass(frozen=True)
class Patched:
    """What the rows that a method puts first teach a model that was trained on them.

    Attributes
    ----------
    gain
        Nats of a query, over the queries of the group.
    beside_random
        The same less that of random rows, query by query; None where there are none.
    """

    method: str
    group: str
    gain: Interval
    beside_random: Difference | None


def tail_patch(
    model: PreTrainedModel,
    examples: Sequence[TokenizedExample],
    queries: Sequence[TokenizedExample],
    scores: np.ndarray,
    *,
    rows: int,
    learning_rate: float,
    batch_tokens: int,
) -> list[float]:
    """Return by how many nats one step on its best rows makes each query likelier. The model stays as it is.

    The step is Adam's first: every weight moves by the learning rate, the way that lessens the mean loss of
    the scored tokens.

    Parameters
    ----------
    model
        Fine-tuned on the examples.
    examples, queries
        As tokens.
    scores
        Examples × queries.
    rows
        How many a step is on; ties go to those that come first.
    learning_rate
        Of the step.
    batch_tokens
        Padded positions a batch; how fast, not what.
    """
    best = np.argsort(-scores, axis=0, kind="stable")[:rows]
    asked: dict[tuple[int, ...], list[int]] = {}  # methods that do not ask which query choose once for all
    for query, chosen in enumerate(np.sort(best, axis=0).T.tolist()):
        asked.setdefault(tuple(chosen), []).append(query)
    before = likelihoods(model, queries, batch_tokens=batch_tokens)
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    gains = [0.0] * len(queries)
    for chosen, places in asked.items():
        _step(model, [examples[row] for row in chosen], learning_rate, batch_tokens)
        after = likelihoods(model, [queries[place] for place in places], batch_tokens=batch_tokens)
        for place, told in zip(places, after, strict=True):
            gains[place] = before[place].nll - told.nll
        model.load_state_dict(start, strict=False)  # a tied head is no parameter of its own
    return gains


def judge_patches(tables: Mapping[str, pl.DataFrame], seed: int) -> list[Patched]:
    """Return what each method's rows teach, by group of queries, and beside random rows if these are known.

    Parameters
    ----------
    tables
        By method: schema PATCHED, queries in one order.
    seed
        Of the intervals.
    """
    found = []
    for method, table in tables.items():
        for (group,), ours in table.group_by("group", maintain_order=True):
            gains = ours["gain"].to_numpy()[:, None]
            beside = None
            if BY_CHANCE in tables and method != BY_CHANCE:
                chance = tables[BY_CHANCE].filter(pl.col("group") == group)["gain"].to_numpy()[:, None]
                beside = paired_difference(gains, chance, seed)
            found.append(Patched(method, str(group), mean_interval(gains, seed), beside))
    return found


def _step(
    model: PreTrainedModel, rows: Sequence[TokenizedExample], learning_rate: float, batch_tokens: int
) -> None:
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)
    scored = sum(int(row.scored.sum()) for row in rows)
    for batch, _ in batches(rows, batch_tokens):
        there = batch.to(model.device)
        logits = model(input_ids=there.ids, attention_mask=there.attention_mask.long()).logits
        (summed_loss(logits, there.ids, there.scored) / scored).backward()
    optimiser.step()
    optimiser.zero_grad()
