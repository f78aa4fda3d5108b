"""Metrics: every instrument, with its bucket boundaries."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from otel_tools.semconv.attributes import (
    AGENT_NAME,
    CIRCUIT_FROM,
    CIRCUIT_NAME,
    CIRCUIT_REASON,
    CIRCUIT_SHADOW,
    CIRCUIT_STATE,
    CIRCUIT_TO,
    DEGRADED,
    ERROR_TYPE,
    LIBRARY,
    LIBRARY_VERSION,
    OPERATION_NAME,
    OUTCOME,
    PROVIDER_NAME,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    SERVER_ADDRESS,
    SERVER_PORT,
    SESSION_OUTCOME,
    STATUS,
    TOKEN_TYPE,
    TOOL_NAME,
    TOOL_TYPE,
)

_DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOOL_DURATION = (*_DURATION[:9], 5.0, *_DURATION[9:], 163.84, 327.68)
_AGENT_DURATION = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15.0, 25.6, 51.2, 102.4, 204.8, 409.6)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
_CALLS = (1, 2, 4, 7, 8, 16, 32, 64, 128)
_BYTES = (64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216)
_USD = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metric(NamedTuple):
    """An instrument: its name, kind, unit, what it measures, its attributes and, for a histogram, bucket boundaries.

    The boundaries are the conventions' and, exactly, every threshold that an alert or SLO compares with.
    """

    name: str
    kind: Literal["histogram", "counter", "updown", "observable_updown", "observable_gauge"]
    unit: str
    description: str
    attributes: tuple[str, ...]
    boundaries: tuple[float, ...] = ()


_CLIENT = (OPERATION_NAME, PROVIDER_NAME, REQUEST_MODEL, RESPONSE_MODEL, SERVER_ADDRESS, SERVER_PORT)

CLIENT_DURATION = Metric(
    "gen_ai.client.operation.duration", "histogram", "s", "Duration of LLM calls.", (*_CLIENT, ERROR_TYPE), _DURATION
)
CLIENT_TOKENS = Metric(
    "gen_ai.client.token.usage", "histogram", "{token}", "Tokens of LLM calls.", (*_CLIENT, TOKEN_TYPE), _TOKENS
)
CLIENT_FIRST_CHUNK = Metric(
    "gen_ai.client.operation.time_to_first_chunk",
    "histogram",
    "s",
    "Time to the first chunk with content of a streamed LLM call.",
    _CLIENT,
    _DURATION,
)
CLIENT_PER_CHUNK = Metric(
    "gen_ai.client.operation.time_per_output_chunk",
    "histogram",
    "s",
    "Time between the chunks of a streamed LLM call.",
    _CLIENT,
    _DURATION,
)
TOOL_DURATION = Metric(
    "gen_ai.execute_tool.duration",
    "histogram",
    "s",
    "Time of tool calls that were attempted.",
    (TOOL_NAME, TOOL_TYPE, AGENT_NAME, ERROR_TYPE),
    _TOOL_DURATION,
)
AGENT_DURATION = Metric(
    "gen_ai.invoke_agent.duration", "histogram", "s", "Time of agent runs.", (AGENT_NAME, ERROR_TYPE), _AGENT_DURATION
)
AGENT_INFERENCE_CALLS = Metric(
    "gen_ai.invoke_agent.inference_calls",
    "histogram",
    "{inference_call}",
    "LLM calls of an agent run.",
    (AGENT_NAME,),
    _CALLS,
)
AGENT_TOOL_CALLS = Metric(
    "gen_ai.invoke_agent.tool_calls",
    "histogram",
    "{tool_call}",
    "Tool calls of an agent run, failed ones included, those of its sub-agents excluded.",
    (AGENT_NAME,),
    _CALLS,
)
TOOL_CALLS = Metric(
    "otel_tools.tool.calls", "counter", "{call}", "Tool calls, refused ones too.", (TOOL_NAME, OUTCOME, DEGRADED)
)
TOOL_RESULT_SIZE = Metric(
    "otel_tools.tool.result.size",
    "histogram",
    "By",
    "UTF-8 bytes of what a tool gives back to the model.",
    (TOOL_NAME,),
    _BYTES,
)
TOOL_IN_FLIGHT = Metric("otel_tools.tool.in_flight", "updown", "{call}", "Tool calls running now.", (TOOL_NAME,))
TOOL_ABANDONED = Metric(
    "otel_tools.tool.abandoned",
    "updown",
    "{call}",
    "Tool calls still running after their deadline, whose caller has gone on.",
    (TOOL_NAME,),
)
TOOL_DISABLED = Metric(
    "otel_tools.tool.disabled",
    "observable_updown",
    "{tool}",
    "1 while an operator has a tool switched off, else 0.",
    (TOOL_NAME,),
)
CIRCUIT = Metric(
    "otel_tools.circuit_breaker.state",
    "observable_updown",
    "{state}",
    "Circuits in each state: 1 for the state it is in, 0 for the others, unless a tool has several.",
    (CIRCUIT_NAME, CIRCUIT_STATE, CIRCUIT_SHADOW),
)
CIRCUIT_TRANSITIONS = Metric(
    "otel_tools.circuit_breaker.transitions",
    "counter",
    "{transition}",
    "Changes of a circuit's state.",
    (CIRCUIT_NAME, CIRCUIT_FROM, CIRCUIT_TO, CIRCUIT_REASON, CIRCUIT_SHADOW),
)
CLIENT_COST = Metric(
    "otel_tools.client.cost", "counter", "USD", "Cost of LLM calls with a known price.", (PROVIDER_NAME, REQUEST_MODEL)
)
CLIENT_UNPRICED = Metric(
    "otel_tools.client.unpriced",
    "counter",
    "{token}",
    "Tokens of LLM calls whose model has no known price.",
    (PROVIDER_NAME, REQUEST_MODEL),
)
SESSION_COST_USD = Metric(
    "otel_tools.session.cost", "histogram", "USD", "Cost of a session, its sub-agents included.", (AGENT_NAME,), _USD
)
SESSION_DURATION = Metric(
    "otel_tools.session.duration",
    "histogram",
    "s",
    "Time of a session, by how it ended; a sub-agent's run is a part of the session around it.",
    (AGENT_NAME, SESSION_OUTCOME),
    _AGENT_DURATION,
)
SESSIONS = Metric(
    "otel_tools.sessions", "counter", "{session}", "Finished sessions by how they ended.", (AGENT_NAME, SESSION_OUTCOME)
)
INSTRUMENTATION_STATUS = Metric(
    "otel_tools.instrumentation.status",
    "observable_gauge",
    "{target}",
    "Patched places of each supported library that is in use, by status.",
    (LIBRARY, LIBRARY_VERSION, STATUS),
)

METRICS: Final[tuple[Metric, ...]] = tuple(value for value in list(vars().values()) if isinstance(value, Metric))
"""Every metric; dashboards and alert rules are tested against it."""
