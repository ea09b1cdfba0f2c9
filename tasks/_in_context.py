"""Rows of a corpus part that fit the model's context, and beside them a list of those that do not."""

import json
from collections.abc import Callable, Iterable, Mapping

import polars as pl
from transformers import PreTrainedTokenizerBase

from infra_core.corpus import TokenizedExample
from infra_core.corpus.render import render
from infra_core.corpus.segment import Rule
from infra_core.lm.classes import PreTrainedModel
from infra_core.store.store import WorkDir
from tasks._factors import context_length
from tasks._row_local import Identities

TOO_LONG = "longer than the model's context"
Unscored = list[dict[str, object]]


def pending_texts(
    out: WorkDir, texts: Identities, part_of: Callable[[str], str] = lambda name: name
) -> list[str]:
    """Return the corpus parts of which something is still to be written, their rows or the list beside.

    Parameters
    ----------
    out
        Where to.
    texts
        From `of_texts`.
    part_of
        How what is made of a corpus part is called.
    """
    identities: dict[str, Mapping[str, object]] = {
        target: {**identity, "scored": scored}
        for name, identity in texts.items()
        for target, scored in ((part_of(name), True), (unscored_part(name), False))
    }
    pending = set(out.pending(identities))
    return [name for name in texts if pending & {part_of(name), unscored_part(name)}]


def in_context(
    rows: pl.DataFrame, tokenizer: PreTrainedTokenizerBase, spans: Rule | None, model: PreTrainedModel
) -> tuple[list[TokenizedExample], Unscored]:
    """Return the rows that fit the model's context, and why the others have no score."""
    limit = context_length(model)
    examples: list[TokenizedExample] = []
    unscored: Unscored = []
    for example in render(rows, tokenizer, spans=spans):
        if len(example) <= limit:
            examples.append(example)
        else:
            unscored.append({
                "example_id": example.example_id,
                "tokens": len(example),
                "reason": TOO_LONG,
            })
    return examples, unscored


def write_unscored(out: WorkDir, name: str, unscored: Iterable[Mapping[str, object]]) -> None:
    """List the rows of a corpus part that have no score."""
    with out.open(unscored_part(name)) as file:
        file.write("".join(json.dumps(row) + "\n" for row in unscored).encode())


def unscored_part(name: str) -> str:
    """Return where rows without a score are listed; no table, so that all tables are scores."""
    return name.replace(".parquet", ".unscored.jsonl")
