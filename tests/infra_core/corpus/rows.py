"""CORPUS rows for tests, from the few fields that a test cares about."""

import polars as pl

from infra_core.corpus.schema import CORPUS, example_id


def corpus_rows(*rows: dict) -> pl.DataFrame:
    """Fill in what a row leaves out; every row gets its own line."""
    full = []
    for line, row in enumerate(rows, 1):
        filled = {"domain": "math", "source": "toy", "raw_ref": f"a.jsonl#{line}", "response": "x"} | row
        filled.setdefault("prompt", f"question {line}")
        filled.setdefault("example_id", example_id(filled["domain"], filled["prompt"], filled["response"]))
        if filled.get("difficulty") is not None:
            filled["difficulty_method"] = "label"
        full.append({column: filled.get(column) for column in CORPUS})
    return pl.DataFrame(full, schema=CORPUS)
