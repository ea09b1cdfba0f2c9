"""What is asked of a Prefect server: a pool, an automation, orphans, one run started and followed."""

import time
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Cancelled, Crashed, Scheduled, State
from prefect.workers.process import ProcessWorker

from flows.workstation import Say
from infra_core.errors import RequestError
from infra_core.runtime.services import processes_with

STARTS = 5  # a run that died so often is not started again by itself
RUN_OF_PROCESS = "PREFECT__FLOW_RUN_ID"
POLL_SECONDS = 1.0
ENGINE = """sh -c 'exec "${INFRA_PYTHON:-python3}" -m prefect.engine'"""


def prepare(pool: str, automations: Path, say: Say) -> None:
    """Create the work pool and the automations that are not there; bring changed automations up to date."""
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(_process_pool(pool))
            say(f"pool {pool}: created")
        except ObjectAlreadyExists:
            say(f"pool {pool}: there")
        for given in yaml.safe_load(automations.read_text())["automations"]:
            wanted = AutomationCore.model_validate(given)
            known = client.read_automations_by_name(wanted.name)
            for found in known:
                client.update_automation(found.id, wanted)
            if not known:
                client.create_automation(wanted)


def _process_pool(name: str) -> WorkPoolCreate:
    """Return a pool whose runs are told how they begin: else each loads Prefect once more, to find out."""
    template = ProcessWorker.get_default_base_job_template()
    template["variables"]["properties"]["command"]["default"] = ENGINE
    return WorkPoolCreate(name=name, type="process", base_job_template=template)


def take_up_orphans(pool: str, worker: str, say: Say) -> None:
    """Reschedule runs whose process is gone: what a crash of this machine, or of its worker, left behind.

    Judged only where no other worker is online, since its runs have their processes elsewhere. A run that was
    started `STARTS` times already is marked as crashed instead.
    """
    with get_client(sync_client=True) as client:
        others = [
            found.name
            for found in client.read_workers_for_work_pool(pool)
            if found.status == WorkerStatus.ONLINE and found.name != worker
        ]
        under_way = _under_way(client)
        if others and under_way:
            say(f"runs: {len(under_way)} under way, left to the workers online: {', '.join(others)}")
            return
        living = processes_with(RUN_OF_PROCESS)
        for run in under_way:
            if str(run.id) not in living:
                say(f"run {run.name}: {_take_up(client, run)}")


def start_run(deployment: str, store: str, deploying: Future[str], say: Say) -> FlowRun:
    """Start a run of a deployment: one that is known as it is deployed now, a new one once it is there.

    Raises
    ------
    RequestError
        If there is no such deployment.
    """
    with get_client(sync_client=True) as client:
        if _find(client, deployment) is not None:
            deploying.result()
        while (found := _find(client, deployment)) is None and not deploying.done():
            time.sleep(POLL_SECONDS / 4)
        found = found or _find(client, deployment)
        if found is None:
            deploying.result()
            raise RequestError(f"there is no deployment {deployment}; prefect.yaml has those there are")
        parameters = {"store": store} if store else {}
        run = client.create_flow_run_from_deployment(found.id, parameters=parameters)
    say(f"run {run.name}: started as {run.id}; it goes on if you leave (Ctrl-C)")
    return run


def _find(client: SyncPrefectClient, deployment: str) -> Any:
    with suppress(ObjectNotFound):
        return client.read_deployment_by_name(deployment)
    return None


def follow(run: FlowRun, say: Say) -> bool:
    """Say every change of a run until it ends; return whether it completed."""
    with get_client(sync_client=True) as client:
        told: str | None = ""
        while True:
            found = client.read_flow_run(run.id)
            state = found.state
            if state is not None and state.name != told:
                told = state.name
                say(f"run {found.name}: {told}{f' ({state.message})' if state.message else ''}")
            if state is not None and state.is_final():
                return state.is_completed()
            time.sleep(POLL_SECONDS)


def _under_way(client: SyncPrefectClient) -> list[FlowRun]:
    states = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)))
    found = client.read_flow_runs(flow_run_filter=wanted)
    return [run for run in found if run.deployment_id is not None and run.parent_task_run_id is None]


def _take_up(client: SyncPrefectClient, run: FlowRun) -> str:
    """Give an orphan its next state and say which."""
    if run.state_type == StateType.CANCELLING:
        client.set_flow_run_state(run.id, Cancelled(message="its process is gone"), force=True)
        return "was being cancelled and its process is gone; cancelled"
    if run.run_count >= STARTS:
        message = f"its process is gone, after {run.run_count} starts; again: prefect flow-run retry {run.id}"
        client.set_flow_run_state(run.id, Crashed(message=message), force=True)
        return f"crashed: {message}"
    again: State[Any] = Scheduled(
        name="AwaitingRetry", message="its process was gone; what it finished is reused"
    )
    client.set_flow_run_state(run.id, again, force=True)
    return f"its process is gone after start {run.run_count}; scheduled again"
