"""The card says what a reader must know before training on the rows, and foreign text in it does nothing."""

import polars as pl
import pytest
import yaml

from infra_core.corpus.schema import LEFT, MIXTURE, SCREEN
from infra_core.publish import CardInputs, card
from tests.infra_core.publish.test_rows import mixture

RECIPE = {
    "name": "small",
    "note": "<b>made</b> up",
    "benchmarks": {"sums": {}},
    "screen": {"decontaminate": True},
}


def inputs(rows=None, recipe=RECIPE, **changes):
    kinds = [
        {"example_id": f"e{n}", "source": "ours", "license": "mit" if n % 2 else None, "band": "easy"}
        | {"tokens": 5 + n, "scored_tokens": 3}
        for n in range(12)
    ]
    made = rows if rows is not None else mixture(*kinds)
    short = "math hard→easy, as far as the reserve goes: 1 of 9 rows left"
    reasons = {"x1": "contaminated of q1 in sums", "x2": "contaminated of q2 in sums", "x3": short}
    left = [(name, "math", "ours", "hard", 7, reason, None) for name, reason in reasons.items()]
    screened = [
        {"example_id": "x1", "pool": "corpus", "verdict": "contaminated", "matched_source": "sums"},
        {"example_id": "x2", "pool": "corpus", "verdict": "contaminated", "matched_source": "sums"},
        {"example_id": "e3", "pool": "corpus", "verdict": "suspect", "matched_source": "sums"},
    ]
    verdicts = [{name: row.get(name) for name in SCREEN} for row in screened]
    given = {
        "name": "small-flip",
        "recipe": recipe,
        "rule": {"kind": "flip"},
        "mixture": made,
        "untouched": made,
        "left": pl.DataFrame(left, schema=pl.Schema(LEFT), orient="row"),
        "screen": pl.DataFrame(verdicts, schema=pl.Schema(SCREEN)),
        "keys": {"mix": "0" * 16},
        "versions": {"infra": "0.1.0"},
    }
    return CardInputs(**(given | changes))


@pytest.fixture(scope="module")
def text():
    return card(inputs())


def front_matter(text):
    return yaml.safe_load(text.split("---")[1])


def test_the_front_matter_tells_the_hub_licences_size_and_files(text):
    """Rows whose licence nobody stated are told as such."""
    found = front_matter(text)
    assert found["license"] == ["mit", "unknown"]
    assert found["size_categories"] == ["n<1K"]
    files = {config["config_name"]: config["data_files"][0]["path"] for config in found["configs"]}
    assert files == {"default": "data/*.parquet", "changes": "changes.parquet"}


@pytest.mark.parametrize(
    "said",
    [
        "12 rows of 126 tokens, 36 of them scored",
        "| `ours` | `math` | mit     |    6 |     66 |",
        "| 8 to 15  |           8 |          8 |",
        "| `math` | easy |          12 |         12 |",
        "| left   | contaminated   |    2 |     14 |",
        "| left   | math hard→easy |    1 |      7 |",
        "| `sums`    | corpus |             2 |",
        "1 rows of this set overlap a little",
        "`0000000000000000`",
        "eprint = {2505.19949}",
        'load_dataset("path/to/small-flip", split="train")',
        "dataset: small-flip",
    ],
)
def test_the_card_says(text, said):
    assert said in text


def test_a_corpus_that_nobody_looked_at_for_overlap_says_so():
    blind = card(inputs(recipe=RECIPE | {"screen": {"decontaminate": False}}))
    assert "**Nobody looked**" in blind


def test_weights_and_masks_are_announced_where_there_are_some():
    """A trainer that does not know of them trains on something else."""
    plain = card(inputs())
    assert "weighted" not in plain
    assert "masked" not in plain
    rows = mixture(
        {"source": "ours", "weight": 0.5, "tokens": 4, "scored_tokens": 2},
        {"source": "ours", "masked": [{"start": 0, "stop": 1}], "tokens": 4, "scored_tokens": 1},
    )
    text = card(inputs(rows.cast(pl.Schema(MIXTURE))))
    assert "**Rows are weighted**" in text
    assert "**Parts of responses are masked**" in text


def test_a_note_with_markup_is_text(text):
    assert "<b>" not in text.split("```")[0]
    assert "&lt;b&gt;made" in text


def test_the_same_mixture_has_the_same_card(text):
    assert card(inputs()) == text
