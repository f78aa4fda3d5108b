"""The background thread of a process: what it applies, what it tells, and what it does when the store fails."""

from __future__ import annotations

import gc
import json
import logging
import os
import threading
import time
import weakref

import pytest

import otel_tools
from otel_tools import semconv
from otel_tools.control.applied import applied_in
from otel_tools.control.controller import Controller
from otel_tools.control.directives import Change, Directive, Document
from otel_tools.control.file import FileStore
from otel_tools.control.operator import Operator
from otel_tools.control.stores import service_of
from otel_tools.engine import Engine, activate, active
from otel_tools.errors import StoreError
from otel_tools.policy.circuit import Action, CircuitState
from otel_tools.settings import Control, Settings
from otel_tools.telemetry import Telemetry

REASON = "pool exhausted"
GENEROUS = 30.0


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "base", "shop")


@pytest.fixture
def operator(store):
    """Somebody in another process."""
    return Operator(store, None)


@pytest.fixture
def engine(recorder):
    return Engine(Settings(), Telemetry(recorder.tracer_provider, recorder.meter_provider, recorder.logger_provider))


@pytest.fixture
def controller(engine, store):
    """A controller whose looks at the store the test makes itself."""
    return Controller(engine, store, "shop")


def disable(operator, name="search", **given) -> Directive:
    return operator.set("tool", name, Action.DISABLE, **{"reason": REASON, "actor": "ann"} | given)


def disabled(engine) -> dict[str, str]:
    return {view.name: view.disabled.reason for view in engine.tools.views() if view.disabled is not None}


def controls(recorder) -> list[dict[str, object]]:
    prefix = "otel_tools.control."
    records = [record for record in recorder.logs if record["event"] == semconv.EVENT_CONTROL]
    return [{key.removeprefix(prefix): value for key, value in record["attributes"].items()} for record in records]


def eventually(condition) -> None:
    """Wait until another thread has done something."""
    until = time.monotonic() + GENEROUS
    while not condition():
        assert time.monotonic() < until, "it has not happened"
        time.sleep(0.005)


# --- applying -------------------------------------------------------------------------------------------------------
def test_what_is_set_is_applied_once_and_lifted(controller, engine, operator, recorder):
    """Each change goes on record with who did it, once, however often the store is looked at."""
    disable(operator)
    for _ in range(3):
        controller.tick()
    assert disabled(engine) == {"search": REASON}
    operator.lift("tool", "search", Action.DISABLE, actor="bob")
    for _ in range(3):
        controller.tick()
    assert disabled(engine) == {}
    assert controls(recorder) == [
        {"target": "search", "action": "disable", "layer": "store", "actor": "ann", "reason": REASON},
        {"target": "search", "action": "enable", "layer": "store", "actor": "bob"},
    ]


def test_circuits_and_clients_are_steered_too(controller, engine, operator, recorder):
    """A forced-open circuit of a client refuses, and its transition is written down."""
    operator.set("client", "openai", Action.FORCE_OPEN, reason=REASON, actor="ann", expires_after=60)
    controller.tick()
    pipeline = engine.client_pipeline("openai")
    assert pipeline is not None
    assert pipeline.view().circuit.state is CircuitState.FORCED_OPEN
    events = [record["event"] for record in recorder.logs]
    assert events == [semconv.EVENT_CONTROL, semconv.EVENT_TRANSITION]
    [told] = controls(recorder)
    assert 59 < told.pop("expires_after") <= 60
    assert told == {
        "target": "client:openai",
        "action": "force_open",
        "layer": "store",
        "actor": "ann",
        "reason": REASON,
    }


def test_a_new_override_takes_the_place_of_the_old_one(controller, engine, operator):
    """The last word counts."""
    disable(operator)
    controller.tick()
    disable(operator, reason="still so")
    controller.tick()
    assert disabled(engine) == {"search": "still so"}


