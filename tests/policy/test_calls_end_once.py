"""Every call that policy admits is reported to it exactly once, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

import otel_tools
from otel_tools.policy import Verdict
from tests.policy.governed import CIRCUIT, LONG, Doorstep, Down, governed
from tests.recorder import Recorder

SHORT = 0.005
OK, FAILURE, NEUTRAL = Verdict.SUCCESS, Verdict.FAILURE, Verdict.NEUTRAL


class Ends:
    """One tool in every shape, and the ways in which a call of it can end."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.gate = threading.Event()
        self.tool = otel_tools.tool("search", circuit=CIRCUIT)
        self.in_time = otel_tools.tool("search", circuit=CIRCUIT, timeout=SHORT)

    def body(self) -> str:
        if self.error is not None:
            raise self.error
        return "ok"

    async def coroutine(self) -> str:
        await asyncio.sleep(0)
        return self.body()

    def returned(self) -> Coroutine[Any, Any, str]:
        return self.coroutine()

    async def hangs(self) -> None:
        await asyncio.get_running_loop().create_future()

    def items(self) -> Iterator[str]:
        yield "item"
        yield self.body()

    async def aitems(self) -> AsyncIterator[str]:
        yield "item"
        yield self.body()

    # --- ways to end ----------------------------------------------------------------------------------------------
    def sync(self) -> None:
        self.tool(self.body)()

    def late(self) -> None:
        try:
            self.in_time(lambda: self.gate.wait(LONG))()
        finally:
            self.gate.set()

    def awaited(self) -> None:
        asyncio.run(self.tool(self.coroutine)())

    def expired(self) -> None:
        asyncio.run(self.in_time(self.hangs)())

    def cancelled(self) -> None:
        async def run() -> None:
            task = asyncio.ensure_future(self.tool(self.hangs)())
            await asyncio.sleep(0)
            task.cancel()
            await task

        asyncio.run(run())

    def later(self) -> None:
        async def run() -> None:
            await self.tool(self.returned)()

        asyncio.run(run())

    def never_awaited(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            self.tool(self.returned)()

    def exhausted(self) -> None:
        list(self.tool(self.items)())

    def closed(self) -> None:
        items = self.tool(self.items)()
        next(items)
        items.close()
        items.close()

    def dropped(self) -> None:
        next(self.tool(self.items)())

    def thrown(self) -> None:
        items = self.tool(self.items)()
        next(items)
        items.throw(Down())

    def aexhausted(self) -> None:
        async def run() -> None:
            async for _ in self.tool(self.aitems)():
                pass

        asyncio.run(run())

    def aclosed(self) -> None:
        async def run() -> None:
            items = self.tool(self.aitems)()
            await anext(items)
            await items.aclose()
            await items.aclose()

        asyncio.run(run())

    def adropped(self) -> None:
        async def run() -> None:
            async for _ in self.tool(self.aitems)():
                break

        asyncio.run(run())  # closes what is left of generators


WAYS: list[tuple[Callable[[Ends], None], BaseException | None, Verdict]] = [
    (Ends.sync, None, OK),
    (Ends.sync, Down(), FAILURE),
    (Ends.sync, KeyboardInterrupt(), NEUTRAL),
    (Ends.sync, GeneratorExit(), NEUTRAL),
    (Ends.late, None, FAILURE),
    (Ends.awaited, None, OK),
    (Ends.awaited, Down(), FAILURE),
    (Ends.awaited, asyncio.CancelledError(), NEUTRAL),
    (Ends.expired, None, FAILURE),
    (Ends.cancelled, None, NEUTRAL),
    (Ends.later, None, OK),
    (Ends.later, Down(), FAILURE),
    (Ends.never_awaited, None, NEUTRAL),
    (Ends.exhausted, None, OK),
    (Ends.exhausted, Down(), FAILURE),
    (Ends.closed, None, NEUTRAL),
    (Ends.dropped, None, NEUTRAL),
    (Ends.thrown, None, FAILURE),
    (Ends.aexhausted, None, OK),
    (Ends.aexhausted, Down(), FAILURE),
    (Ends.aclosed, None, NEUTRAL),
    (Ends.adropped, None, NEUTRAL),
]


@pytest.mark.parametrize(
    ("way", "error", "verdict"), WAYS, ids=[f"{way.__name__}-{type(error).__name__}" for way, error, _ in WAYS]
)
def test_each_call_is_settled_once(
    way: Callable[[Ends], None],
    error: BaseException | None,
    verdict: Verdict,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Returned, raised, expired, cancelled, left, dropped unread: one report, with the right verdict (property 9)."""
    doorstep = Doorstep(monkeypatch)
    with governed(recorder) as engine:
        ends = Ends()
        ends.error = error
        with contextlib.suppress(BaseException):
            way(ends)
        (attempt,) = doorstep.admitted
        assert doorstep.settled == [(attempt, verdict)]
        assert len(engine.outcomes) == 1
        _wait_until_it_came_back(engine.pipeline("search"))
        view = engine.pipeline("search").view()
        assert view.circuit is not None
        assert (view.in_flight, view.circuit.failures) == (0, int(verdict is FAILURE))


def _wait_until_it_came_back(pipeline: Any) -> None:
    came_back = threading.Event()
    returned = pipeline.returned

    def watched(attempt: Any) -> None:
        returned(attempt)
        came_back.set()

    pipeline.returned = watched
    if pipeline.abandoned:
        assert came_back.wait(LONG)


def test_a_refused_call_is_not_settled(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not admitted has no end to report (property 9)."""
    doorstep = Doorstep(monkeypatch)
    with governed(recorder) as engine:
        otel_tools.disable_tool("search", "leaks data")
        for way, error, _ in WAYS:
            ends = Ends()
            ends.error = error
            with contextlib.suppress(BaseException):
                way(ends)
        assert (doorstep.admitted, doorstep.settled) == ([], [])
        assert engine.outcomes == ["disabled"] * len(WAYS)


def test_a_coroutine_that_was_never_begun_was_never_admitted(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An async tool asks policy when it is awaited, not when it is called: dropped, it holds no place (property 9)."""
    doorstep = Doorstep(monkeypatch)
    with governed(recorder), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        otel_tools.tool("search")(Ends().coroutine)()
    assert (doorstep.admitted, doorstep.settled) == ([], [])
