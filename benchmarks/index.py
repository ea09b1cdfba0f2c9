"""What an index is worth, and what a question costs: ``python -m benchmarks.index STORE [RECIPE]``.

Agreement is of a recipe that ran in STORE (`tiny` unless told otherwise): of all its rows, scores by indexes
of several sizes with the exact ones of the run. The time of a question is of made blocks, 100,000 rows in the
shape of two models, once with all of them in memory and once read from the disk that TMPDIR is on.
"""

import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file

from flows.__main__ import recipe_path
from flows.ask import answered
from flows.attribute import attribute
from flows.curate import ALONE, planned_context
from infra_core.corpus.schema import SCORES
from infra_core.influence import (
    IndexBlock,
    block_from_tensors,
    block_to_tensors,
    correlated,
    leading,
    overlap,
    search,
)
from infra_core.influence.index import side_by_side
from infra_core.influence.search import FOUND, IndexedQueries
from infra_core.recipe import IndexParams, QuestionParams, Recipe
from infra_core.store.tables import read_table, read_tables
from tasks._stage import RunContext
from tasks.ask import ANSWERS, CANDIDATES

COORDINATES = (16, 64, 256, 1024, 4096)
BEST = 16
ROWS, PART, GROUPS = 100_000, 500, 3
SHAPES = {"tiny": 9, "SmolLM2-135M": 90}
"""Blocks of MLP modules; of each the default number of coordinates is kept."""


def agreement_table(given: Recipe, ctx: RunContext) -> Table:
    """Score all rows by indexes of several sizes; say how far they are from the exact scores."""
    exact = exact_scores(given, ctx)
    reached = f"among {CANDIDATES * BEST}"
    shown = Table(
        "coordinates", "bytes a row", "group", "Pearson", "Spearman", f"of the best {BEST}", reached, "n"
    )
    for count in COORDINATES:
        asked = {"index": IndexParams(coordinates=count), "ask": QuestionParams(best=BEST)}
        answers = answered(given.model_copy(update=asked), ctx)
        found = read_table(ctx.store, answers, ANSWERS, FOUND)
        hits = overlap(found, exact, BEST).group_by("group").agg(pl.col("overlap").mean())
        candidates = leading(found, CANDIDATES * BEST)
        both = [frame.sort("group", "example_id") for frame in (exact, found)]
        size = ctx.store.manifest(answers).provenance["row_bytes"]
        for row, hit in zip(correlated(*both).to_dicts(), hits.sort("group").to_dicts(), strict=True):
            ranks = (
                f"{row['pearson']:.4f}",
                f"{row['spearman']:.4f}",
                f"{hit['overlap']:.0%}",
                f"{_reached(candidates, exact, row['group']):.0%}",
                str(row["n"]),
            )
            shown.add_row(str(count), size, row["group"], *ranks)
    return shown


def _reached(candidates: pl.DataFrame, exact: pl.DataFrame, group: str) -> float:
    """Return the share of a group's best and worst that are among the candidates for exact scores."""
    wanted = leading(exact, BEST).filter(pl.col("group") == group)
    return wanted.join(candidates, on=["group", "side", "example_id"], how="semi").height / wanted.height


def exact_scores(given: Recipe, ctx: RunContext) -> pl.DataFrame:
    """Return the scores of a recipe's run, each row and group once."""
    columns = {name: SCORES[name] for name in ("example_id", "group", "influence")}
    found = read_tables(ctx.store, attribute(given, ctx).scores, columns, wider=True)
    return found.unique(["example_id", "group"], keep="first", maintain_order=True)


def made_block(columns: Mapping[str, slice]) -> IndexBlock:
    """Return a block of rows that mean nothing."""
    codes = torch.randint(-127, 128, (PART, sum(each.stop - each.start for each in columns.values())))
    names = [f"{row:016x}" for row in range(PART)]
    return IndexBlock(names, [None] * PART, codes.to(torch.int8), torch.rand(PART, len(columns)))


def question(blocks: int, folder: Path, *, on_disk: bool) -> tuple[int, float, float]:
    """Ask three groups of as many rows; return bytes a row, seconds and those of the processor."""
    columns = side_by_side({f"layers.{number}": IndexParams().coordinates for number in range(blocks)})
    asked = tuple(f"group {number}" for number in range(GROUPS))
    block = made_block(columns)
    queries = IndexedQueries(columns, frozenset(), asked, torch.randn(GROUPS, block.codes.shape[1]))
    one, count = folder / "one.safetensors", ROWS // PART
    save_file(block_to_tensors(block, columns), one)
    # The same file again and again is in memory from the first time.
    paths = [copied(one, folder / f"{number}.safetensors") if on_disk else one for number in range(count)]

    def mapped() -> Iterator[IndexBlock]:
        for path in paths:
            yield block_from_tensors(load_file(path), columns)

    began, busy = time.perf_counter(), time.process_time()
    search(queries, mapped())
    return block.row_bytes, time.perf_counter() - began, time.process_time() - busy


def copied(source: Path, path: Path) -> Path:
    """Copy a file to the disk and let the system forget what is in it."""
    shutil.copyfile(source, path)
    with path.open("r+b") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return path


def question_table() -> Table:
    """Time a question to indexes of two shapes, in memory and on a disk."""
    columns = (
        "shape of",
        "blocks in",
        "bytes a row",
        "rows",
        "groups",
        "seconds",
        "of the processor",
        "GB at most so far",
    )
    shown = Table(*columns)
    for (name, blocks), place in product(SHAPES.items(), ("memory", "disk")):
        with TemporaryDirectory() as folder:
            size, *seconds = question(blocks, Path(folder), on_disk=place == "disk")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        times = (f"{each:.1f}" for each in seconds)
        shown.add_row(name, place, f"{size:,}", f"{ROWS:,}", str(GROUPS), *times, f"{peak:.2f}")
    return shown


def main(arguments: list[str]) -> None:
    """Measure both and print."""
    store, name = arguments[0], arguments[1] if len(arguments) > 1 else "tiny"
    given = Recipe.load(recipe_path(name))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(question_table())
    console.print(agreement_table(given, planned_context(given, store, ALONE)))


if __name__ == "__main__":
    main(sys.argv[1:])
