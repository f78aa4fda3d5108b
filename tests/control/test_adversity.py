"""What clocks, forks and stores do to overrides at bad moments, and what is put on record of it."""

from __future__ import annotations

import dataclasses
import logging
import os
import time

import pytest

from otel_tools import errors, semconv
from otel_tools.control import controller as controller_module
from otel_tools.control import redis as redis_store
from otel_tools.control.applied import applied_in
from otel_tools.control.controller import Controller
from otel_tools.control.directives import Directive, Document, from_json
from otel_tools.control.file import FileStore
from otel_tools.control.operator import Operator
from otel_tools.control.redis import RedisStore
from otel_tools.engine import Engine
from otel_tools.errors import StoreError
from otel_tools.policy import forks
from otel_tools.policy.circuit import Action
from otel_tools.policy.pipelines import Pipelines
from otel_tools.settings import Settings
from otel_tools.telemetry import Telemetry
from tests.control.redis_server import Server, missing

WHY = {"reason": "pool exhausted", "actor": "ann"}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def engine(recorder, clock):
    return Engine(Settings(), Telemetry(logger_provider=recorder.logger_provider), clock=clock)


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "base", "shop")


def told(recorder) -> list[tuple[object, ...]]:
    keys = (semconv.CONTROL_TARGET, semconv.CONTROL_ACTION, semconv.CONTROL_ACTOR)
    records = [record["attributes"] for record in recorder.logs if record["event"] == semconv.EVENT_CONTROL]
    return [tuple(record.get(key) for key in keys) for record in records]


def disabled(engine: Engine) -> list[str]:
    return [view.name for view in engine.tools.views() if view.disabled is not None]


# --- clocks ---------------------------------------------------------------------------------------------------------
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_clock_that_is_put_right_repeats_nothing(engine, clock, recorder, monkeypatch):
    """Redis tells the time: a step of this machine's clock neither resets a circuit again nor revives what is over."""
    with Server().running() as server:
        store = RedisStore(server.url, "shop")
        operator, controller = Operator(store, None), Controller(engine, store, "shop")
        controller.tick()
        operator.set("tool", "search", Action.DISABLE, expires_after=60, **WHY)
        operator.reset("tool", "pay", actor="bob")
        controller.tick()
        real = time.time
        monkeypatch.setattr(redis_store.time, "time", lambda: real() + 5)
        controller.tick()
        clock.now += 61
        for _ in range(3):
            controller.tick()
        controller.end()
    assert disabled(engine) == []
    assert told(recorder) == [
        ("search", "disable", "ann"),
        ("pay", "reset", "bob"),
        ("search", "expire_disable", "ann"),
    ]


def test_the_record_names_nobody_who_did_nothing(store, engine, recorder, monkeypatch):
    """What another writer clears away as expired was enabled by nobody, least by who did so last time."""
    operator, controller = Operator(store, None), Controller(engine, store, "shop")
    controller.tick()
    operator.set("tool", "search", Action.DISABLE, **WHY)
    controller.tick()
    operator.lift("tool", "search", Action.DISABLE, actor="eve")
    controller.tick()
    operator.set("tool", "search", Action.DISABLE, expires_after=60, **WHY)
    operator.set("tool", "pay", Action.DISABLE, **WHY)
    controller.tick()
    operator.reset("tool", "pay", actor="eve")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    operator.set("tool", "other", Action.FORCE_OPEN, **WHY)
    store.change(lambda document: document.without(("tool", "pay"), Action.DISABLE))  # by hand
    controller.tick()
    assert told(recorder) == [
        ("search", "disable", "ann"),
        ("search", "enable", "eve"),
        ("search", "disable", "ann"),
        ("pay", "disable", "ann"),
        ("search", "expire_disable", "ann"),
        ("pay", "enable", None),
        ("other", "force_open", "ann"),
        ("pay", "reset", "eve"),
    ]


# --- forks ----------------------------------------------------------------------------------------------------------
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("what", ["override", "lift"])
def test_a_child_that_is_forked_in_the_middle_does_what_is_left(what, engine, monkeypatch):
    """Just before a switch is thrown, or taken back: the child's next look does it."""
    one = Directive(kind="tool", name="search", action=Action.DISABLE, **WHY)
    states = {"override": (Document(), Document((one,))), "lift": (Document((one,)), Document())}
    before, after = states[what]
    applied = applied_in(engine)
    applied.update(before, applied.turn())
    children = []
    steer = getattr(Pipelines, what)

    def fork_first(pipelines: Pipelines, *arguments: object) -> None:
        if not children:
            children.append(os.fork())
            if children[0] == 0:
                applied.update(after, applied.turn())
                os._exit(0 if disabled(engine) == [one.name for one in after.directives] else 1)
        steer(pipelines, *arguments)

    monkeypatch.setattr(Pipelines, what, fork_first)
    applied.update(after, applied.turn())
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    assert disabled(engine) == [one.name for one in after.directives]


# --- stores ---------------------------------------------------------------------------------------------------------
def test_the_end_does_not_say_that_a_store_is_well_again(store, engine, recorder, caplog, monkeypatch):
    """There is nothing to withdraw where nothing could be written."""
    caplog.set_level(logging.WARNING, "otel_tools")
    controller = Controller(engine, store, "shop")

    def fail(_report: object) -> None:
        raise StoreError("gone")

    monkeypatch.setattr(store, "publish", fail)
    controller.tick()
    controller.end()
    assert [record.getMessage() for record in caplog.records] == [
        f"otel-tools cannot write its store, {controller_module._GOES_ON['write']}: gone"
    ]
    assert told(recorder) == [(None, "write_failed", None)]


def test_times_in_a_store_are_finite():
    """A number that JSON does not know would come out again, where nobody can read it."""
    plain = dataclasses.asdict(Directive(kind="tool", name="search", action=Action.DISABLE, **WHY))
    for wrong in (float("nan"), float("inf"), 10**400):
        value = {"version": 1, "overrides": [plain | {"expires_at": wrong}], "resets": []}
        with pytest.raises(StoreError, match="does not hold overrides of otel-tools"):
            from_json(value, "the store")


def test_what_cannot_be_renewed_in_a_child_is_alone_in_that(monkeypatch, caplog):
    """A thread that the system refuses must not leave the locks of all others as they were."""

    class Renewed:
        def __init__(self, error: Exception | None = None) -> None:
            self.error, self.done = error, False

        def after_fork(self) -> None:
            if self.error is not None:
                raise self.error
            self.done = True

    ours = [Renewed(RuntimeError("can't start new thread")), Renewed()]
    monkeypatch.setattr(forks, "_forkables", ours)
    monkeypatch.setattr(errors, "raise_internal_errors", False)
    monkeypatch.setattr(errors, "_reported", set())
    forks._after_fork_in_child()
    assert [one.done for one in ours] == [False, True]
    assert [record.getMessage() for record in caplog.records] == [
        "otel-tools failed while renewing what a forked child inherits; the program goes on (reported once)"
    ]
