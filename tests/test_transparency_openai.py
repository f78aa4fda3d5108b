"""A program sees the same of the OpenAI client with and without otel-tools, also when otel-tools itself breaks."""

from __future__ import annotations

import gc
import ssl
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

pytest.importorskip("openai")
import openai

from otel_tools import capture, coexistence, errors, pricing, sessions, telemetry
from otel_tools.adapters.llm.openai import ADAPTER
from otel_tools.adapters.wire import (
    openai_chat,
    openai_chat_stream,
    openai_completions,
    openai_embeddings,
    openai_items,
    openai_messages,
    openai_responses,
    openai_usage,
    reading,
    stainless,
)
from otel_tools.calls import base as call
from otel_tools.calls import llm as llm_call
from otel_tools.recordings import base, llm
from tests.clients.openai_uses import SCENARIOS
from tests.fake_server import FakeServer
from tests.recorder import Recorder
from tests.transparency import Scenario, broken, reached, run, steps

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "content": {"capture": "span_and_event"},
    "policy": {"mode": "enforce", "clients": {"openai": {"timeout": "30s", "circuit": {"failures": 5}}}},
}


@pytest.fixture(autouse=True, scope="module")
def _little_to_collect() -> Iterator[None]:
    """The suite collects garbage after each run; what is there already need not be looked at each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every client loads all certificates of the machine, which takes longer than everything else together."""
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *_, **__: None)


@pytest.fixture(autouse=True)
def _uninstrumented(recorder: Recorder) -> Iterator[None]:
    yield
    recorder.uninstrument()


def test_a_difference_is_seen(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite is not blind: a lost chunk, a new attribute and a lost method show."""
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == "stream sync")
    bare = run(scenario, server)
    assert run(scenario, server) == bare
    for name, change in {
        "__iter__": lambda stream: islice(stream._iterator, 1, None),
        "status": property(lambda _: 200),
        "close": None,
    }.items():
        with monkeypatch.context() as patched:
            patched.setattr(openai.Stream, name, change, raising=False)
            assert run(scenario, server) != bare, name


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_program_sees_the_same(recorder: Recorder, server: FakeServer, scenario: Scenario) -> None:
    """Types, attributes, fields, chunks, exceptions with their frames, and the requests on the wire."""
    bare = run(scenario, server)
    assert bare.notes or bare.error
    for name, settings in SETTINGS.items():
        recorder.clear()
        recorder.instrument(**settings)
        assert run(scenario, server) == bare, name
        assert len([span for span in recorder.spans if span["kind"] == "CLIENT"]) == (scenario.requests > 0), name


# these hold the guards themselves
GUARDS = ("prepared", "returned", "failed", "_replaced", "error_type", "end", "chunk", "left", "streamed")
EVERY = steps(
    (
        base,
        capture,
        coexistence,
        llm,
        llm_call,
        call,
        openai_chat,
        openai_chat_stream,
        openai_completions,
        openai_embeddings,
        openai_items,
        openai_messages,
        openai_responses,
        openai_usage,
        pricing,
        reading,
        sessions,
        stainless,
        telemetry,
    ),
    ADAPTER,
)
STEPS = [step for step in EVERY if not (step.name.startswith("calls.") and step.attribute in GUARDS)]
BREAKING = {
    *("tools", "raw", "stream", "raw stream", "held parse", "held stream", "held stream lines", "helper left"),
    *("dropped", "responses stream", "embeddings", "completions stream", "unauthorized", "error in stream"),
}


@pytest.mark.parametrize(
    "scenario", [scenario for scenario in SCENARIOS if scenario.name.rpartition(" ")[0] in BREAKING], ids=str
)
def test_a_program_sees_the_same_when_otel_tools_breaks(
    recorder: Recorder, server: FakeServer, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an exception in each single step of reading, telemetry and pricing, one after the other."""
    monkeypatch.setattr(errors, "raise_internal_errors", False)
    bare = run(scenario, server)
    recorder.instrument(capture="span_and_event")
    changed, survived = [], []
    for step in reached(scenario, server, STEPS):
        with broken(step) as calls:
            seen = run(scenario, server)
        if seen != bare:
            changed.append(step.name)
        elif calls:  # what is cached is not gone through again
            survived.append(step.name)
    assert not changed
    assert len(survived) > 20
