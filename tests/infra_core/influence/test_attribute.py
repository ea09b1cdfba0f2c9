"""Scores, against derivatives of the loss that know nothing of hooks, factors or batches."""

import dataclasses
from functools import cache

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel

from infra_core.corpus.example import TokenizedExample
from infra_core.corpus.schema import SCORES
from infra_core.errors import DataError, RequestError
from infra_core.influence import (
    FactorParams,
    Preconditioned,
    ScoreParams,
    attribute,
    fit_factors,
    precondition_queries,
    score_examples,
)
from infra_core.influence.packing import CHUNK
from tests import tiny
from tests.oracles import derivative, loop

RULES = ("position", "loss_term")
EXAMPLES = tiny.examples((12, 7, 9, 5), seed=1)
GROUPS = {"math": tiny.examples((8, 10), seed=2), "code": tiny.examples((9,), seed=3)}
MODELS = {"qwen2": tiny.qwen2, "llama": tiny.llama}


@cache
def prepared(kind="qwen2", modules="all", dtype=torch.float64):
    model = MODELS[kind](dtype=dtype).eval()
    factors = fit_factors(model, tiny.examples((11, 6, 14, 9), seed=4), FactorParams(modules=modules))
    return model, factors, precondition_queries(model, factors, GROUPS, ScoreParams(token_rule="position"))


def score(rule, examples=EXAMPLES, batch_tokens=30, **which):
    model, _, preconditioned = prepared(**which)
    return score_examples(
        model, preconditioned, examples, ScoreParams(token_rule=rule), batch_tokens=batch_tokens
    )


def along(preconditioned, query):
    return {name: directions[query] for name, directions in preconditioned.directions.items()}


def spread(example, values):
    """Put values of scored tokens at their places."""
    tokens = torch.zeros(len(example), dtype=torch.float64)
    tokens[example.scored] = values
    return tokens


def assert_near(found, expected, scale):
    """Within 1e-5 of the largest: scores are fp32, and a wrong mask, bias or sign is off by > 1e-2."""
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("oracle", [derivative.by_difference, derivative.by_jvp])
@pytest.mark.parametrize(
    "which", [("qwen2", "all"), ("qwen2", "mlp"), ("llama", "all"), ("llama", "attention")]
)
def test_scores_are_minus_the_derivative_of_the_loss_along_the_preconditioned_query(which, oracle):
    """Instance under both rules; span and token under `loss_term`. No hook and no factor in the oracle."""
    kind, modules = which
    model, _, preconditioned = prepared(kind, modules)
    by_rule = {rule: score(rule, kind=kind, modules=modules).rows(named=True) for rule in RULES}
    for index, example in enumerate(EXAMPLES):
        for query, group in enumerate(GROUPS):
            slopes = oracle(model, along(preconditioned, query), example.ids, example.scored)
            expected, scale = -spread(example, slopes), float(slopes.abs().sum())
            position, loss_term = (by_rule[rule][index * len(GROUPS) + query] for rule in RULES)
            assert loss_term["example_id"] == example.example_id
            assert loss_term["group"] == group
            assert_near(position["influence"], expected.sum(), scale)
            assert_near(loss_term["influence"], expected.sum(), scale)
            assert_near(loss_term["tokens"], expected, scale)
            spans = [expected[span.start : span.stop].sum() for span in example.spans]
            assert_near(loss_term["spans"], spans, scale)


def test_position_scores_are_derivatives_along_one_positions_weights_shifted_to_the_token_predicted():
    model, _, preconditioned = prepared()
    example, rows = EXAMPLES[1], score("position", EXAMPLES[1:2]).rows(named=True)
    for query, row in enumerate(rows):
        slopes = [
            derivative.at_position(model, along(preconditioned, query), t, example.ids, example.scored)
            for t in range(len(example))
        ]
        assert abs(slopes[-1]) < 1e-12  # the last position predicts nothing
        expected = -np.array([0.0, *slopes[:-1]])
        assert_near(row["tokens"], expected, np.abs(expected).sum())


def test_the_rules_differ_token_by_token_and_prompt_positions_carry_influence():
    position, loss_term = (score(rule)["tokens"][0].to_numpy() for rule in RULES)
    assert not np.allclose(position, loss_term, rtol=0.1)
    prompt = EXAMPLES[0].spans[0].stop
    assert np.abs(loss_term[:prompt]).max() == 0  # no loss there
    assert np.abs(position[1:prompt]).min() > 0  # but gradient, through attention


@pytest.mark.parametrize("rule", RULES)
def test_scores_do_not_depend_on_batch_size_order_or_padding(rule):
    together = score(rule, batch_tokens=1000)
    alone = pl.concat(score(rule, [example]) for example in reversed(EXAMPLES))
    ordered = [example.example_id for example in EXAMPLES for _ in GROUPS]
    assert together["example_id"].to_list() == ordered
    assert together.schema == pl.Schema(SCORES)
    alone = together.select("example_id", "group").join(
        alone, on=["example_id", "group"], maintain_order="left"
    )
    for name in ("influence", "spans", "tokens"):
        left, right = (np.concatenate([np.ravel(row) for row in frame[name]]) for frame in (together, alone))
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6 * np.abs(left).max())


