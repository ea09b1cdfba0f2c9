"""What is deployed fits what is there: flows, recipes, resources; nothing is published beyond loopback."""

import importlib
import json
from uuid import uuid4

import pytest
import yaml
from prefect.client.schemas.objects import FlowRun
from prefect.events.schemas.automations import AutomationCore
from prefect.utilities.templating import find_placeholders

from flows.__main__ import RECIPES
from flows.failure import resume_command
from flows.monitor import ATTRIBUTES, artifact_key, as_cell, of, stages
from flows.outcome import Outcome, StageOutcome
from flows.resources import Resources, asked
from infra_core.errors import RequestError
from infra_core.recipe import Recipe
from infra_core.store.artifact import Artifact
from tests.flows.conftest import REPOSITORY

FOLDER = REPOSITORY / "deployments"
DEPLOYMENTS = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]


def flow_of(deployment):
    path, name = deployment["entrypoint"].split(":")
    return getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)


def named(deployment):
    return f"{flow_of(deployment).name}/{deployment['name']}"


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=named)
def test_a_deployment_names_a_flow_a_recipe_and_resources_that_there_are(deployment):
    flow, given = flow_of(deployment), deployment["parameters"]
    flow.validate_parameters(given)
    recipe = Recipe.load(REPOSITORY / given["recipe"])
    assert recipe.name == deployment["name"]
    assert deployment["concurrency_limit"]["limit"] == 1
    assert given.get("target", named(deployment)) in {named(other) for other in DEPLOYMENTS}


def test_every_recipe_has_a_deployment():
    deployed = {entry["name"] for entry in DEPLOYMENTS if flow_of(entry).name == "curate"}
    assert deployed == {path.stem for path in RECIPES.glob("*.yaml")}


def test_automations_mark_and_start_nothing():
    """One that starts runs again loops after a restart of the server."""
    for given in yaml.safe_load((FOLDER / "automations.yaml").read_text())["automations"]:
        actions = AutomationCore.model_validate(given).actions
        assert {(action.type, action.state.value) for action in actions} == {
            ("change-flow-run-state", "CRASHED")
        }


def test_no_deployment_names_a_secret_of_a_block():
    """`prefect deploy` would look it up and store it in the deployment, for everybody to read."""
    assert "prefect.blocks" not in (REPOSITORY / "prefect.yaml").read_text()


def test_compose_publishes_on_loopback_only_and_holds_no_secret():
    text = (FOLDER / "compose.yaml").read_text()
    services = yaml.safe_load(text)["services"]
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    secrets = [
        value
        for service in services.values()
        for name, value in service.get("environment", {}).items()
        if name.endswith(("PASSWORD", "SECRET_ACCESS_KEY", "TOKEN", "ACCESS_KEY_ID"))
    ]
    assert secrets
    assert all(value.startswith("${") for value in secrets)


def test_the_kubernetes_pool_defines_every_variable_that_its_job_uses():
    pool = json.loads((FOLDER / "kubernetes" / "pool.json").read_text())
    used = {found.name for found in find_placeholders(pool["job_configuration"])}
    assert used <= set(pool["variables"]["properties"])


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"cluster": "slurm"}, {"stage_hours": -1.0}])
def test_resources_that_cannot_be_had_are_refused_by_name(wrong):
    [name] = wrong
    with pytest.raises(RequestError, match=f"resources: {name}: .* not {wrong[name]!r}"):
        asked(**wrong)


@pytest.mark.parametrize("cluster", ["processes", "dask", "ray", "tcp://host:8786", "ray://host:10001"])
def test_clusters_are_named_by_kind_or_address(cluster):
    assert Resources(cluster=cluster).cluster == cluster


def test_what_was_reused_costs_this_run_nothing():
    """Two hours at 3 an hour were built; as many were paid for before."""
    report = Artifact("report", "0" * 16, "file:///store/report/" + "0" * 16)
    entries = (StageOutcome("score", "uri", True, 7200.0), StageOutcome("train", "uri", False, 7200.0))
    rows = stages(Outcome("toy", report, entries, 7300.0), 3.0)
    costs = {(row["stage"], row["state"]): row["cost"] for row in rows}
    assert costs["score", "built"] == costs["all that was built", "built"] == 6.0
    assert costs["train", "reused"] == 0.0
    assert all("cost" not in row for row in stages(Outcome("toy", report, entries, 7300.0), None))


@pytest.mark.parametrize(("stage", "name"), [("report", "report.html"), ("assess", "report.md")])
def test_a_run_ends_with_the_address_of_a_page_that_its_last_stage_writes(stage, name):
    assert Outcome("toy", Artifact(stage, "0" * 16, f"file:///s/{stage}/0"), (), 1.0).page.endswith(name)


def test_tables_of_attributes_are_the_figures_of_their_metrics():
    """With what each is about, and which metric where a table has several."""
    shared = {"unit": "nats", "low": 0.1, "high": 0.3, "n": 9, "seeds": 1, "group": "math/correct"}
    figures = [
        shared | {"metric": metric, "value": 0.2, "token_class": "operator"}
        for metric in ("token influence", "token influence beyond place", "accuracy")
    ]
    rows = of(figures, *ATTRIBUTES["tokens"][0])
    assert [row["metric"] for row in rows] == ["token influence", "token influence beyond place"]
    assert rows[0]["token_class"] == "operator"
    assert "metric" not in of(figures, "accuracy")[0]


def test_cells_that_would_begin_a_list_show_as_they_are():
    """The UI takes them for Markdown: a word of code may be a sign alone."""
    shown = {"-": r"\-", "+ 1": r"\+ 1", "2. b": r"2\. b", "file:///a-b": "file:///a-b", "a*b": r"a\*b"}
    assert {text: as_cell(text) for text in shown} == shown


@pytest.mark.parametrize("name", ["tiny", "Qwen7B_prune", "a b/c"])
def test_keys_of_artifacts_are_those_that_prefect_takes(name):
    key = artifact_key(name, "exam")
    assert key == key.lower()
    assert set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_a_run_without_a_deployment_is_resumed_by_the_command_that_began_it():
    asked_for = {"recipe": "my recipe.yaml", "store": "s3://bucket/it", "rehearse": True}
    told = resume_command(FlowRun(flow_id=uuid4(), parameters=asked_for), "curate")
    assert told == "infra curate 'my recipe.yaml' --store s3://bucket/it --rehearse"
