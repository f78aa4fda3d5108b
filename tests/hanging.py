"""What tests of deadlines share: a place to hang, spans of calls that were given up, accounts that are even again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import otel_tools

LONG = 60.0
"""Seconds; no test waits that long."""
SHORT = 0.4
"""Seconds; what hangs is given up after that."""

TOOL = {"gen_ai.tool.name": "work"}


class Hanging:
    """A place where a tool hangs until the test lets it go on, and whether it was cleaned up."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.release = threading.Event()
        self.closed = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.release.wait(LONG)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """A place to hang, left at the end of the test at the latest."""
    hanging = Hanging()
    yield hanging
    hanging.release.set()


def until(condition: Callable[[], Any]) -> None:
    """Wait for what a worker is about to do."""
    for _ in range(20_000):
        if condition():
            return
        threading.Event().wait(0.003)
    raise AssertionError(condition)


def nothing_left(otel) -> None:
    """All workers are back, and every account of them says so."""
    until(lambda: otel_tools.circuits()["work"].in_flight == 0)
    view = otel_tools.circuits()["work"]
    assert (view.in_flight, view.abandoned) == (0, 0)
    until(lambda: otel.points("otel_tools.tool.abandoned") in ([], [{"attributes": TOOL, "value": 0}]))
    assert otel.points("otel_tools.tool.in_flight") == [{"attributes": TOOL, "value": 0}]


def span_of(outcome, *, status="UNSET", **attributes):
    return {
        "name": "execute_tool work",
        "kind": "INTERNAL",
        "status": status,
        "parent": None,
        "events": [],
        "attributes": {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "work",
            "gen_ai.tool.type": "function",
            "otel_tools.circuit_breaker.state": "closed",
            "otel_tools.outcome": outcome,
            **attributes,
        },
    }


def timed_out(size: int | None = None, **limits):
    """The span of a call that was given up after items of *size* bytes."""
    names = {"total": "otel_tools.timeout.duration", "item": "otel_tools.timeout.item_duration"}
    attributes = {names[key]: value for key, value in limits.items()}
    if size is not None:
        attributes["otel_tools.tool.result.size"] = size
    return span_of("timeout", status="ERROR", **{"error.type": "timeout"}, **attributes)


LIMITS = {"total": {"timeout": SHORT}, "item": {"item_timeout": SHORT}}
MESSAGES = {
    "total": "work did not finish within 0.4 s; it may still have taken effect",
    "item": "work did not give its next item within 0.4 s",
}
