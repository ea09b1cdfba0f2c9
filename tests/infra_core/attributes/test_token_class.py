"""Classes of tokens hang on the text around them, and on no tokenizer."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from infra_core.attributes.token_class import CLASSES, token_classes, words_of
from infra_core.corpus.render import response_offsets
from infra_core.lm.tokenizer import character_tokenizer

PROSE = (
    "So, if x_1 = 12.5, then \\frac{1}{2} is well-known (because x-3 = y) and a is not I.\n"
    "  On the other hand 2x^{3}."
)
CODE = "```python\nif x and not y:\n    return sum([x], 2.0)  # because\n```\n"
MIXED = f"{PROSE}\n\n{CODE}Therefore 漢字 🙂 done.\ndef a1(x):\n x=x[::-1]\n return x\n"


def classes_of(text):
    """Class of each character."""
    return [name for name, word in words_of(text) for _ in word]


def rows(*texts):
    return pl.DataFrame({"example_id": [f"e{n}" for n in range(len(texts))], "response": texts})


def merging_tokenizer():
    """A tokenizer that merges letters, blanks and marks of these texts into longer tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([MIXED] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="!")


@pytest.mark.parametrize(
    ("text", "word", "kind"),
    [
        (PROSE, "So", "connector"),
        (PROSE, "On the other hand", "connector"),
        (PROSE, "x_1", "identifier"),
        (PROSE, "12.5", "operator"),
        (PROSE, "\\frac", "latex"),
        (PROSE, "{", "latex"),
        (PROSE, "^", "latex"),
        (PROSE, "well-known", "other"),
        (PROSE, "a", "other"),
        (PROSE, "I", "other"),
        (PROSE, "\n  ", "syntax"),
        ("2^3", "^", "operator"),
        ("x-3", "x", "identifier"),
        ("so-called", "so-called", "other"),
        (CODE, "if", "keyword"),
        (CODE, "and", "keyword"),
        (CODE, "# because", "other"),
        (CODE, "\n    ", "syntax"),
        (CODE, "sum", "identifier"),
        (CODE, "2.0", "operator"),
        (CODE, "[", "syntax"),
        ("```cpp\nfor (auto x : y) {}\n```", "auto", "keyword"),
        ("```no such language\nfor x in y: pass\n```", "pass", "keyword"),
        ("1. reverse\ndef a1(x):\n x=x[::-1]\n\n return x\nif so.", "return", "keyword"),
    ],
)
def test_a_word_is_what_it_is_where_it_stands(text, word, kind):
    assert (kind, word) in words_of(text)


def test_the_same_letters_are_a_connector_in_prose_and_a_keyword_in_code():
    text = "If so.\ndef f(x):\n if x: return x\nIf not."
    assert [word for word in words_of(text) if word[1].lower() == "if"] == [
        ("connector", "If"),
        ("keyword", "if"),
        ("connector", "If"),
    ]


@given(
    st.text(alphabet=st.sampled_from("ab1_ \n\t\\{}()[]^$*`#'\"-=.é漢🙂\r:@~"), max_size=60), st.booleans()
)
def test_words_tile_any_text(text, fenced):
    """Whatever is put in, nothing is lost or doubled, and every class is one of the seven."""
    whole = f"```python\n{text}\n```\n" if fenced else text
    words = words_of(whole)
    assert "".join(word for _, word in words) == whole
    assert {kind for kind, _ in words} <= set(CLASSES)
    assert all(word for _, word in words)


@pytest.mark.parametrize("tokenizer", [character_tokenizer(), merging_tokenizer()], ids=["bytes", "merged"])
def test_a_token_is_of_the_word_that_its_first_letter_stands_in(tokenizer):
    """For any tokenizer: the class of a token is that of its first character which is no blank."""
    table = rows(MIXED, PROSE)
    found = token_classes(table, tokenizer)
    for (name, text), offsets in zip(table.iter_rows(), response_offsets(table, tokenizer), strict=True):
        own = found.filter(pl.col("example_id") == name)
        assert own["first"].to_list() == np.cumsum([0, *own["tokens"]])[:-1].tolist()
        assert own["tokens"].sum() == len(offsets)
        classes = [
            kind for kind, many in own.select("token_class", "tokens").iter_rows() for _ in range(many)
        ]
        of_letters = classes_of(text)
        for kind, (start, stop) in zip(classes, offsets, strict=True):
            letters = [at for at in range(start, stop) if not text[at].isspace()] or [start]
            assert kind == of_letters[letters[0]]


def test_a_tokenizer_that_merges_more_gives_fewer_tokens_of_the_same_words():
    """The words that are found are alike; only how many tokens they take differs."""
    few, many = (token_classes(rows(MIXED), each) for each in (merging_tokenizer(), character_tokenizer()))
    assert few["tokens"].sum() < many["tokens"].sum()
    known = set(many.select("token_class", "word").iter_rows())
    assert set(few.select("token_class", "word").iter_rows()) <= known


def test_an_empty_response_has_no_words():
    assert token_classes(rows("", "x"), character_tokenizer())["example_id"].to_list() == ["e1"]
