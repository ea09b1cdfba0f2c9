"""What may pass by itself is told from what a person must mend."""

import errno

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from infra_core.errors import StoreError, UnreachableError
from infra_core.store.transport import failure_of


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("reset by peer"),
        TimeoutError("timed out"),
        OSError(errno.EIO, "We encountered an internal error. Please try again."),  # s3fs, of a 500
        OSError(errno.EBUSY, "Please reduce your request rate."),  # s3fs, of a 503
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        ReadTimeoutError(endpoint_url="http://127.0.0.1:1"),
    ],
)
def test_what_may_pass_is_worth_another_try(error):
    assert isinstance(failure_of("the store", error), UnreachableError)


@pytest.mark.parametrize(
    "error",
    [
        PermissionError("no"),
        FileNotFoundError("no such bucket"),
        OSError(errno.ENOSPC, "No space left on device"),
        NoCredentialsError(),
    ],
)
def test_what_a_person_must_mend_is_not(error):
    told = failure_of("the store", error)
    assert isinstance(told, StoreError)
    assert not isinstance(told, UnreachableError)
