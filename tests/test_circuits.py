"""Circuits of real tools as telemetry shows them: keys, shadows, slow calls."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

import otel_tools
from otel_tools import errors
from otel_tools.engine import active
from otel_tools.errors import CircuitOpen
from otel_tools.policy import Action, Circuit, Override
from otel_tools.recordings import base
from tests.recorder import Recorder

STATE = "otel_tools.circuit_breaker.state"
SHADOW = "otel_tools.circuit_breaker.shadow"


class Down(ConnectionError):
    """The dependency does not answer."""


def states(otel: Recorder, name: str) -> dict[tuple[Any, bool], int]:
    """(state, whether in shadow) -> circuits of *name*, without those that are 0."""
    points = [point for point in otel.points(STATE) if point["attributes"]["otel_tools.circuit_breaker.name"] == name]
    found = {(point["attributes"][STATE], SHADOW in point["attributes"]): point["value"] for point in points}
    assert len(points) == len(found) == 6
    return {series: number for series, number in found.items() if number}


def transitions(otel: Recorder) -> list[tuple[Any, ...]]:
    """The log records of transitions: to, why, in shadow, severity."""
    keys = ("otel_tools.circuit_breaker.to", "otel_tools.circuit_breaker.reason", SHADOW)
    records = [record for record in otel.logs if record["event"] == "otel_tools.circuit_breaker.transition"]
    counted = Counter(
        {
            tuple(point["attributes"].get(key) for key in keys): point["value"]
            for point in otel.points("otel_tools.circuit_breaker.transitions")
        }
    )
    assert counted == Counter(tuple(record["attributes"].get(key) for key in keys) for record in records)
    return [(*(record["attributes"].get(key) for key in keys), record["severity"]) for record in records]


def pipelines() -> Any:
    engine = active()
    assert engine is not None
    return engine.tools


def test_keys_are_not_on_telemetry(otel):
    """A tool with keys has a circuit for each, counted by state; nothing that is exported tells which (14)."""

    @otel_tools.tool(circuit=Circuit(failures=1), key=lambda arguments: arguments["tenant"].upper())
    def search(query, tenant):
        if tenant == "acme-secret":
            raise Down
        return query

    with pytest.raises(Down):
        search("q", "acme-secret")
    with pytest.raises(CircuitOpen):
        search("q", tenant="acme-secret")
    assert search("q", "other") == "q"
    assert states(otel, "search") == {("open", False): 1, ("closed", False): 2}
    assert transitions(otel) == [("open", "threshold", None, "WARN")]
    [view] = pipelines().get("search").view().keyed
    assert (view.key, view.state) == ("ACME-SECRET", "open")
    assert "acme-secret" not in repr((otel.spans, otel.logs, otel.metrics)).lower()


def test_an_argument_names_the_key(otel):
    """The key may be the name of an argument, however that is passed; calls without it share one circuit (14)."""

    @otel_tools.tool(circuit=Circuit(failures=1), key="tenant")
    def search(query, tenant=None):
        if query == "bad":
            raise Down
        return query

    for arguments in ({"query": "bad", "tenant": 1}, {"query": "bad"}):
        with pytest.raises(Down):
            search(**arguments)
    with pytest.raises(CircuitOpen):
        search("good", 1)
    with pytest.raises(CircuitOpen):
        search("good")
    assert search("good", 2) == "good"


def test_a_key_function_that_fails_is_as_good_as_none(otel, monkeypatch, caplog):
    """A fault in the user's key function leaves the call alone, which uses the tool's common circuit (19)."""
    monkeypatch.setattr(errors, "raise_internal_errors", False)
    monkeypatch.setattr(errors, "_reported", set())
    caplog.set_level(logging.WARNING)

    @otel_tools.tool(circuit=Circuit(failures=1), key=lambda arguments: arguments["tenant"])
    def search(query):
        return query

    assert [search("q"), search("q")] == ["q", "q"]
    assert states(otel, "search") == {("closed", False): 1}
    assert [record.message for record in caplog.records] == [
        "otel-tools failed while reading the key of a tool call; the program goes on (reported once)"
    ]


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_shadows_are_told_apart(recorder, mode):
    """In observe mode what only would be is marked on metrics and log records, and is no warning (property 12)."""
    recorder.instrument(mode=mode)

    @otel_tools.tool
    def search():
        raise Down

    for _ in range(3):
        with pytest.raises(Down):
            search()
    shadow = mode == "observe"
    assert states(recorder, "search") == {("open", shadow): 1}
    assert transitions(recorder) == [("open", "threshold", shadow or None, "INFO" if shadow else "WARN")]
    pipelines().force_open("search", "incident 7", "ann")
    assert states(recorder, "search") == {("forced_open", False): 1}
    recorder.uninstrument()


def test_metrics_only(otel):
    """A circuit in shadow refuses nothing; spans say what it would have done, and it shows as what it is (12)."""

    @otel_tools.tool(circuit=Circuit(failures=2))
    def search():
        raise Down

    pipelines().override("search", Action.METRICS_ONLY, Override("rolling it out", "ann"))
    for _ in range(3):
        with pytest.raises(Down):
            search()
    assert states(otel, "search") == {("metrics_only", False): 1}
    assert transitions(otel) == [
        ("metrics_only", "manual", None, "INFO"),
        ("open", "threshold", True, "INFO"),
    ]
    assert [span["attributes"].get("otel_tools.circuit_breaker.would_refuse") for span in otel.spans] == [
        None,
        None,
        "circuit_open",
    ]


@pytest.mark.parametrize(("slow_after", "outcome"), [(1e-9, "open"), (1e9, "closed")])
def test_a_slow_success_is_a_success_for_everybody_else(otel, slow_after, outcome):
    """A call that took too long counts against the circuit only: its result, span and outcome are those of any (3)."""

    @otel_tools.tool(circuit=Circuit(failures=1, slow_after=slow_after))
    def search():
        return "found"

    assert search() == "found"
    [span] = otel.spans
    assert (span["attributes"]["otel_tools.outcome"], span["status"]) == ("ok", "UNSET")
    assert states(otel, "search") == {(outcome, False): 1}


@pytest.mark.parametrize("shape", ["generator", "async_generator"])
def test_the_readers_own_time_is_not_slow(otel, monkeypatch, shape):
    """What the reader of a generator does between two items does not make the tool a slow one."""
    passed = [0]
    clock = SimpleNamespace(perf_counter_ns=lambda: time.perf_counter_ns() + passed[0], time_ns=time.time_ns)
    monkeypatch.setattr(base, "time", clock)
    settings = Circuit(failures=1, slow_after=1000)

    @otel_tools.tool("search", circuit=settings)
    def search():
        yield 1

    @otel_tools.tool("search", circuit=settings)
    async def search_async():
        yield 1

    async def read():
        async for _ in search_async():
            passed[0] += 10**15

    if shape == "generator":
        for _ in search():
            passed[0] += 10**15
    else:
        asyncio.run(read())
    assert states(otel, "search") == {("closed", False): 1}


def test_a_probe_that_ends_in_another_thread(otel):
    """That a circuit became half-open is told when the probe begins, whichever thread it ends in."""

    @otel_tools.tool(circuit=Circuit(failures=1, reset_after=1e-9))
    def search(fail):
        yield 1
        if fail:
            raise Down

    with pytest.raises(Down):
        list(search(fail=True))
    probe = search(fail=False)
    thread = threading.Thread(target=next, args=(probe,))
    thread.start()
    thread.join()
    assert [to for to, *_ in transitions(otel)] == ["open", "half_open"]
    assert list(probe) == []
    assert [to for to, *_ in transitions(otel)] == ["open", "half_open", "closed"]
