"""What can go wrong, for people.

::

    InfraError
    ├── RequestError     what was asked for makes no sense: recipe, argument, option      exit 2
    ├── DataError        what was pointed at is missing, damaged or of another shape      exit 2
    ├── StoreError       the store cannot be reached, written or trusted                  exit 2
    │   ├── UnreachableError  it did not answer, and may do so later: tried again         exit 2
    │   └── DamageError       a part is missing or differs from its manifest              exit 1
    ├── TimeLimitError   a stage took longer than it was given                            exit 1
    └── AlignmentError   text, tokens and spans do not line up: a fault of ours           exit 1

A message says what was found, where, and what to do. Anything else that is raised is a bug (exit 1).
"""


class InfraError(Exception):
    """Base of every error that is meant to be read by a person."""

    exit_code = 1


class RequestError(InfraError):
    """A recipe, argument or option that cannot be carried out as written."""

    exit_code = 2


class DataError(InfraError):
    """A file, row source or model folder that is missing, damaged or of another shape than declared."""

    exit_code = 2


class StoreError(InfraError):
    """The store cannot be reached or written."""

    exit_code = 2


class UnreachableError(StoreError):
    """The store did not answer, for a reason that may pass."""


class DamageError(StoreError):
    """A part of a finished artifact is missing or is not what its manifest says."""

    exit_code = 1


class TimeLimitError(InfraError):
    """A stage took longer than it was given and was ended."""


class AlignmentError(InfraError):
    """Text, tokens and spans do not line up."""
