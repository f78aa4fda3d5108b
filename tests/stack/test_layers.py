"""What the layers of the Collector take away, and what they keep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stack import Ports, Stack

from tests.stack.program import Program, program
from tests.stack.servers import QUICK, eventually, get

CANARY = "canary-7f3a"


@pytest.fixture(scope="module")
def layered(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with redaction and tail sampling; only what a policy wants is kept."""
    environment = {**QUICK, "STACK_SAMPLE_PERCENT": "0"}
    directory = tmp_path_factory.mktemp("layered")
    layers = ["redaction", "tail-sampling"]
    with Stack(ports=Ports.free(), directory=directory, layers=layers, environment=environment) as stack:
        yield stack


CONTENT = [
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.prompt.0.content",
    "input.value",
    "traceloop.entity.output",
    "db.password",
    "http.request.header.authorization",
    "oauth.refresh_token",
]
SECRETS = [
    "Authorization: Bearer abcdef0123456789",
    "sk-ant-api03-abcdefghijklmnopqrst",
    "sk-proj-abcdefghijklmnopqrstuvwx",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "xoxb-1234567890-abcdefghijkl",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
    'api_key="hunter2hunter2"',
    "postgres://app:hunter2@db:5432/app",
    "jane.doe@example.com",
    "4111111111111111",
    "5500 0000 0000 0004",
]
HARMLESS = {
    "gen_ai.tool.name": "search",
    "gen_ai.usage.input_tokens": 4111,
    "gen_ai.response.id": "chatcmpl-8f2b1c",
    "otel_tools.session.cost.usd": 0.25,
    "otel_tools.session.unpriced_tokens": 0,
    "server.address": "api.example.com",
    "error.type": "timeout",
}


def _tags(span: dict[str, Any]) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in span["tags"]}


def _trace(stack: Stack, trace_id: str) -> dict[str, Any]:
    [span] = eventually(lambda: get(f"{stack.jaeger}/api/traces/{trace_id}"))["data"][0]["spans"]
    return span


def test_content_is_masked_on_spans_events_and_status(layered: Stack):
    """A canary in content attributes, exception texts and the status reaches Jaeger nowhere; keys and facts remain."""
    secret = dict.fromkeys(CONTENT, f"[{CANARY}\nsecond {CANARY}]")
    exception = {"exception.type": "E", "exception.message": CANARY, "exception.stacktrace": f"a\nb {CANARY}"}
    with program(layered, "content") as agent:
        attributes = {**HARMLESS, **secret, "llm.prompts": [CANARY, CANARY]}
        trace_id = agent.span("execute_tool search", attributes, error=CANARY, event=exception)
    span = _trace(layered, trace_id)
    assert CANARY not in json.dumps(span)
    assert _tags(span).items() >= {**dict.fromkeys(CONTENT, "****\n****"), **HARMLESS}.items()
    assert _tags(span)["otel.status_description"] == "[redacted]"


def test_secrets_are_masked_in_values(layered: Stack):
    """What looks like a key, a token, an address or a payment card is masked under any key; integers too."""
    with program(layered, "secrets") as agent:
        attributes = {f"note.{number}": f"before {secret} after" for number, secret in enumerate(SECRETS)}
        trace_id = agent.span("chat m", {**HARMLESS, **attributes, "card": 4111111111111111})
    tags = _tags(_trace(layered, trace_id))
    left = [secret for number, secret in enumerate(SECRETS) if secret in tags[f"note.{number}"]]
    assert (left, tags["card"]) == ([], "****")
    assert all(tags[f"note.{number}"].startswith("before") for number in range(len(SECRETS)))
    assert tags.items() >= HARMLESS.items()


def test_logs_are_masked_in_body_and_attributes(layered: Stack):
    """A canary in an event's body, in content attributes, and a token in a line do not reach the log file."""
    with program(layered, "masked-logs") as agent:
        agent.log({"messages": [{"content": CANARY}], "note": CANARY}, {"exception.message": CANARY})
        agent.log(f"calling with Bearer {CANARY}", {"gen_ai.input.messages": [{"content": CANARY}]})
        agent.log("a tool was called", HARMLESS)
    text = eventually(lambda: _log(layered, "a tool was called"))
    assert CANARY not in text
    bodies = [
        record["body"]
        for line in text.splitlines()
        for resource in json.loads(line)["resourceLogs"]
        for record in resource["scopeLogs"][0]["logRecords"]
    ]
    assert bodies == [{"stringValue": body} for body in ("[redacted]", "calling with ****", "a tool was called")]


def _log(stack: Stack, awaited: str) -> str:
    text = stack.log_file.read_text() if stack.log_file.exists() else ""
    return text if awaited in text else ""


def _session(agent: Program, **attributes: Any) -> str:
    return agent.span(
        "invoke_agent planner", {f"otel_tools.{key.replace('__', '.')}": it for key, it in attributes.items()}
    )


def test_sampling_keeps_what_is_worth_looking_at(layered: Stack):
    """Errors, expensive, degraded, failed and refused are kept; the ordinary is not (at 0 % of the rest)."""
    with program(layered, "sampled") as agent:
        dropped = {
            "ordinary": _session(agent, session__outcome="completed", session__cost__usd=0.02, outcome="ok"),
            "at the limit": _session(agent, session__outcome="completed", session__cost__usd=0.1, degraded=False),
        }
        kept = {
            "error": agent.span("chat m", {}, error="x"),
            "expensive": _session(agent, session__outcome="completed", session__cost__usd=0.11),
            "refused": _session(agent, outcome="circuit_open"),
            "degraded": _session(agent, outcome="ok", degraded=True),
            "tool errors": _session(agent, session__outcome="completed", session__tool_errors=1),
            "gave up": _session(agent, session__outcome="max_iterations"),
            "slow": _slow(agent),
        }
    for trace_id in kept.values():
        assert eventually(lambda trace_id=trace_id: get(f"{layered.jaeger}/api/traces/{trace_id}"))
    # decisions fall in the order in which traces arrived: those of the dropped ones are made
    assert {why for why, trace_id in dropped.items() if get(f"{layered.jaeger}/api/traces/{trace_id}")} == set()


def _slow(agent: Program) -> str:
    span = agent.tracer.start_span("invoke_agent planner", start_time=1_700_000_000_000_000_000)
    span.end(1_700_000_016_000_000_000)
    return f"{span.get_span_context().trace_id:032x}"
