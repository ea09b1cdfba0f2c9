"""What a report of a real corpus takes: ``python -m benchmarks.report FOLDER [ROWS [TOKENS]]``.

A store of made-up artifacts, 17,000 rows of a thousand tokens and three query groups unless told
otherwise, is laid out in FOLDER; then `behaviours`, `token_classes` and `report` run on it as they would in a
flow. Prints seconds, those of a processor, the peak of memory, where the page is, and how it does in a
browser, if there is one: when anything is first seen, by Chromium's own clock, from a file on disk, and how
long its viewer takes.
"""

import resource
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from benchmarks.viewer import look
from infra_core.corpus import schema
from infra_core.corpus.render import spans_of
from infra_core.lm.tokenizer import character_tokenizer
from infra_core.recipe import Recipe
from infra_core.seeds import generator
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import write_table
from tasks._stage import RunContext
from tasks.base import base, pinned
from tasks.behaviours import BehaviourRun, behaviours
from tasks.mix import LEFT_ROWS, MIXED
from tasks.report import ReportRun, report
from tasks.token_classes import token_classes

RECIPE = Path(__file__).parents[1] / "deployments" / "recipes" / "tiny.yaml"
GROUPS = ("math/correct", "code/correct", "science/correct")
PART = 500  # rows
QUESTIONS = 200
PROMPT = 40  # tokens
BANDS = ("easy", "medium", "hard")
SENTENCES = (
    "Let me check this again.\n",
    "First I compute 12 * 3 = 36.\n",
    "Wait, that is not right.\n",
    "So the answer is 36.\n",
    "Alternatively, one could add them.\n",
)
"""Sentences that behaviours are told by; each row says beside them how it came to numbers of its own."""
Table = tuple[str, pl.DataFrame, schema.Schema]


class Clock(NamedTuple):
    """Seconds, and those in which this process computed: what is left of the former beside other work."""

    wall: float
    own: float

    @classmethod
    def now(cls) -> "Clock":
        """Read both."""
        return cls(time.monotonic(), time.process_time())


def frame(columns: Mapping[str, Any], kind: schema.Schema) -> pl.DataFrame:
    """Return a table of a schema, null where nothing is given."""
    given = pl.DataFrame(columns)
    missing = [pl.lit(None, dtype=type_).alias(name) for name, type_ in kind.items() if name not in columns]
    return given.with_columns(missing).select(*kind).cast(dict(kind))


def corpus_part(first: int, rows: int, tokens: int) -> pl.DataFrame:
    """Return rows whose responses have about so many characters, each of which is a token."""
    random = generator(0, "rows", first)

    def text() -> str:
        chosen = random.choice(SENTENCES, size=max(1, round(tokens * random.lognormal(-0.1, 0.4) / 72)))
        numbers = random.integers(1, 10_000, size=(len(chosen), 2))
        own = (f"Since $x_{a} = \\frac{{{b}}}{{{a}}}$, so (x) is {b}.\n" for a, b in numbers)
        return "".join(one for pair in zip(chosen, own, strict=True) for one in pair)

    texts = [text() for _ in range(rows)]
    ids = [f"{number:016x}" for number in range(first, first + rows)]
    domains = [("math", "code", "science")[number % 3] for number in range(rows)]
    told = {"example_id": ids, "domain": domains, "source": domains, "raw_ref": ids, "prompt": ids}
    return frame(told | {"response": texts, "answer": ["36"] * rows, "group": ids}, schema.CORPUS)


def scores_part(rows: pl.DataFrame) -> pl.DataFrame:
    """Return scores of these rows, drawn at random, that sum as real ones do."""
    lengths = dict(
        spans_of(rows, character_tokenizer(), "lines").group_by("example_id").agg("tokens").iter_rows()
    )
    random = generator(0, "scores", rows["example_id"][0])
    found = []
    for name in rows["example_id"]:
        edges = np.cumsum([0, PROMPT, *lengths[name][:-1]])
        for group in GROUPS:
            tokens = random.standard_normal(PROMPT + sum(lengths[name]) + 1, dtype=np.float32)
            found.append((name, group, tokens.sum(), np.add.reduceat(tokens, edges), tokens))
    return pl.DataFrame(found, schema=list(schema.SCORES), orient="row").cast(dict(schema.SCORES))


def laid_out(ctx: RunContext, stage: str, tables: Iterable[Table]) -> Artifact:
    """Put tables into the store as if a stage had written them."""

    def build(out: WorkDir) -> None:
        for name, table, kind in tables:
            write_table(out, name, table, kind)

    return ctx.store.materialize(stage, 1, None, {}, build, {})


def exam(lift: float) -> list[Table]:
    """Return answers and likelihoods of a model that knows somewhat more or less."""
    random = generator(0, "exam", str(lift))
    asked = {
        "task": [task for task in ("tiny_math", "tiny_code") for _ in range(QUESTIONS)],
        "question_id": [f"q{number:015d}" for number in range(2 * QUESTIONS)],
        "domain": [domain for domain in ("math", "code") for _ in range(QUESTIONS)],
    }
    right = [bool(share < 0.4 + lift) for share in random.random(2 * QUESTIONS)]
    told = {"correct": right, "draw": [0] * len(right), "truncated": [False] * len(right)}
    answers = asked | told | {"task_version": ["1"] * len(right), "response_tokens": [50] * len(right)}
    losses = {"nll": random.random(2 * QUESTIONS).tolist(), "scored_tokens": [10] * len(right)}
    return [
        ("answers-0.parquet", frame(answers, schema.ANSWERS), schema.ANSWERS),
        ("likelihoods-0.parquet", frame(asked | losses, schema.LIKELIHOODS), schema.LIKELIHOODS),
    ]


