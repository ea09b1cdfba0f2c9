"""A bank of retrainings: what models trained on subsets of a corpus say of the queries."""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from infra_core.corpus.render import render
from infra_core.evaluation.likelihood import likelihoods
from infra_core.lm.load import load_tokenizer
from infra_core.recipe import Params, Recipe, TrainParams, ValidityParams
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_table, write_table
from infra_core.training.launch import fine_tune
from infra_core.training.states import States
from infra_core.validity.designs import SUBSETS
from infra_core.validity.judging import OUTCOMES
from tasks._asked import asked_queries, query_examples
from tasks._checkpoint import model_folder
from tasks._progress import progress
from tasks._shares import share_out
from tasks._stage import RunContext, stage
from tasks.draw_subsets import DRAWN
from tasks.train import place_of, training_rows

logger = logging.getLogger(__name__)


class RetrainRun(Params):
    """How each subset is trained on, and how often."""

    train: TrainParams  # its seed is that of all of them; each derives its own
    seeds: int

    @classmethod
    def of(cls, given: Recipe, asked: ValidityParams) -> "RetrainRun":
        """Take a recipe's own training."""
        return cls(train=given.train.run(derive_seed(given.seed, "retrain")), seeds=asked.seeds)

    def of_subset(self, subset: str, number: int) -> TrainParams:
        """Return the training of a subset with its seed of this number."""
        return self.train.model_copy(update={"seed": derive_seed(self.train.seed, subset, number)})


@dataclass(frozen=True)
class Unit:
    """One training: of which subset, with which of its seeds, and the part that tells of it."""

    subset: str
    number: int

    @property
    def part(self) -> str:
        """Name of the part."""
        return f"{self.subset}-{self.number}.parquet"


@dataclass(frozen=True)
class Retraining:
    """What all of them need."""

    base: Artifact
    corpus: Artifact
    queries: Artifact
    subsets: Artifact
    params: RetrainRun


@stage(version=1)
def retrain(
    ctx: RunContext,
    out: WorkDir,
    *,
    base: Artifact,
    corpus: Artifact,
    queries: Artifact,
    subsets: Artifact,
    params: RetrainRun,
) -> None:
    """Train on every subset, once a seed, and write what each model says of the queries, a part each.

    A part that was trained on the same rows before is adopted, so that a bank grows by what is new to it.
    """
    drawn = read_table(ctx.store, subsets, DRAWN, SUBSETS)
    fixed = {"base": base.key, "queries": queries.key}
    units = {}
    identities: dict[str, dict[str, object]] = {}
    for subset, ids in drawn.select("subset", "example_ids").iter_rows():
        for number in range(params.seeds):
            unit = Unit(subset, number)
            units[unit.part] = unit
            rows = hashlib.sha256("\n".join(ids).encode()).hexdigest()
            identities[unit.part] = {**fixed, "rows": rows, "train": params.of_subset(subset, number)}
    waiting = [units[name] for name in out.pending(identities)]
    given = Retraining(base, corpus, queries, subsets, params)
    share_out(ctx, out, retrain_units, _after_the_first(ctx, out, waiting, given), given)


def _after_the_first(
    ctx: RunContext, out: WorkDir, waiting: Sequence[Unit], given: Retraining
) -> Sequence[Unit]:
    """Do the first two, say from the second how long the others will take, and return these.

    The first takes longer: it loads what the libraries load when they are first used.
    """
    seconds = 0.0
    for unit in waiting[:2]:
        began = time.monotonic()
        retrain_units(ctx, out, [unit], given)
        seconds = time.monotonic() - began
    left = waiting[2:]
    if left:
        logger.info(
            "one retraining took %.1f s; %d more with %d worker(s): about %.0f min",
            seconds, len(left), ctx.workers, seconds * len(left) / ctx.workers / 60,
        )  # fmt: skip
    return left


def retrain_units(ctx: RunContext, out: WorkDir, units: Sequence[Unit], given: Retraining) -> None:
    """Train on some subsets, one after the other, and write what comes of each."""
    folder = model_folder(ctx, given.base)
    tokenizer = load_tokenizer(folder)
    rows = training_rows(ctx, given.corpus).unique("example_id", keep="first", maintain_order=True)
    examples = {example.example_id: example for example in render(rows, tokenizer, spans=None)}
    drawn = read_table(ctx.store, given.subsets, DRAWN, SUBSETS)
    members = dict(drawn.select("subset", "example_ids").iter_rows())
    asked = asked_queries(ctx, given.queries)
    queries = query_examples(asked, tokenizer)
    with progress("retrainings", len(units)) as update:
        for done, unit in enumerate(units, 1):
            with TemporaryDirectory() as scratch:
                model, _, _ = fine_tune(
                    folder,
                    [examples[name] for name in members[unit.subset]],
                    given.params.of_subset(unit.subset, unit.number),
                    States(Path(scratch)),
                    place=place_of(ctx),
                )
            told = likelihoods(model, queries, batch_tokens=ctx.micro_batch_tokens)
            outcomes = asked.select("query_id", "group").with_columns(
                subset=pl.lit(unit.subset),
                seed=pl.lit(unit.number, pl.Int32()),
                log_likelihood=pl.Series([-each.nll for each in told], dtype=pl.Float64()),
                exact=pl.Series([each.exact for each in told], dtype=pl.Boolean()),
            )
            write_table(out, unit.part, outcomes.select(*OUTCOMES), OUTCOMES)
            update(done)
