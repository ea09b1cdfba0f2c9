"""plan: what a recipe will cost, before anything is downloaded, trained or paid for."""

import logging
from collections.abc import Sequence
from typing import Any

from infra_core.lm.published import config_of
from infra_core.planning.cost import Plan, plan
from infra_core.planning.machine import machine_of
from infra_core.planning.stages import Volume
from infra_core.recipe import Benchmark, Recipe, ScratchBase, Source
from tasks._stage import RunContext
from tasks.ingest import source_volume

logger = logging.getLogger(__name__)

ASSUMED_ROWS = 17_000  # of a corpus that is not here and has no row limit, about a Bespoke-Stratos
ASSUMED_QUESTIONS = 400  # of a benchmark that is not here
CHARACTERS = 2.7  # a token of maths and code; `smollm2` has 2.6, chat template included


def plan_recipe(
    given: Recipe, memory: str = "", devices: int = 1, device: str = "cpu", *, to_validate: bool = False
) -> Plan:
    """Return the plan of a recipe: for this machine's device, or for `devices` devices as `memory` says.

    With `to_validate` it is that of `infra validate`, not of `infra curate`.
    """
    per_token = 1.0 if isinstance(given.base.model, ScratchBase) else CHARACTERS
    rows, tokens, assumed = _volume(given.corpus.sources, given, per_token)
    _, base_tokens, _ = _volume(given.base.sources, given, per_token)
    spare, spare_tokens, guessed = _volume(given.corpus.reserve, given, per_token)
    asked, unknown = 0, []
    for task in given.evaluate.tasks:
        questions, _, unsure = _volume([given.benchmarks[task]], given, per_token)
        asked += min(_examined(given, task, questions), given.evaluate.questions or questions)
        unknown += unsure
    queries, unsure = _queries(given, per_token) if to_validate else (0, [])
    guesses = dict.fromkeys(assumed + guessed + unknown + unsure)
    volume = Volume(rows, tokens, base_tokens, asked, tuple(guesses), spare, spare_tokens, queries)
    config = config_of(given.base.model)
    machine = machine_of(memory, devices, config, given.train.batch_tokens, device)
    return plan(given, config, volume, machine, to_validate=to_validate)


def planned_sizes(
    given: Recipe, ctx: RunContext, devices: int = 1, *, to_validate: bool = False
) -> dict[str, Any]:
    """Return what the plan of a recipe says of batches and memory: fields of a context."""
    planned = plan_recipe(given, devices=devices, device=ctx.device, to_validate=to_validate)
    logger.info(plan_line(planned))
    # Batches stay as they are, however many share the memory: they move results by rounding.
    sharing = ctx.workers if ctx.device == "cpu" and "://" not in ctx.cluster else 1
    return {
        "micro_batch_tokens": planned.batch,
        "recompute": planned.recompute,
        "factor_bytes": planned.room_of(sharing),
        "pass_bytes": planned.passing,
        "on_host": planned.on_host,
    }


def _queries(given: Recipe, per_token: float) -> tuple[int, list[str]]:
    """Return how many queries there are at most, and what of it is assumed."""
    queries, unknown = 0, []
    for task in given.queries.tasks:
        questions, _, unsure = _volume([given.benchmarks[task]], given, per_token)
        queries += min(questions, given.queries.questions or questions) * given.queries.draws
        unknown += unsure
    return queries, unknown


def _examined(given: Recipe, task: str, questions: int) -> int:
    """Return how many of a task's questions are left for the exam where some of them are queries."""
    share = given.query_share if task in given.reused_questions() else None
    return questions if share is None or share == 1 else round(questions * (1 - share))


def _assumed_rows(source: Source) -> int:
    return ASSUMED_QUESTIONS if isinstance(source, Benchmark) else ASSUMED_ROWS


def plan_line(planned: Plan) -> str:
    """Return one line: rows, tokens, estimated minutes."""
    hint = "; passes find the layers of the model on the host" if planned.on_host else ""
    if not planned.fits:
        stages, larger = ", ".join(planned.too_large()), " or ".join(planned.would_fit)
        hint += f"; {stages} does NOT fit in its memory: take {larger}"
    if planned.longest_row:  # none, where no row at all fits: said above
        hint += f"; a row of over {planned.longest_row:,} tokens does NOT fit its passes for influence"
    return (
        f"plan: {planned.volume.rows:,} rows, {planned.volume.tokens:,} tokens, "
        f"about {_spoken(planned.seconds)} on {planned.machine.devices} device(s){hint}"
    )


def _spoken(seconds: float) -> str:
    """Return a time as people say it.

    Examples
    --------
    >>> [_spoken(seconds) for seconds in (90, 10_000, 1_000_000)]
    ['1.5 min', '2.8 h', '11.6 days']
    """
    for unit, length in (("days", 86_400), ("h", 3_600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.1f} min"


def _volume(sources: Sequence[Source], given: Recipe, per_token: float) -> tuple[int, int, list[str]]:
    rows, tokens, assumed = 0, 0.0, []
    seen = set()
    for source in sources:
        counted = source_volume(source)
        if counted is None:
            # Two sources may take different rows of the same files.
            taken = 0 if source.uri in seen else source.rows or _assumed_rows(source)
            seen.add(source.uri)
            counted = (taken, int(taken * per_token * given.train.max_tokens / 2))
            if taken:
                assumed.append(f"{source.name}: {taken} rows of {given.train.max_tokens // 2} tokens")
        rows += counted[0]
        tokens += counted[1] / per_token
    return rows, int(tokens), assumed
