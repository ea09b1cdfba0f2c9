"""Child processes that never outlive their parent."""

from infra_core.runtime.supervised import CommandFailed, WorkerLost, run_supervised

__all__ = ["CommandFailed", "WorkerLost", "run_supervised"]
