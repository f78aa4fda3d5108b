"""What is left to do when an incident with a tool is over."""

from __future__ import annotations

from typing import Final

from otel_tools import semconv as names
from otel_tools.ops.runbooks import addresses, queries
from otel_tools.ops.runbooks.facts import Facts
from otel_tools.ops.runbooks.markdown import code, link
from otel_tools.ops.translation import SERVICE_NAME
from otel_tools.policy.outcome import Outcome

_EVIDENCE: Final = (
    "**Evidence**, before it is gone (Prometheus keeps weeks, Jaeger less): a trace of each kind of error, the log "
    f"records {code(names.EVENT_CONTROL)} (who set what, when and why), {code(names.EVENT_TRANSITION)} and "
    f"{code(names.EVENT_TOOL_CALL)}, and what the two commands with `--json` said."
)
_MAKE_IT_LAST: Final = (
    "**Make it last**: what was set by hand and shall stay belongs into `otel-tools.yaml` (limits, `criticality: "
    "optional`); then `reset` or `enable`, and render this page again."
)


def after(facts: Facts) -> str:
    """The section."""
    points = (_EVIDENCE, _in_flight(facts), _timeouts(facts), _sessions(facts), _MAKE_IT_LAST)
    return "\n".join(f"* {point}" for point in points)


def _in_flight(facts: Facts) -> str:
    tool = addresses.matchers(facts)
    running, abandoned = (
        code(queries.total(queries.series(metric, *tool))) for metric in (names.TOOL_IN_FLIGHT, names.TOOL_ABANDONED)
    )
    return (
        "**Calls that were in flight**: what was set refuses new calls and stops none that runs. Wait until "
        f"{running} and {abandoned} are 0 before you count on nothing more being done."
    )


def _timeouts(facts: Facts) -> str:
    spans = f"spans with `{names.OUTCOME}={Outcome.TIMEOUT}`"
    url = addresses.traces(facts, {names.OUTCOME: Outcome.TIMEOUT.value})
    return (
        f"**Timeouts may have taken effect**: go through {link(spans, url) if url else spans} and the log records "
        f"{code(names.EVENT_LATE_RESULT)} (work that finished after its deadline), and look in the dependency itself "
        f"what was done, by trace id or {code(names.TOOL_CALL_ID)}. Only then repeat by hand."
    )


def _sessions(facts: Facts) -> str:
    service = () if facts.service is None else (queries.equals(SERVICE_NAME, facts.service),)
    ended = queries.total(queries.increase(names.SESSIONS, *service, window="1h"), names.SESSION_OUTCOME)
    return f"**Sessions that failed meanwhile** were not repeated by anybody: {code(ended)}."