@pytest.mark.parametrize("rule", RULES)
def test_negating_f_negates_and_a_duplicate_scores_the_same(rule):
    model, _, preconditioned = prepared()
    negated = Preconditioned(
        preconditioned.groups, {name: -each for name, each in preconditioned.directions.items()}
    )
    twins = [EXAMPLES[0], dataclasses.replace(EXAMPLES[0], example_id="twin")]
    params = ScoreParams(token_rule=rule)
    plain = score_examples(model, preconditioned, twins, params)["influence"].to_numpy()
    flipped = score_examples(model, negated, twins, params)["influence"].to_numpy()
    np.testing.assert_allclose(flipped, -plain, rtol=1e-6)
    np.testing.assert_allclose(plain[:2], plain[2:], rtol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_scores_are_linear_in_f(rule):
    """The contrast of two groups scores as the difference of their scores."""
    model, _, preconditioned = prepared()
    contrast = Preconditioned(
        ("contrast",), {name: each[:1] - each[1:] for name, each in preconditioned.directions.items()}
    )
    found = score_examples(model, contrast, EXAMPLES, ScoreParams(token_rule=rule))["influence"].to_numpy()
    single = score(rule)["influence"].to_numpy().reshape(-1, 2)
    np.testing.assert_allclose(
        found, single[:, 0] - single[:, 1], rtol=1e-4, atol=1e-5 * np.abs(single).max()
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("detail", "parts"), [("layer", 2), ("module", 14)])
def test_layers_and_modules_sum_to_the_whole_token_by_token(rule, detail, parts):
    model, _, preconditioned = prepared()
    params = ScoreParams(token_rule=rule)
    found = score_examples(model, preconditioned, EXAMPLES, params, detail=detail, batch_tokens=30)
    whole = score(rule)
    assert found["part"].n_unique() == parts
    for row in whole.iter_rows(named=True):
        same = found.filter(example_id=row["example_id"], group=row["group"])
        assert len(same) == parts
        assert_near(np.sum(same["tokens"].to_list(), axis=0), row["tokens"], max(map(abs, row["tokens"])))


def test_a_layers_share_is_what_it_gets_when_tracked_alone():
    model, factors, preconditioned = prepared()
    params = ScoreParams(token_rule="position")
    found = score_examples(model, preconditioned, EXAMPLES, params, detail="layer").filter(
        part="model.layers.1"
    )
    alone = {name: one for name, one in factors.items() if "layers.1." in name}
    expected = attribute(model, alone, GROUPS, EXAMPLES, params)
    assert_near(found["influence"].to_numpy(), expected["influence"].to_numpy(), 1.0)


def test_a_contrast_of_groups_scores_as_the_difference_of_their_scores():
    model, _, preconditioned = prepared()
    both = preconditioned.contrast("math", "code")
    found = score_examples(model, both, EXAMPLES, ScoreParams(token_rule="position"))
    by_group = {group: found.filter(group=group)["influence"].to_numpy() for group in both.groups}
    assert_near(by_group["math - code"], by_group["math"] - by_group["code"], 1.0)


@pytest.mark.parametrize("rule", RULES)
def test_identity_curvature_gives_plain_gradient_dot_products(rule):
    model = tiny.qwen2(dtype=torch.float64).eval()
    factors = fit_factors(model, [], FactorParams(modules="all", curvature="identity"))
    query = GROUPS["code"]
    found = attribute(model, factors, {"g": query}, EXAMPLES, ScoreParams(token_rule=rule))["influence"]
    by_row = [loop.loss_gradients(model, list(factors), row.ids, row.scored) for row in (*EXAMPLES, *query)]
    flat = torch.stack([torch.cat([each.flatten() for each in row.values()]) for row in by_row])
    # f = −L of the only query, so both minus signs cancel.
    np.testing.assert_allclose(found.to_numpy(), flat[:-1] @ flat[-1], rtol=1e-5)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("curvature", ["ekfac", "identity"])
def test_an_example_that_is_its_own_query_is_helpful(rule, curvature):
    model = tiny.llama()
    factors = fit_factors(model, EXAMPLES, FactorParams(curvature=curvature))
    groups = {row.example_id: [row] for row in EXAMPLES}
    frame = attribute(model, factors, groups, EXAMPLES, ScoreParams(token_rule=rule))
    own = frame.filter(pl.col("example_id") == pl.col("group"))
    assert len(own) == len(EXAMPLES)
    assert (own["influence"] > 0).all()


@pytest.mark.parametrize("rule", RULES)
def test_rows_that_teach_nothing_have_influence_zero_and_never_nan(rule):
    """A single token, or nothing scored, alone and beside others."""
    single = tiny.examples((1,), seed=9)[0]
    ids = torch.arange(6)
    unscored = TokenizedExample(ids, torch.zeros(6, dtype=torch.bool))
    for rows in ([single], [unscored], [single, unscored, *EXAMPLES]):
        frame = score(rule, rows, batch_tokens=1000)
        zero = frame.filter(pl.col("example_id").is_in([single.example_id, unscored.example_id]))
        assert zero["influence"].to_list() == [0.0] * len(zero)
        assert len(frame) == len(rows) * len(GROUPS)
    assert score(rule, []).schema == pl.Schema(SCORES)


def other_families():
    shape = {"vocab_size": 300, "bos_token_id": None, "eos_token_id": 0, "pad_token_id": 0}
    wide = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.2}
    yield GPT2LMHeadModel(GPT2Config(**shape, **wide))
    wide = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2}
    yield Gemma2ForCausalLM(Gemma2Config(**shape, **wide, **heads))


