"""The project as its users run it: brought up by a command, watched on its pages, broken, taken up again."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from copy import deepcopy

import fsspec
import httpx
import psutil
import pytest
import yaml

from flows.curate import run_stages
from infra_core.recipe import Recipe
from infra_core.store.store import ArtifactStore
from tasks._stage import RunContext
from tests.flows.conftest import REPOSITORY, finished_files, part_hashes
from tests.flows.shrunk import quick_tiny

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(1800)]

CURATE = {
    "entrypoint": "flows/deployed.py:curate",
    "work_pool": {"name": "local", "work_queue_name": "cpu"},
    "concurrency_limit": {"limit": 1, "collision_strategy": "ENQUEUE"},
}


@pytest.fixture(scope="module")
def undisturbed(folder):
    """The quick recipe, and what comes of it where nothing goes wrong."""
    recipe = quick_tiny(folder)
    ctx = RunContext.here(str(folder / "undisturbed"), "cpu")
    run_stages(Recipe.load(recipe), ctx)
    return recipe, part_hashes(ctx.store)


def test_up_leaves_what_is_up_as_it_is(machine):
    before = {name: machine.services.running(name).pid for name in ("server", "worker")}
    done = machine.infra("up")
    assert done.returncode == 0, done.stderr
    assert {name: machine.services.running(name).pid for name in ("server", "worker")} == before
    assert f"server: up at {machine.url}" in done.stdout
    assert "worker: up" in done.stdout


def test_a_deployment_that_is_not_there_is_a_wrong_request(machine):
    done = machine.infra("up", "--run", "nothing")
    assert done.returncode == 2
    assert done.stderr.strip().endswith(
        "there is no deployment curate/nothing; prefect.yaml has those there are"
    )


def test_the_server_listens_on_loopback_only(machine):
    server = machine.services.running("server")
    family = [server, *server.children(recursive=True)]
    listening = {
        connection.laddr.ip
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_every_deployment_of_the_project_is_there(machine):
    names = {f"{found['name']}" for found in machine.ask("deployments/filter")}
    given = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    assert names >= {entry["name"] for entry in given}


def test_a_run_survives_a_restart_of_the_server(machine, folder, undisturbed):
    """Killed and brought up again in the middle; the run goes on and tells it how it ended."""
    recipe, hashes = undisturbed
    root = folder / "restarted"
    run = machine.start("curate/tiny", recipe=str(recipe), store=str(root))
    machine.waits(lambda: list(root.glob("ingest/*/manifest.json")), "the middle of the run")
    for one in descendants(machine.services.running("server")):
        one.kill()
    done = machine.infra("up")
    assert done.returncode == 0, done.stderr
    ended = machine.ends(run)
    assert ended["state_name"] == "Completed", machine.logs(run)[:5]
    assert ended["run_count"] == 1
    assert part_hashes(ArtifactStore(str(root))) == hashes


def test_a_run_waits_for_a_server_whose_database_is_locked(machine, folder, undisturbed):
    """For longer than the server itself waits for SQLite, which is a minute."""
    recipe, hashes = undisturbed
    root = folder / "locked"
    run = machine.start("curate/tiny", recipe=str(recipe), store=str(root))
    machine.waits(lambda: list(root.glob("ingest/*/manifest.json")), "the middle of the run")
    with closing(sqlite3.connect(machine.state / "prefect" / "prefect.db", isolation_level=None)) as database:
        database.execute("PRAGMA busy_timeout = 60000")
        database.execute("BEGIN EXCLUSIVE")
        time.sleep(75)
        database.execute("ROLLBACK")
    ended = machine.ends(run)
    assert ended["state_name"] == "Completed", machine.logs(run)[:5]
    assert part_hashes(ArtifactStore(str(root))) == hashes


def test_a_watched_source_starts_one_run_a_change_and_redoes_what_hangs_on_it(machine, folder, seaweed):
    """Rows on S3: looked at four times, changed once; then told of a change by an event."""
    place = seaweed.url()
    files = fsspec.filesystem("s3", use_listings_cache=False)
    path = quick_tiny(folder / "watched")
    given = yaml.safe_load(path.read_text())
    row = (
        '{{"problem": "{0} + 1 = ?", "solution": "{0} + 1 = {1}", "answer": "{1}", "tests": null, '
        '"level": "1/4"}}\n'
    )
    rows = [row.format(number, number + 1) for number in range(60)]
    files.pipe_file(f"{place}/rows/a.jsonl", "".join(rows[:40]).encode())
    given["corpus"]["sources"][0]["uri"] = f"{place}/rows/*.jsonl"
    given["name"] = "watched"
    path.write_text(yaml.safe_dump(given))
    store = f"{place}/store"
    watch = {
        "name": "watched",
        "entrypoint": "flows/watch.py:watch",
        "work_pool": CURATE["work_pool"],
        "parameters": {"recipe": str(path), "target": "curate/watched"},
        "triggers": [
            {
                "type": "event",
                "enabled": True,
                "expect": ["corpus.touched"],
                "match": {"prefect.resource.id": "infra.corpus.watched"},
                "threshold": 1,
                "within": 0,
            }
        ],
    }
    parameters = {"recipe": str(path), "store": store}
    machine.deploy(folder / "watched", CURATE | {"name": "watched", "parameters": parameters}, watch)

    for _ in range(2):
        assert machine.ends(machine.start("watch/watched"))["state_name"] == "Completed"
    [first] = machine.runs("curate/watched")
    assert machine.ends(first["id"])["state_name"] == "Completed", machine.logs(first["id"])[:5]
    before = {artifact.key for artifact in ArtifactStore(store).artifacts() if artifact.stage == "ingest"}
    parts = len(files.find(f"{place}/store/ingest"))

    files.pipe_file(f"{place}/rows/b.jsonl", "".join(rows[40:]).encode())
    touched = {
        "event": "corpus.touched",
        "resource": {"prefect.resource.id": "infra.corpus.watched"},
        "occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "id": "0f1d2c3b-4a59-4687-8796-a5b4c3d2e1f0",
        "payload": {},
    }
    httpx.post(f"{machine.url}/events", json=[touched], timeout=120).raise_for_status()
    machine.waits(lambda: len(machine.runs("watch/watched")) == 3, "the look that the event asks for", 60)
    looks = [machine.ends(run["id"]) for run in machine.runs("watch/watched")]
    assert {look["state_name"] for look in looks} == {"Completed"}
    assert machine.ends(machine.start("watch/watched"))["state_name"] == "Completed"
    [_, second] = machine.runs("curate/watched")
    assert machine.ends(second["id"])["state_name"] == "Completed", machine.logs(second["id"])[:5]

    # Of the pools only the corpus is another one, and of its parts only those of the new file are new.
    after = {artifact.key for artifact in ArtifactStore(store).artifacts() if artifact.stage == "ingest"}
    assert before < after
    assert len(after - before) == 1
    assert len(files.find(f"{place}/store/ingest")) - parts == 3  # kept rows, dropped rows, manifest


def descendants(process):
    return [process, *process.children(recursive=True)]


def alive(processes):
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def under_way(machine, folder, name):
    """Start a run that trains in two processes, and wait until it does; return it and its processes."""
    long = yaml.safe_load(quick_tiny(folder / name).read_text())["base"]
    long["train"] |= {"epochs": 400}
    path = quick_tiny(folder / name, name=name, base=long)
    run = machine.start(
        "curate/tiny", recipe=str(path), store=str(folder / name / "store"), resources={"processes": 2}
    )
    process = machine.process_of(run)

    def ranks():
        found = descendants(process)
        words = [" ".join(one.cmdline()) for one in alive(found)]
        return found if sum("infra_core.training.worker" in word for word in words) >= 2 else None

    return run, machine.waits(ranks, "training in processes")


def test_cancelling_a_run_ends_its_children_within_seconds(machine, folder):
    run, family = under_way(machine, folder, "cancelled")
    assert machine.prefect("flow-run", "cancel", run).returncode == 0
    machine.waits(lambda: not alive(family), "the end of all processes", 40)
    ended = machine.ends(run)
    assert ended["state_name"] == "Cancelled"
    assert "train" in machine.says(run, f"to resume: prefect flow-run retry {run}")


def test_a_run_whose_process_is_killed_is_crashed_says_how_to_resume_and_leaves_no_child(machine, folder):
    run, family = under_way(machine, folder, "killed")
    os.kill(family[0].pid, signal.SIGKILL)
    machine.waits(lambda: not alive(family), "the end of all processes", 40)
    assert machine.ends(run)["state_name"] == "Crashed"
    assert machine.says(run, f"to resume: prefect flow-run retry {run}")


def test_a_run_whose_worker_died_with_it_is_crashed_within_two_minutes(machine, folder):
    """Nobody is left to say so; its heartbeats are missed."""
    run, family = under_way(machine, folder, "silent")
    machine.waits(
        lambda: machine.ask(
            "events/filter",
            filter={
                "event": {"name": ["prefect.flow-run.heartbeat"]},
                "resource": {"id": [f"prefect.flow-run.{run}"]},
            },
        )["events"],
        "the first heartbeat",
    )
    for one in (machine.services.running("worker"), *family):
        one.kill()
    machine.waits(lambda: machine.run(run)["state_name"] == "Crashed", "the word that it crashed", 120)
    assert "no heartbeat for 90 seconds" in machine.run(run)["state"]["message"]
    assert machine.infra("up").returncode == 0  # another worker


def test_what_a_person_must_mend_fails_at_once_with_stage_cause_and_the_way_on(machine, folder):
    path = quick_tiny(folder / "broken", name="broken")
    given = yaml.safe_load(path.read_text())
    given["corpus"]["sources"][0]["uri"] = str(folder / "broken" / "rows.jsonl")
    (folder / "broken" / "rows.jsonl").write_text('{"question": "1+1=?"}\n')
    path.write_text(yaml.safe_dump(given))
    run = machine.start("curate/tiny", recipe=str(path))
    ended = machine.ends(run)
    assert ended["state_name"] == "Failed"
    assert ended["state"]["message"].startswith("stage ingest corpus, part sums-")
    assert "'problem'" in ended["state"]["message"]
    [task] = machine.ask(
        "task_runs/filter", flow_runs={"id": {"any_": [run]}}, task_runs={"name": {"any_": ["ingest corpus"]}}
    )
    assert task["run_count"] == 1
    assert machine.says(run, f"to resume: prefect flow-run retry {run}")


@contextmanager
def environment_of_the_pool(machine, given):
    """Name variables in the pool, as a person does in the UI; they are gone afterwards."""
    place = f"{machine.url}/work_pools/local"
    known = httpx.get(place, timeout=120).json()["base_job_template"]
    changed = deepcopy(known)
    changed["variables"]["properties"]["env"]["default"] = given
    httpx.patch(place, json={"base_job_template": changed}, timeout=120).raise_for_status()
    try:
        yield
    finally:
        httpx.patch(place, json={"base_job_template": known}, timeout=120).raise_for_status()


def test_credentials_of_a_block_are_used_and_stand_on_no_page(machine, folder, seaweed):
    """Those of somebody who may only look, where the worker's own may write: so the run is refused."""
    secret = seaweed.reader["AWS_SECRET_ACCESS_KEY"]
    saved = f"from prefect.blocks.system import Secret; Secret(value={secret!r}).save('store-secret')"
    subprocess.run([sys.executable, "-c", saved], env=machine.environment, check=True)
    given = {
        "AWS_ACCESS_KEY_ID": seaweed.reader["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": "{{ prefect.blocks.secret.store-secret }}",
    }
    with environment_of_the_pool(machine, given):
        run = machine.start("curate/tiny", recipe=str(quick_tiny(folder / "reader")), store=seaweed.url())
        ended = machine.ends(run)
        told = [ended, machine.logs(run), machine.ask("deployments/filter"), machine.ask("work_pools/filter")]
    assert ended["state_name"] == "Failed"
    assert "permission denied" in ended["state"]["message"], machine.logs(run)[:5]
    assert secret not in str(told)


def test_a_stage_that_takes_too_long_is_ended_and_not_tried_again(machine, folder):
    long = yaml.safe_load(quick_tiny(folder / "slow").read_text())["base"]
    long["train"] |= {"epochs": 400}
    path = quick_tiny(folder / "slow", name="slow", base=long)
    run = machine.start(
        "curate/tiny",
        recipe=str(path),
        store=str(folder / "slow" / "store"),
        resources={"stage_hours": 12 / 3600},
    )
    ended = machine.ends(run)
    assert ended["state_name"] == "Failed"
    assert ended["state"]["message"].startswith(
        "stage train base: Task run exceeded timeout of 12.0 second(s)"
    )
    [task] = machine.ask(
        "task_runs/filter", flow_runs={"id": {"any_": [run]}}, task_runs={"name": {"any_": ["train base"]}}
    )
    assert task["state_name"] == "TimedOut"
    assert task["run_count"] == 1


def test_runs_that_a_crash_of_the_machine_orphaned_are_taken_up(machine, folder, undisturbed):
    """Server, worker and run are killed at once, in the middle; `up` finds the run and it goes on."""
    recipe, hashes = undisturbed
    root = folder / "orphan"
    run = machine.start("curate/tiny", recipe=str(recipe), store=str(root))
    machine.waits(lambda: list(root.glob("fit_eigenbasis/*/manifest.json")), "the middle of the run")
    family = [
        one
        for top in (
            machine.services.running("worker"),
            machine.services.running("server"),
            machine.process_of(run),
        )
        for one in descendants(top)
    ]
    for one in family:
        one.kill()
    machine.waits(lambda: not alive(family), "the crash")
    written = finished_files(root)

    done = machine.infra("up")
    assert done.returncode == 0, done.stderr
    assert "its process is gone after start 1; scheduled again" in done.stdout
    ended = machine.ends(run)
    assert ended["state_name"] == "Completed", machine.logs(run)[:5]
    assert ended["run_count"] == 2
    assert written.items() <= finished_files(root).items()
    assert part_hashes(ArtifactStore(str(root))) == hashes


def test_a_run_that_died_too_often_is_not_started_again(machine):
    """Five starts are enough: the sixth is a person's decision."""
    run = machine.start("curate/tiny", recipe="nowhere.yaml")
    machine.ends(run)
    body = {"state": {"type": "RUNNING", "name": "Running"}, "force": True}
    while machine.run(run)["run_count"] < 5:
        machine.ask(f"flow_runs/{run}/set_state", **body)
        machine.ask(f"flow_runs/{run}/set_state", state={"type": "PENDING"}, force=True)
    machine.ask(f"flow_runs/{run}/set_state", **body)
    done = machine.infra("up")
    assert "crashed: its process is gone, after" in done.stdout
    ended = machine.run(run)
    assert ended["state_name"] == "Crashed"
    assert f"prefect flow-run retry {run}" in ended["state"]["message"]


def test_down_stops_what_up_started_and_nothing_else(machine):
    family = [one for name in ("server", "worker") for one in descendants(machine.services.running(name))]
    done = machine.infra("down")
    assert done.stdout.splitlines() == ["worker: stopped", "server: stopped"]
    assert alive(family) == []
    assert machine.infra("down").stdout.splitlines() == ["worker: was not running", "server: was not running"]