def found(ctx: RunContext, given: Recipe, rows: int, tokens: int) -> dict[str, Any]:
    """Lay out everything that a report reads beside mixtures and exams."""
    parts = {
        f"made-{first:06d}.parquet": corpus_part(first, min(PART, rows - first), tokens)
        for first in range(0, rows, PART)
    }
    corpus = laid_out(ctx, "made_corpus", ((name, part, schema.CORPUS) for name, part in parts.items()))
    scored = ((name, scores_part(part), schema.SCORES) for name, part in parts.items())
    scores = laid_out(ctx, "made_scores", scored)
    whole = pl.concat(parts.values())
    rated = whole.select(
        *("example_id", "domain", "source"),
        pool=pl.lit("corpus"),
        band=pl.Series([BANDS[number % 3] for number in range(rows)]),
        prompt_tokens=pl.lit(PROMPT),
        response_tokens=pl.col("response").str.len_chars() + 1,
    )
    queries = {"query_id": ["a"], "question_id": ["a"], "task": ["tiny_math_query"], "group": [GROUPS[0]]}
    lost = {"question_id": whole["example_id"], "nll": generator(0, "losses").random(rows) * tokens}
    tokenizer = base(ctx, params=pinned(given.base.model))
    small = {
        "ratings": (frame(rated.to_dict(), schema.RATINGS), schema.RATINGS),
        "screen": (pl.DataFrame(schema=dict(schema.SCREEN)), schema.SCREEN),
        "queries": (frame(queries, schema.QUERY), schema.QUERY),
        "benchmarks": (whole.clear(), schema.CORPUS),
        "perplexity": (
            frame(lost | {"scored_tokens": [tokens] * rows}, schema.LIKELIHOODS),
            schema.LIKELIHOODS,
        ),
    }
    tables = {
        name: laid_out(ctx, f"made_{name}", [(f"{name}.parquet", *table)]) for name, table in small.items()
    }
    return {**tables, "corpus": corpus, "reserve": None, "scores": scores, "checkpoint": tokenizer}


def mixture(ctx: RunContext, corpus: pl.DataFrame) -> Artifact:
    """Lay out the untouched corpus as an arm."""
    kept = corpus.to_dict() | {"origin": ["kept"] * len(corpus), "reason": ["kept"] * len(corpus)}
    sizes = {"tokens": [PROMPT] * len(corpus), "scored_tokens": [PROMPT] * len(corpus)}
    nothing = pl.DataFrame(schema=dict(schema.LEFT))
    tables = [(MIXED, frame(kept | sizes, schema.MIXTURE), schema.MIXTURE), (LEFT_ROWS, nothing, schema.LEFT)]
    return laid_out(ctx, "made_mix", tables)


def main(arguments: list[str]) -> None:
    """Lay out, run, and print."""
    folder, *sizes = arguments
    rows, tokens = (*map(int, sizes), *(17_000, 1_000)[len(sizes) :])
    ctx = RunContext.here(folder, "cpu")
    given = Recipe.load(RECIPE)
    made = found(ctx, given, rows, tokens)
    arm = mixture(ctx, corpus_part(0, PART, tokens))
    lifts = {"base": -0.2, "keep_all": 0.0, "flip": 0.1, "random": 0.01}
    exams = {name: {"0": laid_out(ctx, f"made_exam_{name}", exam(lift))} for name, lift in lifts.items()}
    began = Clock.now()
    labels = behaviours(
        ctx, corpus=made["corpus"], base=made["checkpoint"], params=BehaviourRun(spans="lines")
    )
    _say("behaviours", began)
    began = Clock.now()
    words = token_classes(ctx, corpus=made["corpus"], base=made["checkpoint"])
    _say("token_classes", began)
    began = Clock.now()
    written = report(
        ctx,
        found=made | {"behaviours": labels, "token_classes": words, "other_scores": None, "varied": {}},
        mixtures=dict.fromkeys(("keep_all", "flip", "random"), arm),
        evaluations=exams,
        params=ReportRun.of(given),
    )
    _say("report", began)
    page = ctx.store.local(written, ["report.html"])[0]
    sys.stdout.write(f"{page}, {page.stat().st_size / 1e6:.1f} MB\n")
    if seen := look(page):
        painted, done = seen
        sys.stdout.write(f"first paint after {painted:.2f} s\n")
        for what, seconds, longest in done:
            sys.stdout.write(f"{what}: {seconds:.2f} s, at most {longest:.2f} s of which nothing answers\n")


def _say(what: str, began: Clock) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    wall, own = (now - then for now, then in zip(Clock.now(), began, strict=True))
    told = f"{wall:.1f} s, {own:.1f} s of a processor; {peak:.2f} GB at most since the start"
    sys.stdout.write(f"{what}: {told}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
