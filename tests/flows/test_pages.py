"""The pages of runs: what a person reads there, by the API and in a real browser; foreign text stays text."""

import json
from pathlib import Path

import pytest
from prefect import flow, get_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed

from flows.monitor import show
from flows.outcome import Outcome, StageOutcome
from infra_core.report import build
from infra_core.store.store import ArtifactStore
from tests.browser import opened
from tests.flows.shrunk import quick_tiny
from tests.infra_core.report.test_page import ATTACKS, attacked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TABLES = ("exam", "influence", "dropped", "stages")
PAGES = (*TABLES, "report", "lineage", "report-page", "report-file", "store")


@pytest.fixture(scope="module")
def finished_run(machine, folder):
    """A deployed run that came to its end, and the run that reused all of it."""
    priced = {"recipe": str(quick_tiny(folder)), "resources": {"price_per_hour": 3600}}
    runs = [machine.start("curate/tiny", **priced) for _ in range(2)]
    ended = [machine.ends(run) for run in runs]
    assert [run["state_name"] for run in ended] == ["Completed", "Completed"], machine.logs(runs[0])[:5]
    return sorted(ended, key=lambda run: run["start_time"])


def artifacts_of(machine, run):
    """The artifacts on a run's page, by key without the recipe's name."""
    found = machine.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
    return {entry["key"].partition("-")[2]: entry for entry in found if entry["key"]}


def test_a_run_says_recipe_and_mixtures_and_its_second_reads_as_reused(machine, finished_run):
    first, second = finished_run
    assert first["name"] == "shrunk: flip, random"
    assert {"curate", "flip"} <= set(first["tags"])

    def tasks(run, what):
        asked = {"flow_runs": {"id": {"any_": [run["id"]]}}, "limit": 100}
        return {task[what] for task in machine.ask("task_runs/filter", **asked)}

    # What becomes of a task reaches the server by events, which a busy one takes in late.
    machine.waits(lambda: tasks(second, "state_name") == {"Reused"}, "the end of all tasks", 60)
    machine.waits(lambda: tasks(first, "state_name") == {"Completed"}, "the end of all tasks", 60)
    assert {"train keep_all 0", "evaluate flip 0"} <= tasks(first, "name")


def test_a_runs_page_has_report_tables_lineage_and_links(machine, finished_run):
    first, second = finished_run
    assert set(PAGES) <= set(artifacts_of(machine, first["id"]))
    page = artifacts_of(machine, second["id"])
    assert page["report"]["data"].startswith("#")
    exam = json.loads(page["exam"]["data"])
    accuracy = [row for row in exam if row["metric"] == "accuracy" and row["arm"] == "flip"]
    assert accuracy
    assert all(row["low"] <= row["value"] <= row["high"] for row in accuracy)
    stages = json.loads(page["stages"]["data"])
    assert {row["state"] for row in stages if row["stage"] == "train"} == {"reused"}
    assert {"base 0", "keep_all 0", "flip 0"} <= {row["of"] for row in stages if row["stage"] == "train"}
    assert all(row["seconds"] >= 0 for row in stages)
    assert {row["cost"] for row in stages if row["state"] == "reused"} == {0}
    lineage = page["lineage"]["data"]
    assert lineage.startswith("- **report**")
    assert "**ingest**" in lineage
    assert machine.environment["INFRA_STORE"] in page["store"]["data"]


def test_no_secret_is_on_a_page_in_a_log_or_in_the_store(machine, finished_run):
    """The credentials that the workers were given."""
    secrets = [machine.environment[name] for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")]
    told = [
        str(shown)
        for run in finished_run
        for shown in (
            machine.run(run["id"]),
            machine.logs(run["id"]),
            machine.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [run["id"]]}}),
            machine.ask("task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}}, limit=100),
        )
    ]
    told += [machine.services.last_words(name) for name in ("server", "worker")]
    root = Path(machine.environment["INFRA_STORE"])
    told += [path.read_text(errors="replace") for path in root.rglob("*") if path.suffix in {".json", ".md"}]
    assert len(told) > 20
    assert not any(secret in text for secret in secrets for text in told)


def page_of(machine, *place):
    return "/".join([machine.url.removesuffix("/api"), *place])


def troubles(machine, seen):
    """What a page complained of, but for its own missing icons, and whom it asked beside its server."""
    served = (page_of(machine, ""), "data:", "blob:")
    own = ("warning:", "debug:", "info:", "log:", "error: Failed to load resource: the server")
    strangers = [url for url in seen.requests if not url.startswith(served)]
    return strangers + [line for line in seen.trouble if not line.startswith(own)]


def hostile_outcome(folder):
    """What a run came to whose reasons, stages, host and store's address are attempts to act."""
    text, numbers = build(attacked())
    store = ArtifactStore(str(folder / ATTACKS[4] / ATTACKS[1]))

    def write(out):
        for name, content in {"report.md": text, "numbers.json": json.dumps(numbers)}.items():
            with out.open(name) as file:
                file.write(content.encode())

    report = store.materialize("report", 5, None, {}, write, {"hostname": ATTACKS[0]})
    stages = tuple(StageOutcome(attack, f"{attack} {report.uri}", True, 1.0) for attack in ATTACKS)
    return Outcome("attacked", report, stages, 1.0)


def test_foreign_text_does_nothing_on_any_page_of_a_run(machine, folder):
    """As name, log line, cause, reason, stage and address, in a real browser: it shows as the text it is."""

    @flow(name="attacked", flow_run_name=ATTACKS[1])
    def attacked_run():
        for attack in ATTACKS:
            get_run_logger().info(attack)
        show(hostile_outcome(folder))
        return Failed(message=" ".join(ATTACKS))

    with temporary_settings({PREFECT_API_URL: machine.url}):
        run = str(attacked_run(return_state=True).state_details.flow_run_id)
    machine.waits(lambda: len(machine.logs(run)) >= len(ATTACKS), "the log", 60)
    page = artifacts_of(machine, run)
    assert {*TABLES, "report", "lineage", "report-page", "store"} <= set(page)
    with opened(page_of(machine, "runs", "flow-run", run)) as seen:

        def shows(*texts):
            for text in texts:
                seen.page.get_by_text(text).first.wait_for()
            seen.page.wait_for_timeout(500)
            for inert in (
                "img[src=x]",
                "animate",
                "[onerror], [onmouseover], [onbegin]",
                "a[href^=javascript]",
            ):
                assert seen.page.locator(inert).count() == 0, (inert, seen.page.url)

        shows(*ATTACKS)
        seen.page.get_by_text("Artifacts").first.click()
        shows("attacked-report")
        for key, texts in {
            "dropped": [attack.split(":")[0] for attack in ATTACKS],
            "stages": ATTACKS,
            "report": ATTACKS[:2],
            "lineage": ATTACKS[:1],
            "report-page": ["report.html"],
            "store": ["store"],
        }.items():
            seen.page.goto(page_of(machine, "artifacts", "artifact", page[key]["id"]))
            shows(*texts)
        for place in ("runs", "artifacts", "dashboard"):
            seen.page.goto(page_of(machine, place))
            shows("attacked")
        assert troubles(machine, seen) == []
