"""Recipes: typed, frozen, unknown keys refused by path, every shipped one loaded."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.errors import RequestError
from infra_core.recipe import Ablate, Flip, MixParams, Random, Recipe
from infra_core.recipe.rehearsal import rehearsal
from infra_core.store.key import canonical_json

RECIPES = sorted((Path(__file__).resolve().parents[2] / "deployments" / "recipes").glob("*.yaml"))


ON_THE_WAY = yaml.safe_load((RECIPES[0].parent / "tiny.yaml").read_text())["train"] | {
    "scored_after": [0.5, 1.0]
}


@pytest.fixture
def tiny():
    return yaml.safe_load((RECIPES[0].parent / "tiny.yaml").read_text())


def load(tmp_path, recipe):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return Recipe.load(path)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_under_its_own_name(path):
    assert Recipe.load(path).name == path.stem


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_rehearses(path):
    """The rehearsal is a recipe again: small, and reading nothing remote."""
    small = rehearsal(Recipe.load(path))
    assert Recipe.model_validate(
        yaml.safe_load(yaml.safe_dump(small.model_dump(mode="json", exclude_none=True, exclude=SEEDS)))
    )
    sources = (*small.corpus.sources, *small.corpus.reserve, *small.benchmarks.values())
    assert all(source.uri.startswith("made://") for source in sources)


SEEDS = {"queries": {"seed"}, "factors": {"seed"}, "evaluate": {"seed"}}


def test_an_unknown_key_is_refused_by_its_path(tiny, tmp_path):
    tiny["train"]["lr"] = 1e-3
    with pytest.raises(RequestError, match=r"train\.lr: Extra inputs are not permitted"):
        load(tmp_path, tiny)


def test_all_faults_are_named_at_once(tiny, tmp_path):
    tiny["train"]["epochs"] = -1
    del tiny["scores"]["token_rule"]
    with pytest.raises(RequestError, match=r"(?s)train\.epochs.*scores\.token_rule"):
        load(tmp_path, tiny)


def test_the_token_rule_has_no_default(tiny, tmp_path):
    del tiny["scores"]["token_rule"]
    with pytest.raises(RequestError, match=r"scores\.token_rule: Field required"):
        load(tmp_path, tiny)


@pytest.mark.parametrize("section", ["queries", "factors", "evaluate"])
def test_a_recipe_has_one_seed(tiny, tmp_path, section):
    tiny.setdefault(section, {})["seed"] = 3
    with pytest.raises(RequestError, match=f"{section}.seed: a recipe has one seed"):
        load(tmp_path, tiny)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 2**31))
def test_the_recipes_seed_reaches_every_section(one, other):
    recipe = yaml.safe_load((RECIPES[0].parent / "tiny.yaml").read_text())
    first, second = (Recipe.model_validate(recipe | {"seed": seed}) for seed in (one, other))
    for section in ("queries", "factors", "evaluate"):
        same = getattr(first, section).seed == getattr(second, section).seed
        assert same == (one == other)


def test_a_remote_source_without_a_revision_does_not_load(tiny, tmp_path):
    tiny["corpus"]["sources"][0]["uri"] = "hf://datasets/org/name"
    with pytest.raises(RequestError, match="without a revision; pin the commit"):
        load(tmp_path, tiny)


def test_an_address_with_a_password_is_refused_without_telling_it(tiny, tmp_path):
    tiny["corpus"]["sources"][0]["uri"] = "https://me:hunter2@host/rows.jsonl"
    with pytest.raises(RequestError, match="carries a password; use the environment") as caught:
        load(tmp_path, tiny)
    assert "hunter2" not in str(caught.value)


def test_queries_and_exam_share_questions_only_by_name(tiny, tmp_path):
    tiny["queries"]["tasks"] = tiny["evaluate"]["tasks"]
    with pytest.raises(RequestError, match="query_share"):
        load(tmp_path, tiny)
    assert load(tmp_path, tiny | {"query_share": 0.5}).reused_questions() == tuple(tiny["evaluate"]["tasks"])


def test_pass_at_k_needs_k_draws(tiny, tmp_path):
    tiny["evaluate"] |= {"draws": 4, "temperature": 0.7, "pass_at": [1, 4]}
    assert load(tmp_path, tiny).evaluate.pass_at == (1, 4)
    tiny["evaluate"]["pass_at"] = [2, 8]
    with pytest.raises(RequestError, match="asks for pass@8 and there are 4 draws a question"):
        load(tmp_path, tiny)


def test_queries_may_be_what_fine_tuning_changed(tiny, tmp_path):
    tiny["queries"]["objective"] = "changed"
    assert load(tmp_path, tiny).queries.objective == "changed"
    assert rehearsal(load(tmp_path, tiny)).queries.objective == "reference"


def test_a_swap_without_a_reserve_is_refused(tiny, tmp_path):
    del tiny["corpus"]["reserve"]
    with pytest.raises(RequestError, match=r"corpus\.reserve"):
        load(tmp_path, tiny)


def test_a_control_must_know_whose_size_it_copies(tiny, tmp_path):
    tiny["mixtures"] = {"random": {"kind": "random", "match": "tokens"}}
    with pytest.raises(RequestError, match="of which arm"):
        load(tmp_path, tiny)


def test_none_is_not_hashed_so_that_a_new_field_strands_no_artifact():
    without = MixParams(rule=Random(kind="random"), seed=0)
    assert "like" not in canonical_json(without)
    assert "families" not in canonical_json(without)


def test_a_recipe_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Flip(kind="flip", match="rows").fraction = 0.5


def test_places_are_no_identity(tiny, tmp_path):
    here = load(tmp_path, tiny)
    tiny["corpus"]["sources"][0]["uri"] = "/elsewhere/a.jsonl"
    assert load(tmp_path, tiny).placeless() == here.placeless()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: [", "is not YAML"),
        ("name: 2024-13-45", "is not YAML"),
        ("name: !!timestamp x", "is not YAML"),
        ("name: " + "[" * 3000, "is not YAML"),
        ("- a", "recipe: "),
        ("", "recipe: "),
        ("name: x", "seed: Field required"),
    ],
)
def test_what_is_no_recipe_is_one_line(tmp_path, text, complaint):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(RequestError) as caught:
        Recipe.load(path)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_influence_on_adapters_needs_training_of_adapters(tmp_path, tiny):
    tiny["factors"]["modules"] = "lora"
    with pytest.raises(RequestError, match=r"train\.lora"):
        load(tmp_path, tiny)
    tiny["train"]["lora"] = {"rank": 4, "alpha": 8}
    assert load(tmp_path, tiny).train.run(seed=1).lora.modules == "all"


def test_a_field_that_was_not_there_before_moves_no_key(tiny, tmp_path):
    """None is not hashed, so checkpoints trained before adapters existed are still found."""
    assert "lora" not in canonical_json(load(tmp_path, tiny).train.run(seed=1))


def mixed(tiny, tmp_path, **arms):
    return load(tmp_path, tiny | {"mixtures": arms})


PRUNE = {"kind": "prune", "by": "correct", "fraction": 0.5}
FLIP = {"kind": "flip", "match": "tokens"}


def test_a_control_copies_the_arm_it_names_or_the_only_rule(tiny, tmp_path):
    """What it copies is part of what its mixture is made by."""
    one = mixed(tiny, tmp_path, prune=PRUNE, random={"kind": "random"})
    assert one.copied_by("random") == "prune"
    assert one.mixing("random").like == one.mixtures["prune"]
    named = {"kind": "random", "like": "flip"}
    two = mixed(tiny, tmp_path, prune=PRUNE, flip=FLIP, random=named)
    assert two.mixing("random").like == two.mixtures["flip"]
    with pytest.raises(RequestError, match=r"mixtures.random is a control, but of which arm\? .*flip.*prune"):
        mixed(tiny, tmp_path, prune=PRUNE, flip=FLIP, random={"kind": "random"})
    with pytest.raises(RequestError, match="of which arm"):
        mixed(tiny, tmp_path, prune=PRUNE, random={"kind": "random", "like": "prone"})


@pytest.mark.parametrize(
    ("arms", "complaint"),
    [
        ({"m": {"kind": "weigh", "by": "influence", "strength": 0.5}, "c": {"kind": "rds", "like": "m"}},
         "a control of kind rds cannot copy a weigh; it copies flip, prune, select"),
        ({"m": FLIP, "c": {"kind": "identity", "like": "m"}}, "copies an arm that no influence decides"),
        ({"m": {**PRUNE, "by": "combined"}}, "harm is measured on what fine-tuning lost"),
        ({"m": FLIP, "c": {"kind": "only", "domains": ["maths"]}}, r"names domains \['maths'\]; the corpus"),
    ],
    ids=["of another kind", "no influence", "no harm", "no such domain"],
)  # fmt: skip
def test_a_rule_that_could_not_be_carried_out_is_refused_before_any_work(tiny, tmp_path, arms, complaint):
    with pytest.raises(RequestError, match=complaint):
        mixed(tiny, tmp_path, **arms)


def test_spans_cannot_be_edited_where_responses_are_scored_whole(tiny, tmp_path):
    tiny["scores"].pop("spans")
    with pytest.raises(RequestError, match=r"give scores\.spans"):
        mixed(tiny, tmp_path, mask={"kind": "spans", "action": "mask", "fraction": 0.1})


SELECT = {"kind": "select", "match": "tokens", "pool": "both"}
MEASURED = {**FLIP, "directions": "measured"}


@pytest.mark.parametrize(
    ("arms", "wanted"),
    [
        ({"m": FLIP}, ""),
        ({"m": FLIP, "c": {"kind": "random"}}, ""),
        ({"m": MEASURED}, "scores"),
        ({"m": PRUNE}, "scores"),
        ({"m": SELECT}, "scores reserve_scores"),
        ({"m": SELECT, "c": {"kind": "identity"}}, "identity reserve_identity"),
        ({"m": FLIP, "c": {"kind": "perplexity", "keep": "mid"}}, "perplexity reserve_perplexity"),
        ({"m": PRUNE, "c": {"kind": "perplexity", "keep": "top"}}, "scores perplexity"),
        ({"m": FLIP, "c": {"kind": "rds"}}, "nearness reserve_nearness queries"),
        ({"m": {"kind": "weigh", "by": "directions", "strength": 1.0}}, ""),
        ({"m": {"kind": "spans", "action": "drop", "fraction": 0.1}}, "scores tokenizer"),
    ],
    ids=str,
)
def test_an_arm_asks_for_what_it_decides_by_and_nothing_else(tiny, tmp_path, arms, wanted):
    """The last arm of each recipe: what it does not ask for is not built."""
    assert mixed(tiny, tmp_path, **arms).mixing(list(arms)[-1]).evidence == set(wanted.split())


def test_a_family_is_whose_rows_a_swap_may_hold_and_no_identity_of_rows(tiny, tmp_path):
    tiny["corpus"]["reserve"][0]["family"] = "sums"
    given = load(tmp_path, tiny)
    assert given.mixing("flip").families == {"sums_reserve": "sums"}
    assert given.corpus.reserve[0].placeless().family is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"robustness": {}}, "names no variation"),
        ({"robustness": {"train_seed": 0}}, r"robustness\.train_seed"),
        ({"robustness": {"gradients": ["length"]}}, r"robustness\.gradients"),
        ({"robustness": {"modules": "lora"}}, r"robustness\.modules is 'lora'"),
        (
            {"mixtures": {"no": {"kind": "ablate", "behaviours": ["daydream"], "action": "mask"}}},
            "behaviours",
        ),
        ({"mixtures": {"no": {"kind": "ablate", "behaviours": [], "action": "mask"}}}, "behaviours"),
        ({"robustness": {"gradients": ["unit_norm"]}, "train": ON_THE_WAY}, "leave one of both out"),
        ({"factors": {"after": 0.5}}, r"factors\.after.*give train\.scored_after"),
        ({"mixtures": {"no": {"kind": "ablate", "action": "mask"}}}, "give one of the two"),
    ],
)
def test_what_cannot_be_varied_or_ablated_is_refused_by_name(tiny, tmp_path, changes, told):
    with pytest.raises(RequestError, match=told):
        load(tmp_path, tiny | changes)


@pytest.mark.parametrize(
    ("ablated", "told"),
    [
        (["daydream"], r"validity\.ablated\.0"),
        ([], r"validity\.ablated"),
        (["syntax", "other"], "names 'other': spans, or words"),
        (["syntax", "plan", "syntax"], "names 'syntax' twice"),
    ],
)
def test_labels_that_cannot_be_taken_away_are_refused_by_name(tiny, tmp_path, ablated, told):
    with pytest.raises(RequestError, match=told):
        load(tmp_path, tiny | {"validity": {"ablated": ablated}})


def test_labels_are_taken_away_where_responses_are_divided(tiny, tmp_path):
    del tiny["scores"]["spans"]
    with pytest.raises(RequestError, match=r"validity\.ablated takes spans away.*give scores\.spans"):
        load(tmp_path, tiny | {"validity": {"ablated": ["syntax"]}})


def test_what_masks_a_label_is_the_rule_that_an_arm_would_have(tiny, tmp_path):
    """So a mixture that some arm made before is there already."""
    arm = {"kind": "ablate", "token_classes": ["syntax"], "action": "mask"}
    given = load(tmp_path, tiny | {"mixtures": {"no_syntax": arm}})
    assert given.mixing_by(Ablate.masking("syntax")) == given.mixing("no_syntax")
    assert Ablate.masking("verification").behaviours == ("verification",)


def test_an_ablation_is_copied_at_random_and_cannot_be_turned_round(tiny, tmp_path):
    """It asks for behaviours and no scores, and for spans to be told."""
    tiny["mixtures"] = {"no_plan": {"kind": "ablate", "behaviours": ["plan"], "action": "drop"}}
    tiny["mixtures"]["else"] = {"kind": "random", "like": "no_plan"}
    given = load(tmp_path, tiny)
    assert given.mixing("no_plan").evidence == given.mixing("else").evidence == {"behaviours"}
    words = {"kind": "ablate", "token_classes": ["connector"], "action": "mask"}
    of_words = load(tmp_path, tiny | {"mixtures": {"no_words": words}}).mixing("no_words")
    assert (of_words.evidence, of_words.spans) == ({"token_classes", "tokenizer"}, "lines")
    assert given.mixing("no_plan").spans is None
    tiny["mixtures"]["else"]["kind"] = "reverse"
    with pytest.raises(RequestError, match="a control of kind reverse cannot copy a ablate"):
        load(tmp_path, tiny)
    del tiny["mixtures"]["else"], tiny["scores"]["spans"]
    with pytest.raises(
        RequestError, match=r"no_plan edits spans, and responses have none; give scores\.spans"
    ):
        load(tmp_path, tiny)


def test_a_recipe_without_variations_is_keyed_as_before_there_were_any(tiny, tmp_path):
    assert "robustness" not in canonical_json(load(tmp_path, tiny))
