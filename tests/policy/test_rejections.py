"""A rejected call costs next to nothing, waits for nobody and leaves nothing behind."""

from __future__ import annotations

import contextlib
import gc
import threading
import types
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import otel_tools
from otel_tools.errors import CircuitOpen
from otel_tools.policy import Pipeline
from tests.policy.governed import CIRCUIT, LONG, Down, Governed, governed
from tests.recorder import Recorder


@pytest.fixture
def engine(recorder: Recorder) -> Iterator[Governed]:
    """An engine on a virtual clock."""
    with governed(recorder) as found:
        yield found


def _fails(*_: Any) -> None:
    raise Down


def _open(tool: Any) -> None:
    for _ in range(3):
        with contextlib.suppress(Down):
            tool()


def _frames(error: BaseException) -> list[str]:
    names, traceback = [], error.__traceback__
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    return names


def test_a_rejection_waits_for_no_probe(engine: Governed) -> None:
    """While a probe hangs, 16 threads are all refused before it comes back, with the lease's time (property 11)."""
    probing, release = threading.Event(), threading.Event()

    def body() -> None:
        if not probing.is_set():
            raise Down

    def probe() -> None:
        probing.set()
        assert release.wait(LONG)

    tool = otel_tools.tool("search", circuit=CIRCUIT)(lambda: body() if not engine.clock.now > 1001 else probe())
    _open(tool)
    engine.clock.tick(60)
    prober = threading.Thread(target=tool)
    prober.start()
    assert probing.wait(LONG)
    refused: list[Any] = []

    def call() -> None:
        try:
            tool()
        except CircuitOpen as error:
            refused.append((error.retry_after, release.is_set()))

    callers = [threading.Thread(target=call) for _ in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(LONG)
    release.set()
    prober.join(LONG)
    assert refused == [(60.0, False)] * 16


def test_tracebacks_do_not_grow(engine: Governed) -> None:
    """Each of 10 000 rejections has an exception of its own, and all have the same frames (property 11)."""
    tool = otel_tools.tool("search", circuit=CIRCUIT)(_fails)
    _open(tool)
    engine.recorder.clear()
    seen: list[tuple[CircuitOpen, tuple[str, ...]]] = []
    for number in range(10_000):
        try:
            tool()
        except CircuitOpen as error:
            if number % 100 == 0:
                seen.append((error, tuple(_frames(error))))
    assert len({id(error) for error, _ in seen}) == 100
    assert len({frames for _, frames in seen}) == 1
    assert {(error.__context__, error.__cause__) for error, _ in seen} == {(None, None)}


class _Argument:
    """Something that can be watched."""


def test_no_call_is_kept_by_its_policy(engine: Governed) -> None:
    """Neither a frame, a traceback nor an exception of a past call hangs on the breaker, nor do arguments (11)."""
    tool = otel_tools.tool("search", circuit=CIRCUIT)(_fails)
    gc.collect()
    gc.disable()
    try:
        watched = []
        for _ in range(5):  # three failures, two rejections
            argument = _Argument()
            watched.append(weakref.ref(argument))
            with contextlib.suppress(Down, CircuitOpen):
                tool(argument)
            del argument
        assert [reference() for reference in watched] == [None] * 5
        assert _reachable(engine.pipeline("search"), (types.FrameType, types.TracebackType, BaseException)) == []
    finally:
        gc.enable()


def test_a_frame_that_is_kept_would_be_found() -> None:
    """The search that finds nothing above does find something where there is something (property 11)."""
    keeper = [types.SimpleNamespace(error=None)]
    try:
        _fails()
    except Down as error:
        keeper[0].error = error
    found = _reachable(keeper, (types.FrameType, types.TracebackType, BaseException))
    assert {type(one) for one in found} >= {types.FrameType, types.TracebackType, Down}
    keeper.clear()


def _reachable(root: Any, kinds: tuple[type, ...]) -> list[Any]:
    """Objects of these kinds that *root* leads to, through its own data: not through modules, classes and code."""
    found, seen, pending = [], set(), [root]
    beyond = (types.ModuleType, type, types.FunctionType, types.MethodType, types.BuiltinFunctionType, weakref.ref)
    while pending:
        one = pending.pop()
        if id(one) in seen or isinstance(one, beyond):
            continue
        seen.add(id(one))
        if isinstance(one, kinds):
            found.append(one)
        pending += gc.get_referents(one)
    return found


def test_the_search_looks_at_the_whole_state(engine: Governed) -> None:
    """From a pipeline the search above comes to its breaker's state and its running calls (property 11)."""
    pipeline: Pipeline = engine.pipeline("search")
    attempt = pipeline.admit()
    assert attempt in _reachable(pipeline, (type(attempt),))
    assert pipeline.policy in _reachable(pipeline, (type(pipeline.policy),))
