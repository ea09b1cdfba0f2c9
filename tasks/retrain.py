"""A bank of retrainings: what models trained on subsets of a corpus say of the queries."""

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from infra_core.corpus import TokenizedExample
from infra_core.corpus.render import render
from infra_core.corpus.schema import distinct
from infra_core.evaluation.likelihood import likelihoods
from infra_core.lm.load import load_tokenizer
from infra_core.recipe import Params, Recipe, TrainParams, ValidityParams
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from infra_core.store.key import canonical_json
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_table, write_table
from infra_core.training.launch import fine_tune
from infra_core.training.states import States
from infra_core.validity.ablations import ABLATED, MASKED, mixture_name
from infra_core.validity.designs import SUBSETS
from infra_core.validity.judging import OUTCOMES
from tasks._ablated import fitting_rows
from tasks._asked import asked_queries, query_examples
from tasks._checkpoint import model_folder
from tasks._progress import progress
from tasks._shares import share_out
from tasks._stage import RunContext, stage
from tasks.draw_subsets import DRAWN
from tasks.train import place_of, training_rows

logger = logging.getLogger(__name__)

Identity = dict[str, str | None]
"""Hashes of the rows of a training: of which they are, and of what is masked or weighs more in them."""


class RetrainRun(Params):
    """How each subset is trained on, and how often."""

    train: TrainParams  # its seed is that of all of them; each derives its own
    seeds: int
    ablation_seeds: int | None = None

    @classmethod
    def of(cls, given: Recipe, asked: ValidityParams) -> "RetrainRun":
        """Take a recipe's own training."""
        return cls(
            train=given.train.run(derive_seed(given.seed, "retrain")),
            seeds=asked.seeds,
            ablation_seeds=asked.ablation_trainings if asked.ablated else None,
        )

    def of_unit(self, unit: "Unit") -> TrainParams:
        """Return a training with its own seed; mixtures share theirs, so that they are paired."""
        told = ABLATED if unit.mixture is not None else unit.subset
        return self.train.model_copy(update={"seed": derive_seed(self.train.seed, told, unit.number)})


@dataclass(frozen=True)
class Unit:
    """One training: on which subset of the corpus, or which mixture, and with which of its seeds."""

    subset: str
    number: int
    rows: int
    mixture: Artifact | None = None

    @property
    def part(self) -> str:
        """Name of the part that tells of it."""
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
def retrain(  # noqa: PLR0913 - inputs of a stage
    ctx: RunContext,
    out: WorkDir,
    *,
    base: Artifact,
    corpus: Artifact,
    queries: Artifact,
    subsets: Artifact,
    ablated: Mapping[str, Mapping[str, Artifact]] | None = None,
    params: RetrainRun,
) -> None:
    """Train on every subset, once a seed, and write what each model says of the queries, a part each.

    Likewise on the mixtures that lack a label and on their controls, which are in `ablated` by label.
    A part that was trained on the same rows before is adopted, so that a bank grows by what is new to it.
    """
    drawn = read_table(ctx.store, subsets, DRAWN, SUBSETS)
    units = dict(_units(ctx, drawn, ablated or {}, params))
    fixed = {"base": base.key, "queries": queries.key}
    identities = {
        unit.part: {**fixed, **known, "train": params.of_unit(unit)} for unit, known in units.items()
    }
    pending = set(out.pending(identities))
    waiting = [unit for unit in units if unit.part in pending]
    given = Retraining(base, corpus, queries, subsets, params)
    left = _after_the_first(ctx, out, waiting, given)
    share_out(ctx, out, retrain_units, left, given, effort=lambda unit: unit.rows)


def _units(
    ctx: RunContext,
    drawn: pl.DataFrame,
    ablated: Mapping[str, Mapping[str, Artifact]],
    params: RetrainRun,
) -> Iterator[tuple[Unit, Identity]]:
    """Yield every training, and what tells its rows from others; none of a label that no row has."""
    for subset, ids in drawn.select("subset", "example_ids").iter_rows():
        for number in range(params.seeds):
            yield Unit(subset, number, len(ids)), {"rows": _digest(ids)}
    for label, pair in ablated.items():
        rows = {kind: fitting_rows(ctx, mixture, params.train.max_tokens) for kind, mixture in pair.items()}
        known = {kind: _identity(own) for kind, own in rows.items()}
        if known[MASKED]["edited"] is None:
            continue
        for kind, number in product(pair, range(params.ablation_seeds or 0)):
            unit = Unit(mixture_name(label, kind), number, rows[kind].height, pair[kind])
            yield unit, known[kind]


def _identity(rows: pl.DataFrame) -> Identity:
    """Return what tells some rows from others: which, and what of them counts differently or not at all."""
    edited = rows.select("example_id", "weight", "masked").filter(
        pl.any_horizontal(pl.col("weight", "masked").is_not_null())
    )
    edits = [canonical_json(row) for row in edited.iter_rows(named=True)]
    return {"rows": _digest(rows["example_id"]), "edited": _digest(edits) if edits else None}


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _after_the_first(
    ctx: RunContext, out: WorkDir, waiting: Sequence[Unit], given: Retraining
) -> Sequence[Unit]:
    """Do the first two, say from the second how long the others will take, and return these.

    The first takes longer: it loads what the libraries load when they are first used.
    """
    seconds, rows = 0.0, 1
    for unit in waiting[:2]:
        began = time.monotonic()
        retrain_units(ctx, out, [unit], given)
        seconds, rows = time.monotonic() - began, unit.rows
    left = waiting[2:]
    if left:
        later = sum(unit.rows for unit in left) * seconds / rows
        logger.info(
            "one retraining took %.1f s; %d more with %d worker(s): about %.0f min",
            seconds, len(left), ctx.workers, later / ctx.workers / 60,
        )  # fmt: skip
    return left


def retrain_units(ctx: RunContext, out: WorkDir, units: Sequence[Unit], given: Retraining) -> None:
    """Train on some subsets or mixtures, one after the other, and write what comes of each."""
    folder = model_folder(ctx, given.base)
    tokenizer = load_tokenizer(folder)
    rows = distinct(training_rows(ctx, given.corpus))
    examples = {example.example_id: example for example in render(rows, tokenizer, spans=None)}
    drawn = read_table(ctx.store, given.subsets, DRAWN, SUBSETS)
    members = dict(drawn.select("subset", "example_ids").iter_rows())

    @lru_cache(maxsize=1)  # its seeds follow each other
    def all_of(mixture: Artifact) -> list[TokenizedExample]:
        own = fitting_rows(ctx, mixture, given.params.train.max_tokens)
        return list(render(own, tokenizer, spans=None))

    def trained_on(unit: Unit) -> list[TokenizedExample]:
        if unit.mixture is not None:
            return all_of(unit.mixture)
        return [examples[name] for name in members[unit.subset]]

    asked = asked_queries(ctx, given.queries)
    queries = query_examples(asked, tokenizer)
    with progress("retrainings", len(units)) as update:
        for done, unit in enumerate(units, 1):
            with TemporaryDirectory() as scratch:
                model, _, _ = fine_tune(
                    folder,
                    trained_on(unit),
                    given.params.of_unit(unit),
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