def test_what_code_of_the_process_has_set_is_left_alone(controller, engine, operator):
    """Only what came from the store is lifted with it."""
    engine.tools.disable("search", "by code", "code")
    disable(operator)
    controller.tick()
    operator.lift("tool", "search", Action.DISABLE, actor="ann")
    controller.tick()
    assert disabled(engine) == {"search": "by code"}


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_expiry_is_by_the_time_that_was_left(store, operator, recorder, monkeypatch):
    """A jump of the wall clock neither ends what is in force nor prolongs it, and its end goes on record."""
    clock = Clock()
    engine = Engine(Settings(), Telemetry(logger_provider=recorder.logger_provider), clock=clock)
    controller = Controller(engine, store, "shop")
    wall = time.time()
    disable(operator, expires_after=60)
    controller.tick()
    monkeypatch.setattr(time, "time", lambda: wall + 3600)
    controller.tick()
    clock.now += 50
    controller.tick()
    assert disabled(engine) == {"search": REASON}
    monkeypatch.setattr(time, "time", lambda: wall - 3600)
    clock.now += 11
    controller.tick()
    controller.tick()
    assert disabled(engine) == {}
    assert [told["action"] for told in controls(recorder)] == ["disable", "expire_disable"]


def test_what_has_expired_is_not_applied(controller, engine, store):
    """As after a restart."""
    past = Directive(
        kind="tool", name="search", action=Action.DISABLE, reason="x", actor="me", expires_at=time.time() - 1
    )
    store.change(lambda document: document.with_directive(past))
    controller.tick()
    assert disabled(engine) == {}


def test_a_reset_is_done_once(controller, engine, operator, recorder):
    """It closes the circuit and lifts what is set on it, and does not come again with the next look."""
    controller.tick()
    operator.set("tool", "search", Action.FORCE_OPEN, reason=REASON, actor="ann")
    controller.tick()
    operator.reset("tool", "search", actor="bob")
    controller.tick()
    assert engine.tools.get("search").view().circuit.state is CircuitState.CLOSED
    engine.tools.force_open("search", "by code", "code")
    controller.tick()
    assert engine.tools.get("search").view().circuit.state is CircuitState.FORCED_OPEN
    assert [(told["action"], told["actor"]) for told in controls(recorder)] == [
        ("force_open", "ann"),
        ("lift_force_open", "bob"),
        ("reset", "bob"),
    ]


def test_a_reset_of_before_the_process_began_is_none_of_its_own(engine, store, recorder):
    """It found its circuits closed."""
    store.change(lambda document: document.with_reset(("tool", "search"), time.time() - 5))
    Controller(engine, store, "shop").tick()
    assert controls(recorder) == []


def test_no_more_than_1024_overrides_are_applied(controller, engine, store, operator):
    """A store that was filled by something else does not fill the process; and an operator is told."""
    many = tuple(
        Directive(kind="tool", name=f"tool-{number}", action=Action.DISABLE, reason="x", actor="me")
        for number in range(1030)
    )
    store.change(lambda document: Document(many))
    controller.tick()
    assert len(disabled(engine)) == 1024
    with pytest.raises(otel_tools.ConfigError, match="1024 overrides are set"):
        disable(operator)


def test_an_operator_in_the_process_needs_no_look_at_the_store(controller, engine, store, recorder):
    """It is applied at once, and the controller does not do it again."""
    here = Operator(store, engine)
    disable(here)
    assert disabled(engine) == {"search": REASON}
    controller.tick()
    here.lift("tool", "search", Action.DISABLE, actor="bob")
    assert disabled(engine) == {}
    assert [told["action"] for told in controls(recorder)] == ["disable", "enable"]


def test_an_older_document_does_not_undo_a_newer_one(controller, engine, store, operator):
    """What was read before a change and comes after it is passed over."""
    applied = controller._applied
    turn = applied.turn()
    old = store.read()
    disable(Operator(store, engine))
    assert not applied.update(old, turn)
    assert disabled(engine) == {"search": REASON}


def test_an_engine_that_is_given_up_is_not_kept():
    """Instrumenting again and again does not add up (providers may keep the engines that they observe)."""

    class Stub:
        clock = Clock()

    engine = Stub()
    applied_in(engine).update(Document(), 1)
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None


