"""Everything a report is made of, and the exam seen from every side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from infra_core.attributes.steps import STEPS
from infra_core.attributes.strata import STRATUM_MEANS
from infra_core.attributes.tokens import AGREEMENT as AGREEMENT_OF_RULES
from infra_core.attributes.tokens import TOKENS
from infra_core.attributes.top_words import TOP_WORDS
from infra_core.attributes.variations import VARIED
from infra_core.corpus.schema import AGREEMENT
from infra_core.errors import DataError
from infra_core.evaluation.statistics import Table
from infra_core.evaluation.summary import answer_table, nll_table
from infra_core.influence.drift import Drift
from infra_core.recipe import Recipe
from infra_core.seeds import derive_seed

BASELINE = "keep_all"
NLL = "nll_per_token"
BANDS = ("easy", "medium", "hard", None)


@dataclass(frozen=True)
class ReportInputs:
    """What one run found.

    Attributes
    ----------
    recipe
        What was asked.
    answers, likelihoods
        Of each arm, one frame a training seed with all tasks in it: schemas ANSWERS and LIKELIHOODS. Arms
        in the order they are shown: ``base`` first, then ``keep_all``, then the mixtures.
    mixtures
        Schema MIXTURE, of ``keep_all`` and every mixture; columns of texts may be missing.
    cells
        Influence by domain × band × query group: `attributes.cells.CELLS`.
    ratings, screen, queries
        Schemas RATINGS (corpus, reserve and benchmark questions), SCREEN and QUERY.
    dropped
        Schema DROPPED, of corpus, reserve and benchmarks.
    left
        Schema LEFT, by arm: rows of the corpus that are not in its mixture.
    first_alike
        Of each arm, the first one of the same rows, whose runs it shares; arms that are not in it are alone.
    directions
        Schema DIRECTIONS, of arms whose flip was measured.
    agreement
        Schema AGREEMENT, where the model tried problems that have labels.
    batch_dependence
        What fitting noted, if gradients were found to depend on how rows are batched.
    drift
        How far the corpus is from that of the scored model, where an earlier one was kept.
    steps
        Influence by behaviour: `attributes.steps.STEPS`; none where responses were scored whole.
    strata
        Influence by fifths of length and perplexity: `attributes.strata.STRATUM_MEANS`.
    tokens, other_tokens
        Influence by class of token: `attributes.tokens.TOKENS`, under the recipe's token rule, and under the
        other one where rules are compared.
    agreement_of_rules
        Schema `attributes.tokens.AGREEMENT`, of the two.
    words
        The most helpful and harmful ones: `attributes.top_words.TOP_WORDS`.
    variations
        The tables under other ways to take influence: `attributes.variations.VARIED`.
    versions
        Of what computed the numbers, e.g. ``{"torch": "2.13.0"}``. No times, hosts or paths.
    """

    recipe: Recipe
    answers: Mapping[str, Sequence[pl.DataFrame]]
    likelihoods: Mapping[str, Sequence[pl.DataFrame]]
    mixtures: Mapping[str, pl.DataFrame]
    cells: pl.DataFrame
    ratings: pl.DataFrame
    screen: pl.DataFrame
    queries: pl.DataFrame
    dropped: pl.DataFrame
    versions: Mapping[str, str]
    left: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    first_alike: Mapping[str, str] = field(default_factory=dict)
    directions: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    agreement: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=pl.Schema(AGREEMENT)))
    batch_dependence: str = ""
    drift: Drift | None = None
    steps: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=STEPS))
    strata: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=STRATUM_MEANS))
    tokens: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TOKENS))
    other_tokens: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TOKENS))
    agreement_of_rules: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=AGREEMENT_OF_RULES))
    words: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TOP_WORDS))
    variations: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=VARIED))

    def __post_init__(self) -> None:
        """Check that there is something to compare with.

        Raises
        ------
        DataError
            If there is no untouched corpus.
        """
        if BASELINE not in self.answers or BASELINE not in self.mixtures:
            raise DataError(
                f"arms {sorted(self.answers)} have no {BASELINE}; every comparison needs the untouched corpus"
            )

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks of the exam."""
        return self.recipe.evaluate.tasks

    @property
    def changed(self) -> list[str]:
        """Arms whose mixture differs from the untouched corpus."""
        return [arm for arm in self.answers if arm in self.mixtures and arm != BASELINE]

    def controls(self, arm: str) -> list[str]:
        """Return the controls of `arm`: the arms that copy its size."""
        return [
            name
            for name in self.recipe.mixtures
            if name in self.answers and self.recipe.copied_by(name) == arm
        ]

    def seed(self, *names: str) -> int:
        """Return the seed of the resampling called `names`; all arms share it, so that pairs stay pairs."""
        return derive_seed(self.recipe.seed, "report", *names)

    def task_version(self, task: str) -> str:
        """Return the version of a task's wording and data."""
        return self.answers[BASELINE][0].filter(pl.col("task") == task)["task_version"][0]

    def cells_of_exam(self, task: str) -> list[tuple[str, str | None, list[str]]]:
        """Return (domain, band, questions) of a task, easy first, unrated last."""
        bands = self.ratings.filter(pl.col("pool") == "benchmark").select(
            question_id="example_id", band="band"
        )
        asked = (
            self
            .answers[BASELINE][0]
            .filter(pl.col("task") == task)
            .select("question_id", "domain")
            .unique("question_id")
            .join(bands.unique("question_id"), on="question_id", how="left")
        )
        found = []
        for domain in asked["domain"].unique().sort():
            for band in BANDS:
                here = asked.filter(pl.col("domain") == domain, pl.col("band").eq_missing(pl.lit(band)))
                if here.height:
                    found.append((domain, band, here["question_id"].sort().to_list()))
        return found

    def tables(self, task: str, metric: str, questions: list[str] | None = None) -> dict[str, Table]:
        """Return each arm's questions × training seeds of a metric, over a task or some of its questions.

        Arms are missing where there is nothing to measure by: NLL without reference responses.
        """
        found = {}
        runs_of = self.likelihoods if metric == NLL else self.answers
        for arm, all_runs in runs_of.items():
            runs = _only(all_runs, task, questions)
            if runs and all(run.height for run in runs):
                found[arm] = nll_table(runs) if metric == NLL else answer_table(runs, metric)
        return found

    def alike(self, tables: Mapping[str, Table]) -> list[Table]:
        """Return those of `tables` whose arms were trained alike, so that they know of each other's luck."""
        return [table for arm, table in tables.items() if arm in self.mixtures]


def _only(runs: Sequence[pl.DataFrame], task: str, questions: list[str] | None) -> list[pl.DataFrame]:
    keep = pl.col("task") == task
    if questions is not None:
        keep &= pl.col("question_id").is_in(questions)
    return [run.filter(keep) for run in runs]
