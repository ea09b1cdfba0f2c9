"""One machine from nothing: Prefect server, worker and deployments; started once, stopped exactly.

Loads nothing of Prefect until its settings are in the environment.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from infra_core.errors import RequestError
from infra_core.runtime.services import Services

HOME = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
POOL = "local"
AUTOMATIONS = HOME / "deployments" / "automations.yaml"
START_SECONDS = 180.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Workstation:
    """What `infra up` brings up and `infra down` takes down.

    Attributes
    ----------
    state
        Folder of process ids, logs and Prefect's database.
    url
        Of the server's API.
    is_ours
        Whether the server is one of this machine, started here if it is not up.
    """

    state: Path
    url: str
    is_ours: bool

    @classmethod
    def here(cls, port: int) -> "Workstation":
        """Return this machine's; its server is the one of ``PREFECT_API_URL``, where that is set."""
        state = Path(os.environ.get("INFRA_STATE", HOME / ".infra")).absolute()
        ours = f"http://{HOST}:{port}/api"
        url = os.environ.get("PREFECT_API_URL", ours).rstrip("/")
        return cls(state, url, url == ours)

    @property
    def services(self) -> Services:
        """The processes that were started for it."""
        return Services(self.state)

    def enter(self) -> None:
        """Put Prefect's settings into the environment, where a person has not set them otherwise."""
        settings = {
            "PREFECT_HOME": str(self.state / "prefect"),
            "PREFECT_API_URL": self.url,
            "PREFECT_CLI_PROMPT": "false",
            "PREFECT_SERVER_UI_V2_ENABLED": "false",  # it asks the network on every page
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # of what deployments/automations.yaml waits for
            "INFRA_HOME": str(HOME),
        }
        for name, value in settings.items():
            os.environ.setdefault(name, value)
        known = os.environ.get("PYTHONPATH", "")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(HOME), *filter(None, [known])])


def up(port: int, say: Say, run: str = "", store: str = "") -> Any:
    """Bring up whatever is not up: server, pool, worker, deployments; reschedule runs that a crash orphaned.

    Returns the run that was started, if one was asked for: as soon as its own deployment is there.

    Raises
    ------
    RequestError
        If the server does not come up or does not answer.
    """
    machine = Workstation.here(port)
    machine.enter()
    with machine.services.alone():
        _server(machine, port, say)
        from flows import server  # only now: Prefect reads its settings when it is loaded

        server.prepare(POOL, AUTOMATIONS, say)
        server.take_up_orphans(POOL, worker_name(), say)
        with ThreadPoolExecutor(1) as aside:
            deployed = aside.submit(_deploy)
            _worker(machine, say)
            started = server.start_run(run, store, deployed, say) if run else None
            say(deployed.result())
    page = machine.url.removesuffix("/api")
    say(f"look at {page}; for Prefect's own commands: export PREFECT_API_URL={machine.url}")
    return started


def deploy(port: int, say: Say) -> None:
    """Put pool, automations and deployments on a server that is up; start nothing here.

    Raises
    ------
    RequestError
        If no server answers.
    """
    machine = Workstation.here(port)
    machine.enter()
    if not _answers(machine.url):
        raise RequestError(f"no Prefect server answers at {machine.url}; start it, or run infra up")
    from flows import server  # as above

    server.prepare(POOL, AUTOMATIONS, say)
    say(_deploy())


def down(port: int, say: Say) -> None:
    """Stop what `up` started here, and nothing else; runs under way are taken up by the next `up`."""
    machine = Workstation.here(port)
    with machine.services.alone():
        for name in ("worker", "server"):
            stopped = machine.services.stop(name)
            say(f"{name}: stopped" if stopped else f"{name}: was not running")


def worker_name() -> str:
    """Return what this machine's worker is called on the server."""
    return f"infra-{socket.gethostname()}"


def _server(machine: Workstation, port: int, say: Say) -> None:
    if _answers(machine.url):
        whose = "" if machine.services.running("server") else ", not started from here"
        say(f"server: up at {machine.url}{whose}")
        return
    if not machine.is_ours:
        raise RequestError(
            f"PREFECT_API_URL is {machine.url} and no Prefect server answers there; start it, or unset the "
            "variable to have one started here"
        )
    prefect = _prefect("server", "start", "--host", HOST, "--port", str(port))
    machine.services.start("server", prefect, env=os.environ, cwd=HOME)
    deadline = time.monotonic() + START_SECONDS
    while not _answers(machine.url):
        if machine.services.running("server") is None or time.monotonic() > deadline:
            log, words = machine.services.log("server"), machine.services.last_words("server")
            machine.services.stop("server")
            raise RequestError(
                f"no Prefect server came up on port {port}; its last words, from {log}: {words[-600:]}"
            )
        time.sleep(0.1)
    say(f"server: started at {machine.url}, log in {machine.services.log('server')}")


def _worker(machine: Workstation, say: Say) -> None:
    has_devices = Path("/dev/nvidia0").exists()
    queues = ["cpu", "gpu"] if has_devices else ["cpu"]
    asked = [word for queue in queues for word in ("--work-queue", queue)]
    prefect = _prefect(
        "worker",
        "start",
        "--pool",
        POOL,
        "--type",
        "process",
        "--name",
        worker_name(),
        "--install-policy",
        "never",
        *asked,
    )
    started = machine.services.start("worker", prefect, env=os.environ, cwd=HOME)
    rest = "" if has_devices else "; no GPU here, so runs of queue gpu wait for a worker that has one"
    say(f"worker: {'started' if started else 'up'}, queues {' and '.join(queues)}{rest}")


def _deploy() -> str:
    done = subprocess.run(
        _prefect("--no-prompt", "deploy", "--all"), cwd=HOME, capture_output=True, text=True, check=False
    )
    if done.returncode:
        words = " ".join((done.stdout + done.stderr).split())[-800:]
        raise RequestError(f"prefect deploy --all ended with status {done.returncode}: {words}")
    return "deployments: those of prefect.yaml are in place"


def _answers(url: str) -> bool:
    address = f"{url}/health"
    with suppress(OSError, ValueError), urlopen(address, timeout=2) as answer:  # noqa: S310 - ours or the user's
        return json.loads(answer.read()) is True
    return False


def _prefect(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "prefect", *arguments]
