"""A program sees the same of the Anthropic client with and without otel-tools, also when otel-tools itself breaks."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

pytest.importorskip("anthropic")
import anthropic

from otel_tools import capture, coexistence, errors, pricing, sessions, telemetry
from otel_tools.adapters.agents.anthropic import ADAPTER as AGENTS
from otel_tools.adapters.llm import anthropic as llm_adapter
from otel_tools.adapters.tools.anthropic import ADAPTER as TOOLS
from otel_tools.adapters.wire import (
    anthropic_content,
    anthropic_messages,
    anthropic_request,
    reading,
    stainless,
)
from otel_tools.recordings import agent, base, llm, tool
from tests.clients.anthropic_client import TRACES_ITSELF
from tests.clients.anthropic_uses import USES
from tests.fake_server import FakeServer
from tests.recorder import Recorder
from tests.transparency import Scenario, broken, reached, run, steps

REQUESTS = {"bad arguments": 0, "runner": 2, "streaming runner": 2, "iterated runner": 2, "retried": 2}
CALLS = {**REQUESTS, "retried": 1}


def make(flavour: Any, options: dict[str, Any], url: str) -> Any:
    """A client, with as many retries as the scenario of retries needs."""
    transport = (
        anthropic.DefaultAsyncHttpxClient if flavour is anthropic.AsyncAnthropic else anthropic.DefaultHttpxClient
    )
    options = {"http_client": transport(verify=False), **options}  # no certificates to be loaded
    return flavour(api_key="key", base_url=url, max_retries=1 if options.pop("retried", False) else 0, **options)


NATIVE: dict[str, dict[str, Any]] = {"": {}, " untraced": {"open_telemetry": False}} if TRACES_ITSELF else {"": {}}
SCENARIOS = [
    Scenario(
        f"{name} {kind}{traced}",
        lambda url, flavour=flavour, options=options, name=name: make(
            flavour, {**options, "retried": name == "retried"}, url
        ),
        replies,
        partial(way, use),
        REQUESTS.get(name, 1),
    )
    for name, (way, use, replies) in USES.items()
    for kind, flavour in (("sync", anthropic.Anthropic), ("async", anthropic.AsyncAnthropic))
    for traced, options in NATIVE.items()
]
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "content": {"capture": "span_and_event"},
    "policy": {
        "mode": "enforce",
        "clients": {"anthropic": {"timeout": "30s", "circuit": {"failures": 5}}},
        "tools": {"get_weather": {"timeout": "30s"}},
    },
}


@pytest.fixture(autouse=True, scope="module")
def _little_to_collect() -> Iterator[None]:
    """The suite collects garbage after each run; what is there already need not be looked at each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _uninstrumented(recorder: Recorder) -> Iterator[None]:
    yield
    recorder.uninstrument()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_program_sees_the_same(recorder: Recorder, server: FakeServer, scenario: Scenario) -> None:
    """Types, attributes, fields, events, exceptions with their frames, and the requests on the wire."""
    bare = run(scenario, server)
    assert bare.notes or bare.error
    name = next(name for name in sorted(USES, key=len, reverse=True) if scenario.name.startswith(f"{name} "))
    for setting, settings in SETTINGS.items():
        recorder.clear()
        recorder.instrument(**settings)
        assert run(scenario, server) == bare, setting
        assert len([span for span in recorder.spans if span["kind"] == "CLIENT"]) == CALLS.get(name, 1), setting


STEPS = [
    *steps(
        (
            agent,
            anthropic_content,
            anthropic_messages,
            anthropic_request,
            base,
            capture,
            coexistence,
            llm,
            llm_adapter,
            pricing,
            reading,
            sessions,
            stainless,
            telemetry,
            tool,
        ),
        llm_adapter.ADAPTER,
    ),
    *steps((), TOOLS),
    *steps((), AGENTS),
]
IN_SYNC = ("create", "tools", "raw", "held parse", "tool stream", "held stream", "helper", "helper left", "dropped")
IN_ASYNC = ("create", "raw stream", "left", "streaming runner")
BREAKING = {
    *(f"{name} sync" for name in (*IN_SYNC, "unauthorized", "error in stream", "runner")),
    *(f"{name} async" for name in IN_ASYNC),
}


@pytest.mark.parametrize("scenario", [scenario for scenario in SCENARIOS if scenario.name in BREAKING], ids=str)
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
