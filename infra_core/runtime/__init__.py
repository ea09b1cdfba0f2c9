"""Child processes that never outlive their parent."""

from infra_core.runtime.supervised import CommandFailed, run_supervised

__all__ = ["CommandFailed", "run_supervised"]
