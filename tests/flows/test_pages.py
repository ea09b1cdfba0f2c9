"""The pages of runs: what a person reads there, by the API and in a real browser; foreign text stays text."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from prefect import flow, get_run_logger, task
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed

from flows.monitor import show
from flows.outcome import Outcome, StageOutcome
from infra_core.report import build
from infra_core.store.store import ArtifactStore
from tasks import _progress
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


def test_two_runs_of_one_deployment_never_overlap(finished_run):
    """They were asked for at once."""
    first, second = finished_run
    assert datetime.fromisoformat(first["end_time"]) <= datetime.fromisoformat(second["start_time"])


def test_long_work_shows_how_far_it_is_as_one_artifact_of_its_task(machine, monkeypatch):
    for patience in ("QUIET_SECONDS", "UPDATE_SECONDS"):
        monkeypatch.setattr(_progress, patience, 0.0)

    @task
    def work():
        with _progress.progress("parts", 4) as update:
            for done in range(1, 5):
                update(done)

    @flow
    def working():
        work()

    with temporary_settings({PREFECT_API_URL: machine.url}):
        run = working(return_state=True).state_details.flow_run_id
    [shown] = machine.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [str(run)]}})
    assert (shown["type"], shown["data"], shown["description"]) == ("progress", 100.0, "parts")
    assert shown["task_run_id"]


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


def test_in_a_browser_a_person_finds_state_stages_numbers_and_links(machine, finished_run):
    """On the pages of a run that reused all of it."""
    run, page = finished_run[1]["id"], artifacts_of(machine, finished_run[1]["id"])
    with opened(page_of(machine, "runs", "flow-run", run), viewport={"width": 1400, "height": 1000}) as seen:
        for shown in ("shrunk: flip, random", "Completed", "curate", "flip"):
            seen.page.get_by_text(shown).first.wait_for()
        seen.page.get_by_text("Task Runs", exact=True).first.click()
        for shown in ("Reused", "report"):
            seen.page.get_by_text(shown, exact=True).first.wait_for()
        seen.page.get_by_text("Artifacts").first.click()
        for key in PAGES:
            seen.page.get_by_text(f"shrunk-{key}", exact=True).first.wait_for()
        expected = {
            "stages": ("fit_factors", "reused", "seconds", "cost", "keep_all 0"),
            "exam": ("tiny_math", "accuracy", "keep_all"),
            "report": ("shrunk", "keep_all"),
            "lineage": ("collect_queries",),
            "store": (machine.environment["INFRA_STORE"],),
        }
        for key, words in expected.items():
            seen.page.goto(page_of(machine, "artifacts", "artifact", page[key]["id"]))
            for word in words:
                seen.page.get_by_text(word).first.wait_for()
        assert troubles(machine, seen) == []


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