# --- the store out of order -----------------------------------------------------------------------------------------
def test_a_damaged_store_keeps_the_last_good_state_and_is_told_once(
    controller, engine, operator, store, recorder, caplog
):
    """What was disabled stays so; when the file is good again, that is told and applied."""
    caplog.set_level(logging.WARNING, "otel_tools")
    disable(operator)
    controller.tick()
    good = store._path.read_text()
    store._path.write_text("{")
    for _ in range(3):
        controller.tick()
    assert disabled(engine) == {"search": REASON}
    with pytest.raises(StoreError):
        operator.lift("tool", "search", Action.DISABLE, actor="bob")
    store._path.write_text(good)
    operator.lift("tool", "search", Action.DISABLE, actor="bob")
    for _ in range(3):
        controller.tick()
    assert disabled(engine) == {}
    damaged = f"{store.label} is damaged, it holds no JSON. Put it right, or remove it, which lifts all overrides"
    assert caplog.messages == [
        f"otel-tools cannot read its store, what operators set last stays in force: {damaged}",
        f"otel-tools can read its store again: {store.label}",
    ]
    assert [told["action"] for told in controls(recorder)] == ["disable", "read_failed", "enable", "read_recovered"]


def test_a_store_that_cannot_be_written_to_still_steers(controller, engine, operator, monkeypatch, caplog):
    """The process is not seen, which is told once, and obeys all the same."""
    caplog.set_level(logging.WARNING, "otel_tools")

    def refuse(*_):
        raise StoreError("the disk is full")

    monkeypatch.setattr(FileStore, "publish", refuse)
    disable(operator)
    for _ in range(3):
        controller.tick()
    assert disabled(engine) == {"search": REASON}
    assert caplog.messages == ["otel-tools cannot write its store, this process is not seen there: the disk is full"]


# --- reporting ------------------------------------------------------------------------------------------------------
def test_it_reports_what_an_operator_waits_for_at_once(engine, store, operator, monkeypatch):
    """Overrides and circuits at once, counters at most every two seconds, and a heartbeat every five."""
    published = []
    monkeypatch.setattr(FileStore, "publish", lambda self, report: published.append(report))
    now = Clock()
    monkeypatch.setattr(time, "monotonic", now)
    controller = Controller(engine, store, "shop")

    def counts(seconds: float) -> int:
        now.now += seconds
        before = len(published)
        controller.tick()
        return len(published) - before

    assert counts(0) == 1
    assert counts(0.5) == 0
    disable(operator)
    assert counts(0.5) == 1
    engine.ledger.call("tool", "search", otel_tools.policy.Outcome.OK, None, None)
    assert counts(1.0) == 0
    assert counts(1.0) == 1
    assert counts(4.9) == 0
    assert counts(0.2) == 1


# --- in a program ---------------------------------------------------------------------------------------------------
@pytest.fixture
def program(tmp_path, recorder):
    """Instruments with a store, a quick one, and gives a tool and somebody who steers it."""

    def start(**settings):
        control = {"store": str(tmp_path / "base"), "service": "shop", "interval": 0.02}
        recorder.instrument(control=control, **settings)

        @otel_tools.tool
        def search(query):
            return query

        return search, Operator(FileStore(tmp_path / "base", "shop"), None)

    yield start
    otel_tools.uninstrument()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "otel-tools-control"]


def test_the_first_call_is_refused_when_the_tool_was_disabled_before(program, recorder):
    """Instrumenting starts no thread; the first call does, and obeys already; the span and the metric say why."""
    search, operator = program()
    assert threads() == []
    disable(operator, expires_after=60)
    with pytest.raises(otel_tools.ToolDisabled):
        search("x")
    assert threads() == ["otel-tools-control"]
    attributes = recorder.span()["attributes"]
    assert (attributes[semconv.OUTCOME], attributes[semconv.REFUSAL_DETAIL]) == ("disabled", REASON)
    [point] = recorder.metrics["otel_tools.tool.calls"]
    assert (point["attributes"][semconv.OUTCOME], point["value"]) == ("disabled", 1)


def test_a_running_program_obeys_and_recovers_by_itself(program):
    """It is called again when the time is over, with nobody doing anything."""
    search, operator = program()
    assert search("x") == "x"
    disable(operator, expires_after=0.2)

    def refused() -> bool:
        try:
            search("x")
        except otel_tools.ToolDisabled:
            return True
        return False

    eventually(refused)
    eventually(lambda: not refused())


def test_the_end_withdraws_the_report(program):
    """Who looks sees the process while it runs and not after."""
    search, operator = program()
    search("x")
    eventually(operator.reports)
    assert [one.process.pid for one in operator.reports()] == [os.getpid()]
    otel_tools.uninstrument()
    eventually(lambda: not operator.reports())
    eventually(lambda: not threads())


