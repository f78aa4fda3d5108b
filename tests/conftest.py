"""Fixtures shared by all tests: the real SDK with in-memory exporters, and a scripted HTTP server."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import pytest

from otel_tools import errors
from tests.fake_server import FakeServer
from tests.recorder import Recorder


@pytest.fixture(autouse=True)
def _our_faults_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "raise_internal_errors", True)


@pytest.fixture(autouse=True)
def _no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests keep off the user's own overrides; those about the store say where it is."""
    monkeypatch.setenv("OTEL_TOOLS_STORE", "false")


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Providers of the real SDK whose spans, metrics and log records the test reads."""
    recorder = Recorder()
    yield recorder
    recorder.shutdown()


@pytest.fixture
def otel(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> Iterator[Recorder]:
    """otel-tools instrumented on a recorder with default settings; call `otel.instrument(**settings)` for others.

    At the end no call may be left open and nothing may have complained about a context of another task.
    """
    caplog.set_level(logging.WARNING)
    recorder.instrument()
    yield recorder
    gc.collect()  # ends what was dropped unread
    gc.freeze()  # what survives is not looked at again: collections stay cheap with all libraries loaded
    recorder.uninstrument()
    said = [record.getMessage() for record in (*caplog.get_records("call"), *caplog.records)]  # each phase has its own
    assert not [message for message in said if "Failed to detach" in message]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A scripted HTTP server on loopback."""
    with FakeServer().running() as server:
        yield server
