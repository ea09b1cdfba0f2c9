"""No secret that the environment holds is told by a log, however a library comes to quote it."""

import io
import logging

import pytest

from infra_core.runtime.redaction import redact_logs, redacted

TOKEN = "hf_a-secret-of-ours"


@pytest.fixture
def log(monkeypatch):
    """What a handler of a process that holds a secret writes."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    before, written = logging.getLogRecordFactory(), io.StringIO()
    handler = logging.StreamHandler(written)
    logger = logging.getLogger("somebody.elses.library")
    redact_logs()
    logger.addHandler(handler)
    yield logger, written
    logger.removeHandler(handler)
    logging.setLogRecordFactory(before)


def test_a_log_line_has_the_name_of_a_secret_in_its_place(log):
    logger, written = log
    logger.warning("GET /api?token=%s: %d", TOKEN, 401)
    assert "GET /api?token=<HF_TOKEN>: 401" in written.getvalue()


def test_a_traceback_has_it_too(log):
    logger, written = log
    try:
        int(TOKEN)
    except ValueError:
        logger.exception("it failed")
    assert "ValueError: invalid literal for int() with base 10: '<HF_TOKEN>'" in written.getvalue()
    assert TOKEN not in written.getvalue()


def test_a_secret_within_another_leaves_nothing_of_either():
    held = {"A_TOKEN": "0123456789", "B_PASSWORD": "0123456789-and-more"}
    assert redacted("of 0123456789-and-more and 0123456789", held) == "of <B_PASSWORD> and <A_TOKEN>"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ACCESS_KEY_ID", "owner-id"),
        ("AWS_SECRET_ACCESS_KEY", "owner-secret"),
        ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=a;AccountKey=b"),
        ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://user:word@host/prefect"),
        ("PREFECT_SERVER_API_AUTH_STRING", "user:password"),
    ],
)
def test_the_credentials_that_the_documents_name_are_known(name, value):
    assert redacted(f"({value})", {name: value}) == f"(<{name}>)"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GOOGLE_APPLICATION_CREDENTIALS", "/etc/infra/account.json"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token"),
        ("HOME", "/home/somebody"),
        ("HF_TOKEN", "short"),
    ],
)
def test_places_and_words_stay_as_they_are(name, value):
    assert redacted(f"no file {value}", {name: value}) == f"no file {value}"
