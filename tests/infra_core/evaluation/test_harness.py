"""Answers come from the model's own generation, are counted in its own tokens, and repeat by seed."""

import ast
from pathlib import Path

import polars as pl
import pytest
import torch

from infra_core.corpus.render import prompt_ids
from infra_core.corpus.schema import ANSWERS, CORPUS
from infra_core.errors import DataError, RequestError
from infra_core.evaluation import harness
from infra_core.evaluation.harness import Sampling, harness_version, sample_answers
from infra_core.lm.load import build_scratch
from infra_core.recipe import ScratchBase

SHAPE = {"hidden_size": 32, "layers": 2, "heads": 4, "kv_heads": 2, "mlp_size": 48, "context": 128}


@pytest.fixture(scope="module")
def language_model():
    """A random model whose answers are gibberish of various lengths."""
    model, tokenizer = build_scratch(ScratchBase(kind="scratch", **SHAPE))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    return model, tokenizer


def questions(prompts, answer="4"):
    """Benchmark rows that ask `prompts`."""
    return pl.DataFrame(
        [
            {"example_id": f"q{number}", "domain": "math", "source": "sums", "prompt": prompt, "response": "",
             "answer": answer, "difficulty": 0.5}
            for number, prompt in enumerate(prompts)
        ],
        schema=dict(CORPUS),
    )  # fmt: skip


ASKED = questions([
    "2 + 2 = ?",
    "Say:\n\n  four ",
    "2 + 2 = ?",
    "a much longer question, about nothing",
    "{{x}}",
])


def by_hand(model, tokenizer, prompt, limit):
    """Greedy decoding, one token at a time, without padding or batches."""
    ids = prompt_ids(prompt, tokenizer)
    start = len(ids)
    while len(ids) < start + limit:
        with torch.no_grad():
            ids = [*ids, int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())]
        if ids[-1] == tokenizer.eos_token_id:
            break
    return ids[start:]


def test_greedy_answers_are_what_the_model_says_token_by_token(language_model):
    """Prompt as rendered for training, nothing lost in batching, padding or text; ends counted."""
    model, tokenizer = language_model
    answers = sample_answers(
        model, tokenizer, ASKED, task="sums", judge="exact", sampling=Sampling(max_new_tokens=24)
    )
    assert answers.schema == pl.Schema(ANSWERS)
    assert answers["question_id"].to_list() == ASKED["example_id"].to_list()
    for answer, prompt in zip(answers.iter_rows(named=True), ASKED["prompt"], strict=True):
        expected = by_hand(model, tokenizer, prompt, 24)
        ended = expected[-1] == tokenizer.eos_token_id
        assert answer["response_tokens"] == len(expected)
        assert answer["truncated"] is not ended
        assert answer["response"] == tokenizer.decode(expected, skip_special_tokens=True)


def test_an_answer_that_ends_is_not_truncated_and_counts_its_end(language_model):
    """A model that always ends at once answers nothing, in one token."""
    model, tokenizer = build_scratch(ScratchBase(kind="scratch", **SHAPE))
    with torch.no_grad():
        model.model.norm.weight.zero_()  # all logits equal zero …
    model.generation_config.suppress_tokens = [
        token for token in range(len(tokenizer)) if token != tokenizer.eos_token_id
    ]  # … and only the end is allowed
    sampling = Sampling(max_new_tokens=8)
    answers = sample_answers(model, tokenizer, ASKED, task="sums", judge="exact", sampling=sampling)
    assert answers["response_tokens"].to_list() == [1] * 5
    assert answers["response"].to_list() == [""] * 5
    assert not answers["truncated"].any()


def test_draws_differ_from_each_other_and_repeat_by_seed(language_model):
    """The same questions and seed give the same rows; another seed gives others."""
    model, tokenizer = language_model

    def draw(seed):
        sampling = Sampling(draws=3, temperature=1.0, max_new_tokens=16, seed=seed)
        return sample_answers(model, tokenizer, ASKED, task="sums", judge="exact", sampling=sampling)

    state = torch.random.get_rng_state()
    first, again, other = draw(0), draw(0), draw(1)
    assert first.equals(again)
    assert not first.equals(other)
    assert first["draw"].to_list() == [0, 1, 2] * 5
    assert first.filter(pl.col("question_id") == "q0")["response"].n_unique() == 3
    assert torch.equal(state, torch.random.get_rng_state())


def test_it_is_quiet_and_says_its_versions(language_model, capfd):
    """Neither bars nor warnings; the task's version and the harness's are known."""
    model, tokenizer = language_model
    sampling = Sampling(max_new_tokens=4)
    answers = sample_answers(model, tokenizer, ASKED, task="sums", judge="exact", sampling=sampling)
    assert set(answers["task_version"]) == {"1"}
    assert harness_version().count(".") >= 1
    assert capfd.readouterr() == ("", "")


def test_a_tokenizer_without_chat_template_is_asked_as_it_is_trained(language_model):
    """Base models have no template; the prompt is the plain one that `render` writes."""
    model, tokenizer = build_scratch(ScratchBase(kind="scratch", **SHAPE))
    tokenizer.chat_template = None
    answers = sample_answers(
        model, tokenizer, ASKED, task="sums", judge="exact", sampling=Sampling(max_new_tokens=6)
    )
    for tokens, prompt in zip(answers["response_tokens"], ASKED["prompt"], strict=True):
        assert tokens == len(by_hand(model, tokenizer, prompt, 6))


def test_a_question_that_does_not_fit_is_named(language_model):
    """Cutting a question short would examine something else."""
    model, tokenizer = language_model
    asked = questions(["short", "x" * 100])
    with pytest.raises(DataError, match=r"question q1 has 10\d prompt tokens .* context is 128"):
        sample_answers(
            model, tokenizer, asked, task="sums", judge="exact", sampling=Sampling(max_new_tokens=64)
        )


def test_several_greedy_draws_and_no_questions_are_refused(language_model):
    """Both would waste a run without saying so."""
    model, tokenizer = language_model
    with pytest.raises(RequestError, match="one answer 2 times"):
        sample_answers(model, tokenizer, ASKED, task="sums", judge="exact", sampling=Sampling(draws=2))
    with pytest.raises(DataError, match="no questions"):
        sample_answers(model, tokenizer, ASKED.clear(), task="sums", judge="exact", sampling=Sampling())


def test_importing_the_harness_does_not_import_lm_eval():
    """Its import takes seconds; whoever only reads answers should not pay them."""
    tree = ast.parse(Path(harness.__file__).read_text(encoding="utf-8"))
    at_import = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [line for line in at_import if "lm_eval" in line]
