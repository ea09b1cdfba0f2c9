"""What a person is told when a run did not come to its end: stage, part, cause, and how to go on."""

import shlex
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import StateType
from prefect.logging.loggers import flow_run_logger


def tell_how_to_resume(flow: Any, flow_run: Any, state: Any) -> None:
    """Log one line on how a run ended and how to resume it; a hook, called with these names by Prefect."""
    flow_run_logger(flow_run, flow).error(
        "%s: %s%s; to resume: %s",
        state.name,
        _where(flow_run, state),
        _cause(state),
        resume_command(flow_run, flow.name),
    )


def resume_command(flow_run: Any, command: str) -> str:
    """Return the command that takes a run of the flow of that name up again; what it finished is kept."""
    if flow_run.deployment_id is not None:
        return f"prefect flow-run retry {flow_run.id}"
    asked = flow_run.parameters
    words = ["infra", command, str(asked.get("recipe", ""))]
    words += ["--store", asked["store"]] if asked.get("store") else []
    words += ["--rehearse"] if asked.get("rehearse") else []
    return shlex.join(words)


def _cause(state: Any) -> str:
    return " ".join((state.message or "no cause is known").split())[:1000]


def _where(flow_run: Any, state: Any) -> str:
    """Return the stages that were under way, for a run that could not say so itself."""
    if state.is_failed():
        return ""  # the message says stage and part
    with get_client(sync_client=True) as client:
        found = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id])))
    names = sorted(run.name for run in found if run.state_type != StateType.COMPLETED)
    return f"in stage {', '.join(names)}: " if names else ""
