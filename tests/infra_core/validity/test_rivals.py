"""Score tables: the engine's own numbers where they are the engine's, and the obvious where they are not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from infra_core.corpus.example import TokenizedExample
from infra_core.evaluation.likelihood import likelihoods
from infra_core.influence import FactorParams, ScoreParams, attribute, fit_factors, refine_queries
from infra_core.recipe.validity import METHODS as NAMES
from infra_core.recipe.validity import ValidityParams, Variant
from infra_core.validity import pairwise
from infra_core.validity.contest import Contest
from infra_core.validity.pairwise import pairwise_influence
from infra_core.validity.rivals import METHODS, varied
from tests import tiny
from tests.infra_core.training.toy import PARAMS
from tests.oracles.loop import loss_gradients

FACTORS = FactorParams(modules="mlp", fisher="empirical")
SCORES = ScoreParams(token_rule="position")
EXAMPLES, QUERIES = tiny.examples((12, 7, 9, 5)), tiny.examples((8, 6), seed=3)


@pytest.fixture(scope="module")
def contest():
    texts = ["add two and three", "sort the list of seven", "add nine", ""]
    return Contest(
        tiny.qwen2(), tiny.qwen2(seed=1), EXAMPLES, QUERIES, texts, ["add three", "reverse the list"],
        PARAMS, FACTORS, SCORES, 3, 2, 0, 40,
    )  # fmt: skip


@pytest.mark.parametrize("curvature", ["ekfac", "identity"])
def test_influence_on_single_queries_is_the_engines_own(monkeypatch, curvature):
    """Whatever is held at once, and whatever the batch."""
    model = tiny.llama()
    factors = fit_factors(model, EXAMPLES, FACTORS.model_copy(update={"curvature": curvature}))
    scored = attribute(model, factors, {"a": QUERIES[:1], "b": QUERIES[1:]}, EXAMPLES, SCORES)
    expected = scored["influence"].to_numpy().reshape(len(EXAMPLES), 2)
    assert pairwise_influence(model, factors, QUERIES, EXAMPLES, SCORES) == pytest.approx(expected, rel=1e-4)
    monkeypatch.setattr(pairwise, "DIRECTIONS_BYTES", 1)
    alone = pairwise_influence(model, factors, QUERIES, EXAMPLES, SCORES, batch_tokens=1)
    assert alone == pytest.approx(expected, rel=1e-4)


def test_every_method_scores_every_row_for_every_query(contest):
    assert set(METHODS) == set(NAMES)
    for name, method in METHODS.items():
        scores = method(contest)
        assert scores.shape == (len(EXAMPLES), len(QUERIES)), name
        assert np.isfinite(scores).all(), name


def test_gradient_rivals_are_what_autograd_says(contest):
    names = [
        name for name in dict(contest.model.named_modules()) if ".mlp." in name and name.endswith("proj")
    ]

    def gradient(row):
        each = loss_gradients(contest.model, names, row.ids, row.scored)
        return torch.cat([each[name].flatten() for name in names])

    rows, asked = (torch.stack([gradient(row) for row in every]) for every in (EXAMPLES, QUERIES))
    assert METHODS["identity"](contest) == pytest.approx((rows @ asked.T).numpy(), rel=1e-4)
    assert METHODS["gradient_norm"](contest)[:, 0] == pytest.approx(rows.norm(dim=1).numpy(), rel=1e-4)
    cosine = torch.nn.functional.cosine_similarity(rows[:, None], asked[None], dim=2)
    assert METHODS["gradient_cosine"](contest) == pytest.approx(cosine.numpy(), rel=1e-4)


def test_refined_directions_are_those_of_the_engine(contest):
    """All rows are the sample, so that which are drawn does not matter."""
    again = replace(contest, refine_rows=len(EXAMPLES))
    factors = fit_factors(contest.model, EXAMPLES, FACTORS.model_copy(update={"modules": "all"}))
    groups = {"a": QUERIES[:1], "b": QUERIES[1:]}
    refined = refine_queries(contest.model, factors, groups, EXAMPLES, SCORES, iterations=2).preconditioned
    expected = pairwise.influence_along(contest.model, refined, EXAMPLES)
    assert METHODS["ekfac_refined"](again) == pytest.approx(
        expected, rel=1e-3, abs=1e-3 * np.abs(expected).max()
    )


def test_words_in_common_are_what_bm25_counts(contest):
    by_query = METHODS["bm25"](contest).T
    assert by_query[0].argmax() == 0
    assert by_query[1].argmax() == 1
    assert by_query[0, 3] == by_query[1, 3] == 0


def test_middling_loss_is_preferred_to_either_end(contest):
    loss, mid = METHODS["loss_top"](contest)[:, 0], METHODS["loss_mid"](contest)[:, 0]
    assert loss.argmax() != mid.argmax()
    assert mid[np.argsort(loss)[1]] == mid.max()  # of four, the second and no end


def test_a_model_that_always_takes_the_likeliest_token_writes_what_is_called_exact():
    model, [prompt] = tiny.qwen2(), tiny.examples((6,))
    written = model.generate(prompt.ids[None], max_new_tokens=5, do_sample=False, eos_token_id=None)[0]
    scored = torch.arange(len(written)) >= 6
    other = written.clone()
    other[-1] = (other[-1] + 1) % tiny.VOCABULARY
    own, wrong = likelihoods(model, [TokenizedExample(written, scored), TokenizedExample(other, scored)])
    assert own.exact
    assert not wrong.exact
    assert own.nll < wrong.nll


def test_a_variant_differs_in_what_it_names_alone(contest):
    """The recipe's own values leave the recipe's own scores."""
    own = METHODS["ekfac_mlp"](contest)
    assert varied(contest, Variant(modules="mlp", damping=SCORES.damping)) == pytest.approx(own, rel=1e-5)
    assert varied(contest, Variant(curvature="identity")) == pytest.approx(METHODS["identity"](contest))
    for other in (Variant(damping=10.0), Variant(sequences=2), Variant(modules="attention")):
        assert not np.allclose(varied(contest, other), own, rtol=0.05)


def test_a_variant_may_not_be_called_as_a_method_is():
    with pytest.raises(ValueError, match="names 'rds', which is a method"):
        ValidityParams(variants={"rds": Variant(damping=1.0)})
