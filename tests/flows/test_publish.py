"""What is published opens with `datasets`, is the mixture, and is trained on by TRL as it is."""

import json

import polars as pl
import pytest
import yaml

from flows.publish import copy_out, publish_arm
from infra_core.corpus.schema import MIXTURE
from infra_core.errors import RequestError
from infra_core.recipe import Recipe
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import read_tables
from tasks._checkpoint import model_folder
from tasks._stage import RunContext
from tests.flows.shrunk import shrunk_tiny


@pytest.fixture(scope="module")
def published(finished, tmp_path_factory):
    """The flip of the finished run, copied to a folder."""
    folder = tmp_path_factory.mktemp("published")
    artifact = publish_arm(Recipe.load(finished.recipe), finished.ctx, "flip")
    copy_out(finished.ctx, artifact, str(folder))
    return artifact, folder


def the_mixture(finished, artifact):
    store = finished.ctx.store
    return read_tables(
        store, store.at(f"mix/{store.manifest(artifact).inputs['mixture']}"), MIXTURE, "mixture.parquet"
    )


def test_the_folder_opens_with_datasets_and_holds_the_rows_of_the_mixture(
    finished, published, monkeypatch, tmp_path
):
    """In Parquet, in JSONL, and of the changes one row each; from the copy and in the store alike."""
    from datasets import load_dataset

    artifact, folder = published
    mixture = the_mixture(finished, artifact)
    for place in (folder, artifact.uri.removeprefix("file://")):
        rows = load_dataset(str(place), split="train", cache_dir=str(tmp_path / "cache"))
        assert rows["example_id"] == mixture["example_id"].to_list()
        texts = [[turn["content"] for turn in turns] for turns in rows["messages"]]
        assert texts == [list(pair) for pair in mixture.select("prompt", "response").iter_rows()]
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    assert [line["messages"] for line in lines] == list(rows["messages"])
    changed = load_dataset(str(folder), "changes", split="train", cache_dir=str(tmp_path / "cache"))
    came = mixture.filter(pl.col("origin") == "swapped_in")
    assert sorted(row["example_id"] for row in changed if row["change"] == "came") == sorted(
        came["example_id"]
    )


def test_llama_factory_is_told_of_the_file_and_its_columns(published):
    """Its format for chat rows: the file, `sharegpt`, and what roles and contents are called."""
    _, folder = published
    [(name, told)] = json.loads((folder / "dataset_info.json").read_text()).items()
    assert name == "shrunk-flip"
    row = json.loads((folder / told["file_name"]).read_text().splitlines()[0])
    turns = row[told["columns"]["messages"]]
    tags = told["tags"]
    assert told["formatting"] == "sharegpt"
    assert [turn[tags["role_tag"]] for turn in turns] == [tags["user_tag"], tags["assistant_tag"]]
    assert all(turn[tags["content_tag"]] for turn in turns)


def test_the_recipe_that_lies_beside_is_the_recipe(finished, published):
    """But for where its files lie and the seeds, which a recipe derives from its one."""
    _, folder = published
    given = yaml.safe_load((folder / "recipe.yaml").read_text())
    assert given["mixtures"].keys() == {"flip", "random"}
    assert given["name"] == "shrunk"


def test_publishing_again_builds_nothing(finished, published):
    artifact, _ = published
    again = publish_arm(Recipe.load(finished.recipe), finished.ctx, "flip")
    assert again == artifact


def test_a_rule_that_asks_for_no_influence_is_published_without_training(tmp_path):
    """Mixed and exported from raw rows: no checkpoint is made on the way."""
    ctx = RunContext(ArtifactStore(str(tmp_path / "store")))
    publish_arm(Recipe.load(shrunk_tiny(tmp_path)), ctx, "flip")
    assert {artifact.stage for artifact in ctx.store.artifacts()} == {
        "base", "ingest", "screen", "rate_difficulty", "mix", "publish",
    }  # fmt: skip


def test_an_arm_that_is_not_there_is_named_with_those_that_are(finished):
    with pytest.raises(RequestError, match="has no arm 'flop'; it has keep_all, flip, random"):
        publish_arm(Recipe.load(finished.recipe), finished.ctx, "flop")


@pytest.mark.slow
def test_trl_trains_on_the_folder_as_it_is(finished, published, tmp_path):
    """A few steps of its SFTTrainer on `load_dataset(folder)`, and the loss falls."""
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    _, folder = published
    base = next(artifact for artifact in finished.ctx.store.artifacts() if artifact.stage == "base")
    model = model_folder(finished.ctx, base)
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        processing_class=AutoTokenizer.from_pretrained(model),
        train_dataset=load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache")),
        args=SFTConfig(
            output_dir=str(tmp_path / "out"), max_steps=6, per_device_train_batch_size=8, learning_rate=3e-3,
            logging_steps=1, report_to="none", save_strategy="no", use_cpu=True, bf16=False, max_length=256,
        ),
    )  # fmt: skip
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
