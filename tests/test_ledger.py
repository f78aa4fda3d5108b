"""The ledger of what happened lately, and the report of a process that is made of it."""

from __future__ import annotations

import json
import time

import openai
import pytest

import otel_tools
from otel_tools.control import report
from otel_tools.engine import active
from otel_tools.ledger import Account, Ledger
from otel_tools.policy import Outcome
from otel_tools.sessions import Session
from tests.clients import openai_bodies as bodies


class Broken(Exception):
    pass


def test_calls_are_counted_by_outcome():
    """Each outcome counts; errors and what the dependency's circuit refused make the rate, the rest does not."""
    ledger = Ledger()
    for outcome in (Outcome.OK, Outcome.OK, Outcome.TIMEOUT, Outcome.CIRCUIT_OPEN, Outcome.DISABLED, Outcome.CANCELLED):
        ledger.call("tool", "search", outcome, None, "trace")

    account = ledger.account("tool", "search")

    assert account.outcomes == {"ok": 2, "timeout": 1, "circuit_open": 1, "disabled": 1, "cancelled": 1}
    assert account.error_rate == 0.5
    assert (account.last_error.type, account.last_error.trace_id) == ("timeout", "trace")
    assert ledger.account("client", "search") == Account()


def test_the_rate_forgets_old_calls():
    """Only the last 100 calls make the error rate."""
    ledger = Ledger()
    for outcome in [Outcome.ERROR] * 100 + [Outcome.OK] * 75:
        ledger.call("tool", "search", outcome, "Broken", None)

    assert ledger.account("tool", "search").error_rate == 0.25


def test_names_and_sessions_are_bounded():
    """A model can invent tool names, and a process runs many sessions: old ended ones make room first."""
    ledger = Ledger()
    for number in range(2000):
        ledger.call("tool", f"tool-{number}", Outcome.OK, None, None)
    running = Session("running")
    ledger.session_began(running, None)
    for number in range(200):
        session = Session(str(number))
        ledger.session_began(session, None)
        ledger.session_ended(session)

    assert len(ledger.names("tool")) == 1024
    assert ledger.account("tool", "tool-1999") == Account()
    assert [record.session.name for record in ledger.sessions()[:2]] == ["199", "198"]
    assert len(ledger.sessions()) == 64
    assert ledger.sessions()[-1].session is running


def test_a_report_says_it_all(otel, server):
    """A process tells its tools, circuits, clients and sessions, and nothing of what they were called with."""
    otel.instrument(
        mode="enforce",
        tools={"search": {"circuit": {"failures": 1}, "owner": "team-a", "dependency": "search API"}},
        clients={"openai": {"circuit": {"failures": 5}}},
    )

    @otel_tools.tool(timeout=5)
    def search(query):
        raise Broken(query)

    with otel_tools.session("support", conversation_id="c-1", user_id="user-7"):
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="key", max_retries=0) as client:
            server.reply(bodies.chat("Hello."))
            client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "secret"}])
        with pytest.raises(Broken):
            search("secret")
    otel_tools.disable_tool("search", "it leaks", actor="alice", expires_after=60)
    before = time.time()

    told = report.report_of(active(), report.this_process("shop"))

    [session_span] = [span for span in otel.finished if span.name == "invoke_agent support"]
    trace_id = f"{session_span.context.trace_id:032x}"
    value = json.loads(json.dumps(report.to_json(told)))
    assert report.from_json(value) == told
    assert "secret" not in str(value)
    assert "user-7" not in str(value)
    [circuit, client_circuit] = value["circuits"]
    assert 59 < circuit.pop("retry_after") <= 66
    assert before - 60 < circuit.pop("since") <= time.time()
    assert circuit == {
        "kind": "tool",
        "name": "search",
        "key": None,
        "state": "open",
        "automatic": None,
        "mode": "enforce",
        "failures": 0,
        "reopens": 0,
        "probe_in_flight": False,
        "override": None,
    }
    assert (client_circuit["kind"], client_circuit["name"], client_circuit["state"]) == ("client", "openai", "closed")
    [tool, llm] = value["tools"]
    assert tool["disabled"].pop("expires_at") == pytest.approx(before + 60, abs=30)
    assert tool["last_error"].pop("at") == pytest.approx(before, abs=30)
    assert tool == {
        "kind": "tool",
        "name": "search",
        "mode": "enforce",
        "criticality": "critical",
        "timeout": 5.0,
        "dependency": "search API",
        "owner": "team-a",
        "in_flight": 0,
        "abandoned": 0,
        "max_in_flight": None,
        "disabled": {"action": "disable", "reason": "it leaks", "actor": "alice", "layer": "process"},
        "calls": {"error": 1},
        "recent_calls": 1,
        "error_rate": 1.0,
        "last_error": {"type": f"{Broken.__module__}.Broken", "trace_id": trace_id},
    }
    assert (llm["kind"], llm["name"], llm["calls"]) == ("client", "openai", {"ok": 1})
    [session] = value["sessions"]
    assert (session.pop("started_at"), session.pop("ended_at")) == pytest.approx((before, before), abs=30)
    assert session.pop("cost_usd") > 0
    assert session == {
        "agent": "support",
        "conversation_id": "c-1",
        "trace_id": trace_id,
        "outcome": "completed",
        "input_tokens": 117,
        "output_tokens": 25,
        "unpriced_tokens": 0,
        "inference_calls": 1,
        "tool_calls": 1,
        "tool_errors": 1,
    }


@pytest.mark.parametrize("value", [{}, {"version": 2}, {"version": 1, "process": {}}, {"version": 1, "process": 3}])
def test_what_is_no_report(value):
    """A file of another release or of somebody else is no report."""
    assert report.from_json(value) is None


def test_a_running_session_has_no_outcome(otel):
    """While it runs a session shows what it has used so far, and neither end nor outcome."""
    with otel_tools.session("support"):
        [session] = report.report_of(active(), report.this_process("shop")).sessions
        assert (session.agent, session.ended_at, session.outcome) == ("support", None, None)
        with otel_tools.session("part"):
            assert len(active().ledger.sessions()) == 1
