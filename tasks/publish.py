"""A mixture as a folder that `datasets` opens and trainers train on, with a card and what was changed."""

import math
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import islice
from typing import IO, Any

import polars as pl
import yaml

from infra_core.corpus.schema import LEFT, MIXTURE, SCREEN
from infra_core.publish import CHANGES, PUBLISHED, CardInputs, card, changes, llama_factory, published
from infra_core.publish.trainers import JSONL
from infra_core.recipe import MixParams, Params, Recipe
from infra_core.store.artifact import Artifact
from infra_core.store.lineage import ancestors
from infra_core.store.store import WorkDir
from infra_core.store.tables import (
    STREAMED_ROW_GROUP,
    read_table,
    read_tables,
    table_slices,
    table_writer,
    write_table,
)
from tasks._stage import RunContext, stage
from tasks.mix import LEFT_ROWS, MIXED

SHARD_BYTES = 256 * 2**20
PACKAGES = ("infra", "polars")
TEXTS = {"prompt", "response", "tests", "answer"}
WITHOUT_TEXTS = {name: kind for name, kind in MIXTURE.items() if name not in TEXTS}


class PublishRun(Params):
    """What a published mixture is called and comes from."""

    name: str
    recipe: dict[str, Any]  # as plain values, without places
    rule: MixParams

    @classmethod
    def of(cls, given: Recipe, arm: str) -> "PublishRun":
        """Take an arm of a recipe."""
        plain = given.placeless().model_dump(mode="json", exclude_none=True)
        return cls(name=f"{given.name}-{arm}", recipe=plain, rule=given.mixing(arm))


@stage(version=1)
def publish(
    ctx: RunContext,
    out: WorkDir,
    *,
    mixture: Artifact,
    untouched: Artifact,
    screen: Artifact,
    params: PublishRun,
) -> None:
    """Write rows in chat format as Parquet and JSONL, a card, the changes, and what trainers must be told."""
    light = read_tables(ctx.store, mixture, WITHOUT_TEXTS, MIXED, wider=True)
    left = read_table(ctx.store, mixture, LEFT_ROWS, LEFT)
    _write_rows(ctx, out, mixture, light.height)
    write_table(out, "changes.parquet", changes(light, left), CHANGES)
    described = CardInputs(
        name=params.name,
        recipe=params.recipe,
        rule=params.rule.model_dump(mode="json", exclude_none=True),
        mixture=light,
        untouched=read_tables(ctx.store, untouched, WITHOUT_TEXTS, MIXED, wider=True),
        left=left,
        screen=read_table(ctx.store, screen, "screen.parquet", SCREEN),
        keys=_keys(ctx, mixture),
        versions={name: version(name) for name in PACKAGES},
    )
    for name, text in {
        "README.md": card(described),
        "recipe.yaml": yaml.safe_dump(params.recipe, sort_keys=False, allow_unicode=True),
        "dataset_info.json": llama_factory(params.name),
    }.items():
        with out.open(name) as file:
            file.write(text.encode())


def _write_rows(ctx: RunContext, out: WorkDir, mixture: Artifact, rows: int) -> None:
    """Write the rows slice by slice, once in shards of about one size and once as lines."""
    shards = max(1, math.ceil(ctx.store.manifest(mixture).parts[MIXED]["bytes"] / SHARD_BYTES))
    of_a_shard = math.ceil(rows / STREAMED_ROW_GROUP / shards)
    slices = map(published, table_slices(ctx.store, mixture, MIXED, MIXTURE))
    with out.open(JSONL) as lines:
        for shard in range(shards):
            name = f"data/train-{shard:05d}-of-{shards:05d}.parquet"
            with table_writer(out, name, PUBLISHED) as append:
                _copy(islice(slices, of_a_shard), append, lines)


def _copy(slices: Iterator[pl.DataFrame], append: Callable[[pl.DataFrame], None], lines: IO[bytes]) -> None:
    for frame in slices:
        append(frame)
        frame.write_ndjson(lines)


def _keys(ctx: RunContext, mixture: Artifact) -> dict[str, str]:
    """Return the artifacts that a mixture rests on, nearest first."""
    found = [artifact for _, artifact in ancestors(ctx.store, mixture) if isinstance(artifact, Artifact)]
    return {f"{artifact.stage} {number}": artifact.key for number, artifact in enumerate(found, 1)}
