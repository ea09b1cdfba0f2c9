"""One of several processes that train together: ``torchrun … -m infra_core.training.worker FOLDER``.

The folder holds a `Job`. What the one that waits must know goes to standard output, a line each.
"""

import json
import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import record

from infra_core.errors import InfraError
from infra_core.lm.classes import PreTrainedModel
from infra_core.lm.load import load, load_share, no_progress_bars
from infra_core.training.job import LOSSES_FILE, MARK, TRAINED, Job
from infra_core.training.sft import train
from infra_core.training.states import States, is_first

HANDED = "handed"
"""Folder of states that were handed over; who takes one removes it."""


def tell(**what: object) -> None:
    """Tell the one that waits."""
    sys.stdout.write(f"{MARK}{json.dumps(what)}\n")  # one write: lines of processes do not mix
    sys.stdout.flush()


def run(folder: Path) -> None:
    """Train what the folder says and leave the result there."""
    job, examples = Job.read(folder)
    handed = folder / HANDED
    handed.mkdir(exist_ok=True)

    def hand_over(step: int, state: Path) -> None:
        moved = state.rename(handed / state.name)
        tell(step=step, state=str(moved))

    states = States(
        folder,
        resume_from=job.resume_from,
        on_save=None if job.every_seconds is None else hand_over,
        every_seconds=job.every_seconds or 0.0,
        may_save=lambda: not any(handed.iterdir()),  # a state that waits is enough
    )

    def report(done: int, total: int, loss: float) -> None:
        if is_first():
            tell(done=done, total=total, loss=loss)

    model = _load(job)
    losses = train(model, examples, job.params, states, progress=report, place=job.place)
    if job.params.lora is None:
        with no_progress_bars():
            model.save_pretrained(folder / TRAINED)  # gathers what is divided; the first process writes
    if is_first():
        losses.write_parquet(folder / LOSSES_FILE)


def _load(job: Job) -> PreTrainedModel:
    if job.place.is_sharded:
        return load_share(job.model, job.place.processes, job.params.precision)
    return load(job.model)[0]


@record  # torchrun ends with the traceback of what failed first, and that is read last
def main(folder: Path) -> int:
    """Run a job; return the exit status."""
    try:
        run(folder)
    except InfraError as error:  # meant for people: raised again by the one that waits
        tell(error=type(error).__name__, message=str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
