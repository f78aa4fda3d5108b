"""What a governed tool gives and raises is the tool's own, whatever the circuit does and whoever listens."""

from __future__ import annotations

import asyncio
import json
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import SpanProcessor

import otel_tools
from otel_tools import errors
from tests.policy.governed import CIRCUIT, LONG, Down, Governed, governed
from tests.recorder import Recorder


@pytest.fixture
def engine(recorder: Recorder) -> Iterator[Governed]:
    """An engine on a virtual clock."""
    with governed(recorder) as found:
        yield found


class Shapes:
    """One body in every shape, and how to get its value."""

    def __init__(self, **policy: Any) -> None:
        self.result: Any = None
        tool = otel_tools.tool("search", **policy)

        async def coroutine() -> Any:
            return self.body()

        def items() -> Any:
            yield from ()
            return self.body()

        def iterate() -> Any:
            try:
                next(tool(items)())
            except StopIteration as stop:
                return stop.value

        awaited = tool(coroutine)
        self.ways: dict[str, Callable[[], Any]] = {
            "sync": tool(self.body),
            "async": lambda: asyncio.run(awaited()),
            "generator": iterate,
        }

    def body(self) -> Any:
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


SHAPES = ["sync", "async", "generator"]


@pytest.mark.parametrize("timeout", [None, LONG])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_admitted_call_keeps_its_own_end(engine: Governed, shape: str, timeout: float | None) -> None:
    """Also the call that opens the circuit, and a probe that fails, raise the tool's own error (property 10)."""
    shapes = Shapes(circuit=CIRCUIT, timeout=timeout)
    for seconds in (0, 0, 0, 60, 120):
        engine.clock.tick(seconds)
        shapes.result = error = Down()
        with pytest.raises(Down) as raised:
            shapes.ways[shape]()
        assert raised.value is error
        assert (error.__context__, error.__cause__, getattr(error, "__notes__", None)) == (None, None, None)
        assert traceback.extract_tb(error.__traceback__)[-1].name == "body"
    engine.clock.tick(240)
    shapes.result = object()
    assert shapes.ways[shape]() is shapes.result
    assert [to for _, to, _, _ in engine.log] == ["open", *["half_open", "open"] * 2, "half_open", "closed"]


@pytest.mark.parametrize("shape", SHAPES)
def test_observing_changes_nothing(recorder: Recorder, shape: str) -> None:
    """Where policy only observes, what an open circuit would refuse ends as the tool ends it (properties 10, 12)."""
    with governed(recorder, "observe") as engine:
        shapes = Shapes()
        for _ in range(6):
            shapes.result = error = Down()
            with pytest.raises(Down) as raised:
                shapes.ways[shape]()
            assert raised.value is error
        assert engine.outcomes == ["error"] * 6
        assert [(from_, to) for from_, to, _, _ in engine.log] == [("closed", "open")]


class Faulty(SpanProcessor):
    """An exporter's processor that raises wherever it is called."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError("exporter is down")

    def on_end(self, span: Any) -> None:
        raise RuntimeError("exporter is down")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("result", ["a value", Down()])
def test_faulty_exporters_change_no_outcome(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, shape: str, result: Any
) -> None:
    """A span processor that raises, at either end, costs a span and neither a call nor its verdict (property 19)."""
    monkeypatch.setattr(errors, "raise_internal_errors", False)
    monkeypatch.setattr(errors, "_reported", set())
    recorder.tracer_provider.add_span_processor(Faulty())
    with governed(recorder):
        shapes = Shapes(circuit=None)
        shapes.result = result
        for _ in range(4):
            if isinstance(result, BaseException):
                with pytest.raises(Down) as raised:
                    shapes.ways[shape]()
                assert raised.value is result
            else:
                assert shapes.ways[shape]() is result


class Blocking(SpanProcessor):
    """An exporter's processor that blocks until it is released, the first time."""

    def __init__(self) -> None:
        self.entered, self.release = threading.Event(), threading.Event()

    def on_end(self, span: Any) -> None:
        if not self.entered.is_set():
            self.entered.set()
            assert self.release.wait(LONG)


def test_a_blocking_exporter_blocks_no_other_call(recorder: Recorder) -> None:
    """While the export of one call's span hangs, other calls of the tool are made and settled (property 19)."""
    blocking = Blocking()
    recorder.tracer_provider.add_span_processor(blocking)
    with governed(recorder) as engine:
        tool = otel_tools.tool("search", circuit=CIRCUIT)(lambda: "ok")
        first = threading.Thread(target=tool)
        first.start()
        try:
            assert blocking.entered.wait(LONG)
            assert [tool() for _ in range(5)] == ["ok"] * 5
            assert engine.pipeline("search").in_flight == 0  # that of the first is settled before it is exported
        finally:
            blocking.release.set()
            first.join(LONG)


def test_a_tool_may_call_itself_and_the_operators(engine: Governed) -> None:
    """Inside a call, policy can be asked and steered: nothing is locked while the tool runs (property 19)."""
    depth = 3

    def body(level: int = 0) -> Any:
        if level < depth:
            return tool(level + 1)
        view = otel_tools.circuits()["search"]
        otel_tools.disable_tool("search", "enough")
        with pytest.raises(otel_tools.ToolDisabled):
            tool(level + 1)
        otel_tools.enable_tool("search")
        return view.in_flight

    tool = otel_tools.tool("search", circuit=CIRCUIT)(body)
    assert tool() == depth + 1
    assert engine.pipeline("search").in_flight == 0


@given(
    st.text('abcdefghijklmnopqrstuvwxyz "{}\\', min_size=12, max_size=40).map(lambda text: f"<{text}>"),
    st.sampled_from([Down, ValueError, TimeoutError, KeyError]),
)
def test_the_model_reads_nothing_of_the_dependency(secret: str, kind: type[Exception]) -> None:
    """Failing or refused, an optional tool gives a note without its exception's text or its arguments (20)."""
    with governed():
        notes = []
        for policy in ({}, {"timeout": LONG}, {"is_failure": lambda value: True}):

            def search(query: str) -> str:
                raise kind(secret)

            name = f"search {len(notes)}"
            tool = otel_tools.tool(name, criticality="optional", circuit=CIRCUIT, **policy)(search)
            notes += [tool(secret) for _ in range(5)]
            otel_tools.disable_tool(name, "see the incident")
            notes.append(tool(secret))
        reasons = {json.loads(note)["error"]["reason"] for note in notes}
        assert reasons == {"error", "circuit_open", "disabled"}
        assert not any(secret in text for note in notes for text in (note, json.dumps(json.loads(note))))
        assert not any(json.dumps(secret)[1:-1] in note for note in notes)
