"""What an operator does and sees, with a store and without one; and the same from code of the process."""

from __future__ import annotations

import dataclasses
import math
import time

import pytest

import otel_tools
from otel_tools import semconv
from otel_tools.control.directives import Change, Directive
from otel_tools.control.file import FileStore
from otel_tools.control.operator import Operator
from otel_tools.control.report import Report, this_process
from otel_tools.engine import Engine
from otel_tools.errors import ConfigError, StoreError
from otel_tools.policy.circuit import Action, CircuitState, Override
from otel_tools.settings import Settings
from otel_tools.telemetry import Telemetry

WHO = {"actor": "ann"}
WHY = {"reason": "pool exhausted", **WHO}
WITHIN_A_YEAR = "expires_after must be more than 0 and at most 31622400 seconds (366 days), or None for never"


@pytest.fixture
def engine(recorder):
    return Engine(Settings(), Telemetry(logger_provider=recorder.logger_provider))


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "base", "default")


def controls(recorder) -> list[tuple[object, ...]]:
    keys = (semconv.CONTROL_TARGET, semconv.CONTROL_ACTION, semconv.CONTROL_LAYER, semconv.CONTROL_ACTOR)
    records = [record["attributes"] for record in recorder.logs if record["event"] == semconv.EVENT_CONTROL]
    return [tuple(record.get(key) for key in keys) for record in records]


def test_with_a_store_it_is_written_for_all(store):
    """What is set comes back as it is in the store, with who did what on record."""
    operator = Operator(store, None)
    before = time.time()
    one = operator.set("tool", "search", Action.DISABLE, expires_after=60, **WHY)
    assert dataclasses.replace(one, set_at=0, expires_at=None, id="") == Directive(
        kind="tool", name="search", action=Action.DISABLE, set_at=0, id="", **WHY
    )
    assert before <= one.set_at <= time.time()
    assert one.expires_at == one.set_at + 60
    assert operator.document().directives == store.read().directives == (one,)
    operator.set("client", "openai", Action.BYPASS, **WHY)
    operator.reset("client", "openai", **WHO)
    operator.lift("tool", "search", Action.DISABLE, **WHO)
    assert operator.document().directives == ()
    assert [dataclasses.replace(change, at=0.0) for change in store.read().changes] == [
        Change(kind=kind, name=name, word=word, actor="ann", at=0.0)
        for kind, name, word in (
            ("tool", "search", "disable"),
            ("client", "openai", "bypass"),
            ("client", "openai", "reset"),
            ("tool", "search", "enable"),
        )
    ]


def test_what_has_expired_is_not_shown_and_swept_away_later(store, monkeypatch):
    """It stays a minute, for machines whose clocks are behind."""
    operator, now = Operator(store, None), time.time()
    operator.set("tool", "search", Action.DISABLE, expires_after=5, **WHY)
    monkeypatch.setattr(time, "time", lambda: now + 30)
    operator.set("tool", "mail", Action.DISABLE, **WHY)
    assert [one.name for one in operator.document().directives] == ["mail"]
    assert [one.name for one in store.read().directives] == ["search", "mail"]
    monkeypatch.setattr(time, "time", lambda: now + 90)
    operator.set("tool", "send", Action.DISABLE, **WHY)
    assert [one.name for one in store.read().directives] == ["mail", "send"]


def test_without_a_store_it_steers_this_process(engine, recorder):
    """In the layer of its own code, audited."""
    operator = Operator(None, engine)
    operator.set("tool", "search", Action.DISABLE, expires_after=60, **WHY)
    operator.set("client", "openai", Action.METRICS_ONLY, **WHY)
    found = operator.document().directives
    assert [(one.kind, one.name, one.action, one.reason, one.actor) for one in found] == [
        ("tool", "search", Action.DISABLE, "pool exhausted", "ann"),
        ("client", "openai", Action.METRICS_ONLY, "pool exhausted", "ann"),
    ]
    assert 59 < found[0].expires_at - time.time() <= 60
    operator.lift("tool", "search", Action.DISABLE, **WHO)
    operator.reset("client", "openai", **WHO)
    assert operator.document().directives == ()
    assert controls(recorder) == [
        ("search", "disable", "process", "ann"),
        ("client:openai", "metrics_only", "process", "ann"),
        ("search", "enable", "process", "ann"),
        ("client:openai", "reset", "process", "ann"),
    ]


def test_with_neither_there_is_nothing_to_steer():
    """As in a program that is not instrumented."""
    operator = Operator(None, None)
    operator.set("tool", "search", Action.DISABLE, **WHY)
    operator.lift("tool", "search", Action.DISABLE, **WHO)
    operator.reset("tool", "search", **WHO)
    assert (operator.reports(), operator.document().directives) == ([], ())


