"""What `infra show` prints of a corpus or a mixture: rows by kind, lengths, what left and why, samples."""

from collections.abc import Sequence
from typing import Any

import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra_core.corpus.schema import CORPUS, DROPPED, LEFT, MIXTURE, RATINGS
from infra_core.corpus.summary import count_by, histogram, reasons
from infra_core.store.artifact import Artifact
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import each_table, read_table, read_tables, table_names
from tasks.mix import LEFT_ROWS, MIXED

SAMPLES = 3
SHOWN = 400  # characters of a sample's text
BAR = 40  # characters of the longest bar


def print_corpus(console: Console, store: ArtifactStore, corpus: Artifact) -> None:
    """Print what is in a corpus; bands and lengths if some rating of it is in the same store."""
    columns = {name: CORPUS[name] for name in ("example_id", "source", "domain", "difficulty", "license")}
    rows = read_tables(store, corpus, columns, wider=True)
    rated = _ratings(store, corpus)
    if rated is None:
        console.print("no ratings of it are in this store, so bands and lengths in tokens are not known")
        _print_counts(console, rows, "source", "domain", "license")
    else:
        rows = rows.join(rated, on="example_id", how="left")
        _print_counts(console, rows, "source", "domain", "band")
        _print_lengths(console, rows["tokens"])
    dropped = read_tables(store, corpus, DROPPED, "dropped-*.parquet")
    _print_reasons(console, reasons(dropped), "dropped")
    first = table_names(store, corpus)[:1]
    _print_samples(console, *(frame for _, frame in each_table(store, corpus, CORPUS, first)))


def print_mixture(console: Console, store: ArtifactStore, mixture: Artifact) -> None:
    """Print what is in a mixture, what left it and why."""
    columns = {name: MIXTURE[name] for name in ("source", "domain", "band", "origin", "reason", "tokens")}
    rows = read_tables(store, mixture, columns, MIXED, wider=True)
    _print_counts(console, rows, "source", "domain", "band")
    _print_lengths(console, rows["tokens"])
    _print_counts(console, rows, "origin", "reason")
    left = read_table(store, mixture, LEFT_ROWS, LEFT)
    kind = pl.col("reason").str.split(" of ").list.first()  # what follows is the single row's own
    _print_reasons(console, count_by(left.with_columns(reason=kind), "source", "reason"), "left")
    _print_samples(console, read_tables(store, mixture, CORPUS, MIXED, wider=True).head(SAMPLES))


def _ratings(store: ArtifactStore, corpus: Artifact) -> pl.DataFrame | None:
    """Return band and tokens by `example_id`, from any rating that the pool went into."""
    for artifact in store.artifacts():
        inputs = store.manifest(artifact).inputs if artifact.stage == "rate_difficulty" else {}
        if corpus.key in inputs.values():
            rated = read_table(store, artifact, "ratings.parquet", RATINGS)
            tokens = pl.col("prompt_tokens") + pl.col("response_tokens")
            return rated.unique("example_id", keep="first").select("example_id", "band", tokens=tokens)
    return None


def _print_counts(console: Console, rows: pl.DataFrame, *kinds: str) -> None:
    counted = count_by(rows, *kinds)
    _print_table(console, " × ".join(kinds), counted.columns, counted.rows())


def _print_lengths(console: Console, tokens: pl.Series) -> None:
    bins = histogram(tokens).rows()
    most = max((rows for _, _, rows in bins), default=1)
    lines = [(f"{low:,} to {high - 1:,}", rows, "█" * round(BAR * rows / most)) for low, high, rows in bins]
    _print_table(console, "tokens of prompt and response", ("tokens", "rows", ""), lines)


def _print_reasons(console: Console, counted: pl.DataFrame, what: str) -> None:
    if counted.is_empty():
        console.print(f"no row {what}")
    else:
        _print_table(console, what, counted.columns, counted.rows())


def _print_table(
    console: Console, title: str, header: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    shown = Table(title=title, title_justify="left")
    for number, name in enumerate(header):
        is_count = bool(rows) and isinstance(rows[0][number], int)
        shown.add_column(name, justify="right" if is_count else "left")
    for row in rows:
        shown.add_row(*(_cell(value) for value in row))
    console.print(shown)


def _cell(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def _print_samples(console: Console, *frames: pl.DataFrame) -> None:
    for row in (row for frame in frames for row in frame.head(SAMPLES).iter_rows(named=True)):
        console.print(f"{row['example_id']}  {escape(row['source'])}  {escape(row['raw_ref'])}", style="bold")
        for name in ("prompt", "response"):
            text = row[name]
            more = f"… ({len(text):,} characters)" if len(text) > SHOWN else ""
            console.print(escape(_printable(text[:SHOWN]) + more), soft_wrap=True)


def _printable(text: str) -> str:
    """Return a text in which nothing can move the cursor or colour the terminal."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)
