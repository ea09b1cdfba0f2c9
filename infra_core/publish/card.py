"""The card of a published mixture: what it is, where from, what was changed, how to cite it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import yaml
from huggingface_hub import DatasetCardData

from infra_core.corpus.screen import refused
from infra_core.corpus.summary import count_by, histogram
from infra_core.mixture.budget import SHORT
from infra_core.publish.rows import changes
from infra_core.publish.trainers import JSONL, usage
from infra_core.report.markdown import code, escape, table

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
UNKNOWN = "unknown"


@dataclass(frozen=True)
class CardInputs:
    """What a card is made of.

    Attributes
    ----------
    name
        Of the data set.
    recipe
        The recipe it comes from, as plain values without places.
    rule
        What made the mixture, as plain values.
    mixture, untouched
        Schema MIXTURE, of this arm and of the corpus as it was; texts may be missing.
    left
        Schema LEFT: rows of the corpus that are not in the mixture.
    screen
        Schema SCREEN.
    keys
        Of the artifacts that the mixture rests on: stage → key.
    versions
        Of what made it.
    """

    name: str
    recipe: Mapping[str, Any]
    rule: Mapping[str, Any]
    mixture: pl.DataFrame
    untouched: pl.DataFrame
    left: pl.DataFrame
    screen: pl.DataFrame
    keys: Mapping[str, str]
    versions: Mapping[str, str]


def card(inputs: CardInputs) -> str:
    """Return the card as Markdown behind the front matter that the hub and `datasets` read."""
    sections = {
        "What this is": _what(inputs),
        "How to use it": [usage(inputs.name), _columns(inputs)],
        "Sources and licences": _sources(inputs),
        "Length": _lengths(inputs),
        "Difficulty": _difficulty(inputs),
        "What was changed": _changes(inputs),
        "Overlap with benchmarks": _overlap(inputs),
        "Recipe": _recipe(inputs),
        "How to cite": [CITE],
    }
    body = [f"# {inputs.name}", ""]
    for title, lines in sections.items():
        body += [f"## {title}", "", *lines, ""]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(body)).rstrip()
    return f"---\n{_front_matter(inputs)}\n---\n\n{text}\n"


def _front_matter(inputs: CardInputs) -> str:
    known = inputs.mixture["license"].unique().drop_nulls().sort().to_list()
    size = next((name for limit, name in SIZES if inputs.mixture.height < limit), "1M<n<10M")
    return DatasetCardData(
        pretty_name=inputs.name,
        license=[*known, *([UNKNOWN] if inputs.mixture["license"].has_nulls() else [])],
        task_categories=["text-generation"],
        size_categories=[size],
        tags=["chain-of-thought", "sft", *inputs.mixture["domain"].unique().sort()],
        configs=[
            {
                "config_name": "default",
                "default": True,
                "data_files": [{"split": "train", "path": "data/*.parquet"}],
            },
            {"config_name": "changes", "data_files": [{"split": "train", "path": "changes.parquet"}]},
        ],
    ).to_yaml()


def _what(inputs: CardInputs) -> list[str]:
    rows, tokens = inputs.mixture.height, int(inputs.mixture["tokens"].cast(pl.Int64()).sum())
    scored = int(inputs.mixture["scored_tokens"].cast(pl.Int64()).sum())
    note = inputs.recipe.get("note")
    return [
        f"A mixture of chain-of-thought examples for supervised fine-tuning: {rows:,} rows of {tokens:,} "
        f"tokens, {scored:,} of them scored. This rule made it of a corpus, and of a reserve if rows came:",
        "",
        *([f"> {escape(str(note))}", ""] if note else []),
        "```yaml",
        _plain(inputs.rule),
        "```",
        "",
    ]


def _columns(inputs: CardInputs) -> str:
    lines = [
        f"`messages` holds prompt (`user`) and response (`assistant`); the same rows are in `{JSONL}`. "
        "`origin`, `replaces` and `reason` say why a row is here; `band` is its difficulty, `tokens` and "
        "`scored_tokens` its length as the base model's tokenizer counts.",
    ]
    told = (
        "Trainers leave that out unless they are told; without it these are the rows of the untouched corpus."
    )
    if inputs.mixture["weight"].is_not_null().any():
        lines.append(f"**Rows are weighted**: a row's loss counts `weight` times (null: once). {told}")
    if inputs.mixture["masked"].is_not_null().any():
        lines.append(
            "**Parts of responses are masked**: `masked` lists stretches of characters of the response that "
            f"carry no loss. {told}"
        )
    return "\n\n".join(lines)


def _sources(inputs: CardInputs) -> list[str]:
    counted = count_by(
        inputs.mixture.with_columns(pl.col("license").fill_null(UNKNOWN)), "source", "domain", "license"
    )
    rows = [
        [code(source), code(domain), escape(license_), f"{rows:,}", f"{tokens:,}"]
        for source, domain, license_, rows, tokens in counted.iter_rows()
    ]
    return table(["source", "domain", "licence", "rows", "tokens"], rows, left=3)


def _lengths(inputs: CardInputs) -> list[str]:
    before, after = (histogram(frame["tokens"]) for frame in (inputs.untouched, inputs.mixture))
    both = (
        before
        .join(after, on=["from", "to"], how="full", coalesce=True, suffix="_after")
        .fill_null(0)
        .sort("from")
    )
    rows = [[f"{low:,} to {high - 1:,}", f"{old:,}", f"{new:,}"] for low, high, old, new in both.iter_rows()]
    return [
        "Tokens of prompt and response together:",
        "",
        *table(["tokens", "rows before", "rows after"], rows),
    ]


def _difficulty(inputs: CardInputs) -> list[str]:
    before, after = (count_by(frame, "domain", "band") for frame in (inputs.untouched, inputs.mixture))
    both = before.join(
        after,
        on=["domain", "band"],
        how="full",
        coalesce=True,
        suffix="_after",
        nulls_equal=True,
        maintain_order="left_right",
    ).fill_null(0)
    rows = [
        [
            code(row["domain"]),
            row["band"] or "unrated",
            *(f"{row[name]:,}" for name in ("rows", "rows_after", "tokens", "tokens_after")),
        ]
        for row in both.sort("domain", maintain_order=True).iter_rows(named=True)
    ]
    method = (inputs.recipe.get("difficulty") or {}).get("method", "label")
    header = ["domain", "band", "rows before", "rows after", "tokens before", "tokens after"]
    return [
        f"Bands are cut in the untouched corpus, within a domain, by {escape(str(method))}.",
        "",
        *table(header, rows, left=2),
    ]


def _changes(inputs: CardInputs) -> list[str]:
    known = changes(inputs.mixture, inputs.left)
    # What follows is a single row's own, or counts of its own.
    kind = pl.col("reason").str.split(SHORT).list.first().str.split(" of ").list.first()
    found = count_by(known.with_columns(reason=kind), "change", "reason")
    if found.is_empty():
        return ["Nothing: this is the corpus as it was."]
    rows = [
        [change, escape(reason), f"{rows:,}", f"{tokens:,}"]
        for change, reason, rows, tokens in found.iter_rows()
    ]
    return [
        "Every row that left, came or is changed is in `changes.parquet`, with its reason "
        f'(`load_dataset("path/to/{inputs.name}", "changes")`).',
        "",
        *table(["change", "why", "rows", "tokens"], rows, left=2),
    ]


def _overlap(inputs: CardInputs) -> list[str]:
    asked = inputs.recipe.get("screen") or {}
    if asked.get("decontaminate") is False:
        return ["**Nobody looked**: decontamination was turned off."]
    benchmarks = ", ".join(code(name) for name in inputs.recipe.get("benchmarks") or {})
    out = pl.concat([refused(inputs.screen, pool) for pool in ("corpus", "reserve")])
    held = count_by(out.filter(pl.col("verdict") == "contaminated"), "matched_source", "pool")
    rows = [[code(name or UNKNOWN), pool, f"{rows:,}"] for name, pool, rows in held.iter_rows()]
    suspects = inputs.screen.filter(pl.col("verdict") == "suspect").select("example_id")
    still = inputs.mixture.join(suspects, on="example_id", how="semi").height
    lines = [f"Compared with {benchmarks}: no row overlaps enough to be left out.", ""]
    if rows:
        lines = [f"Compared with {benchmarks}. Rows that overlap with a question were left out:", ""]
        lines += table(["benchmark", "pool", "rows left out"], rows, left=2)
    return [*lines, f"{still:,} rows of this set overlap a little, too little to be left out."]


def _recipe(inputs: CardInputs) -> list[str]:
    keys = [[code(stage), code(key)] for stage, key in inputs.keys.items()]
    versions = [[code(name), code(version)] for name, version in inputs.versions.items()]
    return [
        "The recipe is in `recipe.yaml`, without the places of files. These artifacts were made of it:",
        "",
        *table(["stage", "key"], keys, left=2),
        *table(["made with", "version"], versions, left=2),
    ]


def _plain(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True).rstrip()


CITE = """\
```bibtex
@misc{kou2025infra,
  title = {Which Data Attributes Stimulate Math and Code Reasoning?
           An Investigation via Influence Functions},
  author = {Kou, Siqi and Tian, Qingyuan and Xu, Hanwen and Zeng, Zihao and Deng, Zhijie},
  year = {2025},
  eprint = {2505.19949},
  archivePrefix = {arXiv}
}
@misc{humane2025influence,
  title = {Influence Functions for Efficient Data Selection in Reasoning},
  author = {Humane, Prateek and Cudrano, Paolo and Kaplan, Daniel Z. and Matteucci, Matteo
            and Chakraborty, Supriyo and Rish, Irina},
  year = {2025},
  eprint = {2510.06108},
  archivePrefix = {arXiv}
}
```

The question and the difficulty flip are of the first, pruning of the second. Cite the sources above as well:
their rows are what this is made of."""