def test_reports_are_of_this_process_and_of_the_others(engine, store):
    """This one is as of now, whatever it told the store."""
    process = this_process("default")
    other = Report(process=dataclasses.replace(process, id="other"), at=time.time())
    store.publish(Report(process=process, at=1.0))
    store.publish(other)
    engine.tools.override("search", Action.DISABLE, Override("why", "me"))
    first, second = Operator(store, engine).reports()
    assert (first.process, [tool.name for tool in first.tools]) == (process, ["search"])
    assert second == other


def test_a_broken_store_leaves_the_report_of_this_process(engine, store, monkeypatch):
    """On call one wants to see what there is; the document says what is wrong."""
    store._base.write_text("")
    assert [one.process for one in Operator(store, engine).reports()] == [this_process("default")]
    for ask in (Operator(store, None).reports, Operator(store, engine).document):
        with pytest.raises(StoreError, match="is no directory"):
            ask()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reason": ""}, "reason must be one line of 1 to 500 printable characters, not ''"),
        ({"reason": "  "}, "reason must be one line"),
        ({"reason": "a\nb"}, "reason must be one line"),
        ({"reason": "\x1b[31mred"}, "reason must be one line"),
        ({"reason": "x" * 501}, "reason must be one line"),
        ({"reason": None}, "reason must be one line"),
        ({"actor": ""}, "actor must be one line"),
        ({"name": ""}, "name must be one line"),
        ({"expires_after": 0}, f"{WITHIN_A_YEAR}, not 0"),
        ({"expires_after": -1.5}, f"{WITHIN_A_YEAR}, not -1.5"),
        ({"expires_after": math.inf}, f"{WITHIN_A_YEAR}, not inf"),
        ({"expires_after": 31_622_401}, f"{WITHIN_A_YEAR}, not 31622401"),
        ({"expires_after": math.nan}, f"{WITHIN_A_YEAR}, not nan"),
        ({"expires_after": "5m"}, "expires_after must be seconds or None, not '5m'"),
        ({"expires_after": True}, "expires_after must be seconds or None, not True"),
    ],
)
def test_what_cannot_be_right_is_refused(store, given, message):
    """One clear error, a ValueError, before anything is written; from code and through the store."""
    arguments = {"name": "search", "actor": "ann", "reason": "why"} | given
    if arguments["reason"] is None and "reason" in given:
        arguments["reason"] = 7
    name = arguments.pop("name")
    for use in (
        lambda: Operator(store, None).set("tool", name, Action.DISABLE, **arguments),
        lambda: otel_tools.disable_tool(name, **arguments),
    ):
        with pytest.raises(ConfigError) as caught:
            use()
        assert isinstance(caught.value, ValueError)
        assert str(caught.value).startswith(message)
    assert store.read().changes == ()


def test_code_steers_tools_and_clients(otel):
    """Each function has its effect in this process, `client:` names LLM clients, and each is audited."""

    def state(name):
        return otel_tools.circuits()[name].circuit.state

    otel_tools.force_open("search", "why", actor="me", expires_after=60)
    assert state("search") is CircuitState.FORCED_OPEN
    otel_tools.reset("search")
    assert state("search") is CircuitState.CLOSED
    otel_tools.bypass("client:openai", "why")
    assert state("client:openai") is CircuitState.DISABLED
    otel_tools.reset("client:openai")
    otel_tools.metrics_only("search", "why")
    assert state("search") is CircuitState.METRICS_ONLY
    otel_tools.disable_tool("search", "why")
    assert otel_tools.circuits()["search"].disabled == Override("why", "code")
    otel_tools.enable_tool("search", actor="me")
    assert otel_tools.circuits()["search"].disabled is None
    assert controls(otel) == [
        ("search", "force_open", "process", "me"),
        ("search", "reset", "process", "code"),
        ("client:openai", "bypass", "process", "code"),
        ("client:openai", "reset", "process", "code"),
        ("search", "metrics_only", "process", "code"),
        ("search", "disable", "process", "code"),
        ("search", "enable", "process", "me"),
    ]
    for use in (otel_tools.enable_tool, otel_tools.reset):
        with pytest.raises(ConfigError, match="name must be one line"):
            use("")


def test_a_fault_in_the_audit_is_none_of_the_callers(engine, monkeypatch):
    """What was set holds."""
    monkeypatch.setattr(otel_tools.errors, "raise_internal_errors", False)
    monkeypatch.setattr(engine.telemetry, "log", lambda *_, **__: 1 / 0)
    Operator(None, engine).set("tool", "search", Action.DISABLE, **WHY)
    assert engine.tools.get("search").view().disabled == Override("pool exhausted", "ann")
