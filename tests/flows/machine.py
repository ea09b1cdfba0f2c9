"""A whole machine for tests: a Prefect server, a worker and deployments, brought up by `infra up`."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from infra_core.runtime.services import Services, processes_with
from tests.services import REPOSITORY, free_ports

PATIENCE = 400  # seconds, on a slow machine that runs other things


@dataclass(frozen=True)
class Machine:
    """A machine that `infra` brings up and takes down.

    Attributes
    ----------
    state
        Where it keeps process ids, logs and Prefect's database.
    url
        Of the server's API.
    environment
        Of every command.
    """

    state: Path
    url: str
    environment: dict[str, str]

    def infra(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run the `infra` command to its end."""
        return self._run("flows", *arguments)

    def prefect(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run a command of Prefect to its end."""
        return self._run("prefect", *arguments)

    def deploy(self, folder: Path, *deployments: Mapping[str, Any]) -> None:
        """Deploy what a test needs, as a person would: with a file beside the project's own."""
        given = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
        path = folder / "prefect.yaml"
        path.write_text(yaml.safe_dump(given | {"deployments": list(deployments)}))
        done = self.prefect("--no-prompt", "deploy", "--all", "--prefect-file", str(path))
        assert done.returncode == 0, done.stdout + done.stderr

    def ask(self, path: str, **body: Any) -> Any:
        """Return the API's answer."""
        answer = _asked("POST", f"{self.url}/{path}", json=body)
        return answer.json() if answer.content else None

    def start(self, deployment: str, **parameters: Any) -> str:
        """Start a run of a deployment and return its id."""
        found = _asked("GET", f"{self.url}/deployments/name/{deployment}").json()
        return self.ask(f"deployments/{found['id']}/create_flow_run", parameters=parameters)["id"]

    def run(self, run: str) -> dict[str, Any]:
        """Return a flow run."""
        return _asked("GET", f"{self.url}/flow_runs/{run}").json()

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Return the runs of a deployment, oldest first."""
        name = deployment.split("/")[1]
        asked = {
            "deployments": {"name": {"any_": [name]}},
            "flows": {"name": {"any_": [deployment.split("/")[0]]}},
        }
        return sorted(self.ask("flow_runs/filter", **asked), key=lambda run: run["created"])

    def ends(self, run: str) -> dict[str, Any]:
        """Wait until a run has ended and return it."""
        final = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        self.waits(lambda: self.run(run)["state_type"] in final, f"the end of run {run}")
        return self.run(run)

    def waits(self, ready: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Wait for something and return it."""
        deadline = time.monotonic() + seconds
        while not (found := ready()):
            assert time.monotonic() < deadline, f"{what} did not come; {self.services.last_words('worker')}"
            time.sleep(0.1)
        return found

    def logs(self, run: str) -> list[str]:
        """Return what a run logged."""
        asked = {"flow_run_id": {"any_": [run]}}
        return [
            entry["message"]
            for entry in self.ask("logs/filter", logs=asked, limit=200, sort="TIMESTAMP_DESC")
        ]

    def says(self, run: str, words: str) -> str:
        """Wait until a run has logged a line with these words, which may be after its end, and return it."""
        return self.waits(
            lambda: [line for line in self.logs(run) if words in line], f"{words!r} of {run}", 60
        )[0]

    def process_of(self, run: str) -> psutil.Process:
        """Wait for the process of a run and return it."""
        return self.waits(lambda: processes_with("PREFECT__FLOW_RUN_ID").get(run), f"the process of {run}")

    @property
    def services(self) -> Services:
        """Its processes."""
        return Services(self.state)

    def _run(self, module: str, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env=self.environment, cwd=REPOSITORY, capture_output=True, text=True, check=False,
        )  # fmt: skip


@retry(
    retry=retry_if_exception_type(httpx.HTTPStatusError),
    wait=wait_fixed(2),
    stop=stop_after_attempt(5),
    reraise=True,
)
def _asked(method: str, url: str, **more: Any) -> httpx.Response:
    """Ask as patiently as Prefect's own clients do: a busy SQLite is answered 503."""
    answer = httpx.request(method, url, timeout=120, **more)
    answer.raise_for_status()
    return answer


@contextmanager
def running_machine(folder: Path, **more: str) -> Iterator[Machine]:
    """Give a machine that is down; whatever was brought up is down afterwards."""
    [port] = free_ports(1)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "INFRA_STATE": str(folder / "state"),
        "INFRA_STORE": str(folder / "store"),
        "INFRA_PORT": str(port),
        **more,
    }
    machine = Machine(folder / "state", f"http://127.0.0.1:{port}/api", environment)
    own = environment | {"PREFECT_API_URL": machine.url, "PREFECT_HOME": str(folder / "state" / "prefect")}
    try:
        yield Machine(machine.state, machine.url, own)
    finally:
        machine.infra("down")
