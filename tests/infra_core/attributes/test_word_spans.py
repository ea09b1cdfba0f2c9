"""Words become the stretches of text whose tokens they own."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.attributes.token_class import token_classes, words_of
from infra_core.attributes.word_spans import word_spans
from infra_core.corpus.render import spans_of
from infra_core.corpus.schema import CORPUS
from infra_core.lm.tokenizer import character_tokenizer

TOKENIZER = character_tokenizer()
TEXTS = st.lists(st.text(alphabet="so 12+=\n.{é🙂`", min_size=1, max_size=30), min_size=1, max_size=3)


def found(texts):
    """Rows of these responses, and their words as stretches."""
    rows = pl.DataFrame(
        [{"example_id": f"e{n}", "prompt": "q", "response": text} for n, text in enumerate(texts)],
        schema=pl.Schema(CORPUS),
    )
    return rows, word_spans(rows, token_classes(rows, TOKENIZER), TOKENIZER, "lines")


@settings(max_examples=25, deadline=None)
@given(TEXTS)
def test_words_tile_the_text_and_each_is_in_one_span(texts):
    """With a token a letter they are the words themselves; kind and last are those of their line."""
    rows, words = found(texts)
    spans = spans_of(rows, TOKENIZER, "lines")
    for row in rows.iter_rows(named=True):
        own = words.filter(pl.col("example_id") == row["example_id"])
        pieces = [row["response"][start:stop] for start, stop in own.select("start", "stop").iter_rows()]
        assert pieces == [word for _, word in words_of(row["response"])]
        assert own["token_class"].to_list() == [name for name, _ in words_of(row["response"])]
        assert own["span"].to_list() == list(range(1, len(pieces) + 1))
        for start, kind, last in own.select("start", "kind", "last").iter_rows():
            here = spans.filter(
                pl.col("example_id") == row["example_id"], pl.col("start") <= start, start < pl.col("stop")
            )
            assert here.select("kind", "last").row(0) == (kind, last)


def test_the_words_of_the_answer_are_last():
    _, words = found(["so 1+1=2\n#### 2"])
    assert words.filter("last")["start"].min() == len("so 1+1=2\n")
    assert words.filter(pl.col("token_class") == "connector").select("start", "stop", "last").rows() == [
        (0, 2, False)
    ]