def test_a_slow_store_does_not_hold_up_the_end(program, monkeypatch):
    """The program ends; the report expires."""
    reached, going_on = threading.Event(), threading.Event()

    def hang(*_):
        reached.set()
        assert going_on.wait(GENEROUS)

    monkeypatch.setattr(FileStore, "publish", hang)
    search, _ = program()
    search("x")
    assert reached.wait(GENEROUS)
    otel_tools.uninstrument()
    assert threads() == ["otel-tools-control"]  # `uninstrument` came back all the same
    going_on.set()
    eventually(lambda: not threads())


def test_no_store_is_no_thread(recorder):
    """With `store: false` the process is alone."""
    recorder.instrument(control={"store": False})
    try:
        assert otel_tools.tool(lambda: 1)() == 1
        assert threads() == []
    finally:
        otel_tools.uninstrument()


def test_a_store_that_there_cannot_be_is_told_and_the_program_goes_on(recorder, caplog):
    """With what is allowed."""
    recorder.instrument(control={"store": "mysql://x"})
    try:
        assert otel_tools.tool(lambda: 1)() == 1
        eventually(lambda: caplog.messages)
    finally:
        otel_tools.uninstrument()
    what = "control.store: mysql:// is no store; use file, a directory, or a redis:// URL"
    assert caplog.messages == [f"otel-tools goes on without what operators set: {what}"]


def test_a_program_that_only_decorates_is_steered_too(tmp_path, monkeypatch):
    """Without `instrument`, the engine that the first decorated call makes is followed."""
    base = tmp_path / "base"
    monkeypatch.setenv("OTEL_TOOLS_STORE", str(base))
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setattr("otel_tools.engine._off", False)
    monkeypatch.setattr("otel_tools.engine._active", None)
    disable(Operator(FileStore(base, "shop"), None))

    @otel_tools.tool
    def search():
        return 1

    try:
        with pytest.raises(otel_tools.ToolDisabled):
            search()
    finally:
        activate(None)


def test_a_forked_child_is_a_process_of_its_own(program, tmp_path):
    """It has its own thread from its first call on, its own report, and sees what is set after the fork."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    search, operator = program()
    search("x")
    eventually(operator.reports)
    reading, writing = os.pipe()
    to_child, from_parent = os.pipe()
    child = os.fork()
    if child == 0:
        told = {"threads": threads(), "first": search("x")}
        told["then"] = threads()
        eventually(lambda: len(operator.reports()) == 2)
        os.write(writing, b".")
        os.read(to_child, 1)
        try:
            eventually(lambda: active().tools.get("search").view().disabled)
            told["disabled"] = True
        finally:
            os.write(writing, json.dumps(told).encode())
            os._exit(0)
    assert os.read(reading, 1) == b"."
    assert sorted(one.process.pid for one in operator.reports()) == sorted([os.getpid(), child])
    disable(operator)
    os.write(from_parent, b".")
    told = json.loads(os.read(reading, 10_000))
    os.waitpid(child, 0)
    for end in (reading, writing, to_child, from_parent):
        os.close(end)
    assert told == {"threads": [], "first": "x", "then": ["otel-tools-control"], "disabled": True}
    assert [one.process.pid for one in operator.reports()] == [os.getpid()]


def test_the_service_is_what_the_resource_says(recorder, monkeypatch):
    """The configuration goes before it, and the environment names it where no provider does."""

    def service(control=None, provider=None) -> str:
        return service_of(Engine(Settings(control=control or Control()), Telemetry(provider)))

    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)
    assert service() == "default"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=the%20shop")
    assert service() == "the shop"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    assert service() == "shop"
    assert service(provider=recorder.tracer_provider) == "test"
    assert service(Control(service="configured"), recorder.tracer_provider) == "configured"


def test_changes_are_kept_for_the_record():
    """The last fifty, and who did what last."""
    document = Document()
    for number in range(60):
        document = document.noting(
            Change(kind="tool", name="search", word="disable", actor=f"a{number}", at=float(number))
        )
    assert [one.actor for one in document.changes] == [f"a{number}" for number in range(10, 60)]
    last = document.last(("tool", "search"), "disable")
    assert (last and last.actor, document.last(("client", "search"), "disable")) == ("a59", None)