@pytest.mark.parametrize("model", other_families(), ids=lambda model: model.config.model_type)
def test_transposed_weights_and_capped_logits_score_alike_under_both_rules(model):
    """GPT-2 keeps weights as [d_in, d_out]; Gemma 2 bends logits after the head. JVP and hooks must agree."""
    model = model.double()
    factors = fit_factors(model, EXAMPLES, FactorParams(modules="all"))
    found = [attribute(model, factors, GROUPS, EXAMPLES, ScoreParams(token_rule=rule)) for rule in RULES]
    position, loss_term = (frame["influence"].to_numpy() for frame in found)
    np.testing.assert_allclose(position, loss_term, rtol=1e-5, atol=1e-6 * np.abs(position).max())


@pytest.mark.parametrize("rule", RULES)
def test_bf16_ranks_examples_as_fp64_does(rule):
    """Spearman over 32 rows, with the data's labels: sampled ones may differ where logits do."""
    examples, ranks = tiny.examples((6, 9, 14, 20) * 8, seed=5), []
    for dtype in (torch.float64, torch.bfloat16):
        model = tiny.qwen2(dtype=dtype)
        factors = fit_factors(model, examples, FactorParams(modules="all", fisher="empirical"))
        found = attribute(model, factors, GROUPS, examples, ScoreParams(token_rule=rule))["influence"]
        ranks.append(found.to_numpy().reshape(-1, 2).argsort(0).argsort(0))
    for query in range(2):
        assert np.corrcoef(ranks[0][:, query], ranks[1][:, query])[0, 1] > 0.98


def test_a_model_without_forward_derivatives_is_refused_for_loss_terms_with_a_way_out():
    model, _, preconditioned = prepared("llama", "mlp", torch.float32)

    def fused(_module, _args, output):
        heads = output.unflatten(-1, (4, 8)).transpose(1, 2)
        found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(heads, heads, heads)[0]
        return found.transpose(1, 2).flatten(2)

    handle = model.model.layers[1].input_layernorm.register_forward_hook(fused)
    try:
        with pytest.raises(RequestError, match=r"loss_term needs forward-mode .* attn_implementation"):
            score_examples(model, preconditioned, EXAMPLES, ScoreParams(token_rule="loss_term"))
    finally:
        handle.remove()


def test_loss_terms_of_rows_longer_than_a_chunk_of_attention_are_those_of_whole_attention():
    """A chunk that forgot what lies before it, or looked ahead, is off by as much as the values are large."""
    rows = tiny.examples((CHUNK + 40, 9), seed=6)
    found = []
    for attention in ("sdpa", "eager"):
        model = tiny.qwen2(dtype=torch.float64, attn_implementation=attention)
        identity = fit_factors(model, [], FactorParams(modules="all", curvature="identity"))
        found.append(attribute(model, identity, GROUPS, rows, ScoreParams(token_rule="loss_term")))
    assert_frame_equal(*found, rel_tol=1e-5, abs_tol=1e-6 * float(found[0]["influence"].abs().max()))


def test_queries_of_another_model_are_refused():
    _, _, preconditioned = prepared("qwen2", "mlp")
    with pytest.raises(DataError, match="queries of module"):
        score_examples(
            tiny.qwen2(intermediate_size=64), preconditioned, EXAMPLES, ScoreParams(token_rule="position")
        )


def test_the_few_names_of_the_library_work_together_as_promised():
    """A model, rows and queries in; a frame out; no file touched and the model as before."""
    model = tiny.qwen2().train()
    factors = fit_factors(model, EXAMPLES, FactorParams(modules="mlp", fisher="empirical", seed=0))
    frame = attribute(model, factors, GROUPS, EXAMPLES, ScoreParams(damping=0.1, token_rule="position"))
    assert frame.schema == pl.Schema(SCORES)
    assert model.training
