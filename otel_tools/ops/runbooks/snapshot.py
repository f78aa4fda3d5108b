"""What the running processes say of a tool at this moment; printed, never kept in a file."""

from __future__ import annotations

import time
from collections.abc import Iterator

from otel_tools.ops.runbooks import addresses
from otel_tools.ops.runbooks.facts import Facts, Row
from otel_tools.ops.runbooks.markdown import code, link, page, plain


def snapshot(facts: Facts) -> str:
    """The section."""
    registry = facts.registry
    problem = f"**Not all is known**: {plain(registry.problem)}." if registry.problem else ""
    if not registry.processes:
        unknown = (
            "**No running process has reported.** Unknown now: whether it is called at all, whether it is disabled or "
            "its circuit open, its last error, and what the program's own code says of its policy."
        )
        return page("## Right now", problem or unknown).rstrip()
    count = len(registry.processes)
    asked = f"At {_time(registry.at)}, {count} process{'' if count == 1 else 'es'} reporting."
    row = facts.row
    lines = ["* no call of it yet"] if row is None else [f"* {line}" for line in _lines(facts, row)]
    return page("## Right now", problem, asked, "\n".join(lines)).rstrip()


def _lines(facts: Facts, row: Row) -> Iterator[str]:
    hand = row["disabled"]
    if hand is not None:
        until = "it is enabled" if hand["expires_at"] is None else _time(hand["expires_at"])
        share = f"in {row['disabled_in']} of {len(facts.registry.processes)} processes"
        yield f"**disabled** {share} by {plain(hand['actor'])} until {until}: {plain(hand['reason'])}"
    for circuit in facts.registry.circuits:
        if circuit["name"] == facts.name and (circuit["key"] is None or circuit["state"] != "closed"):
            yield _circuit(circuit)
    counts = ", ".join(f"{count} {code(outcome)}" for outcome, count in sorted(row["calls"].items())) or "none"
    rate = row["error_rate"]
    share = "" if rate is None else f"; {rate:.0%} errors among the last {row['recent_calls']}"
    yield f"calls since the processes began: {counts}{share}"
    yield f"running now: {row['in_flight']}, left behind after a timeout: {row['abandoned']}"
    error = row["last_error"]
    if error is not None:
        url = addresses.trace(facts, error["trace_id"]) if error["trace_id"] else None
        where = f" ({link('its trace', url)})" if url else ""
        yield f"last error: {code(error['type'])} at {_time(error['at'])}{where}"


def _circuit(circuit: Row) -> str:
    key = "" if circuit["key"] is None else f" of {code(circuit['key'])}"
    hand = circuit["override"]
    by = "" if hand is None else f", set by {plain(hand['actor'])}: {plain(hand['reason'])}"
    retry = "" if circuit["retry_at"] is None else f", next try at {_time(circuit['retry_at'])}"
    return f"circuit{key}: **{circuit['state'].replace('_', ' ')}** since {_time(circuit['since'])}{retry}{by}"


def _time(value: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
