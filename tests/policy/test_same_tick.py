"""Our deadline, the caller's cancellation and the end of the work, in one tick of the loop, in every order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

import otel_tools
from otel_tools.errors import CallTimeout
from tests.policy.governed import CIRCUIT, Governed, governed
from tests.recorder import Recorder

LIMIT = 1.0
"""Virtual seconds."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: where it would, its clock moves on instead."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        select = self._selector.select

        def skip(timeout: float | None = None) -> Any:
            assert timeout is not None, "nothing will ever happen"
            self._now += timeout
            return select(0)

        self._selector.select = skip

    def time(self) -> float:
        return self._now


def run(main: Callable[[VirtualLoop], Any]) -> Any:
    """What *main* gives on a virtual loop, or the exception that it raises."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main(loop))
    except BaseException as error:
        return error
    finally:
        loop.close()


class OwnError(TimeoutError):
    """A timeout of the tool's own."""


class Scene:
    """A tool that waits for `work`, and things that happen at its deadline, in a given order."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.work: asyncio.Future[str] = loop.create_future()

        async def search() -> str:
            return await self.work

        self.tool = otel_tools.tool("search", circuit=CIRCUIT, timeout=LIMIT)(search)

    def at(self, position: int, happening: Callable[[], Any]) -> None:
        """Let something happen before (-2, -1) or after (1, 2) the deadline, in the same tick."""
        self.loop.call_at(LIMIT + position * 1e-10, happening)

    def done(self) -> None:
        """The work ends well."""
        if not self.work.done():
            self.work.set_result("ok")

    def own_error(self) -> None:
        """The work ends with a timeout of its own."""
        if not self.work.done():
            self.work.set_exception(OwnError())


POSITIONS = (-2, -1, 1, 2)
TWO = list(itertools.permutations(POSITIONS, 2))


@pytest.fixture
def engine(recorder: Recorder) -> Any:
    """An engine at work."""
    with governed(recorder) as found:
        yield found


def said(engine: Governed) -> tuple[list[str], int]:
    """Outcomes, and failures that the circuit counted."""
    circuit = engine.pipeline("search").view().circuit
    assert circuit is not None
    assert engine.pipeline("search").in_flight == 0
    return engine.outcomes, circuit.failures


@pytest.mark.parametrize("end", ["done", "own_error"])
@pytest.mark.parametrize(("cancelled_at", "ends_at"), TWO)
def test_a_callers_cancellation_always_escapes(engine: Governed, end: str, cancelled_at: int, ends_at: int) -> None:
    """Whatever else happens in the tick, the caller's cancel is a cancel to him, and neutral (property 16)."""

    async def main(loop: VirtualLoop) -> None:
        scene = Scene(loop)
        task = loop.create_task(scene.tool())
        scene.at(cancelled_at, task.cancel)
        scene.at(ends_at, getattr(scene, end))
        await task

    assert type(run(main)) is asyncio.CancelledError
    assert said(engine) == (["cancelled"], 0)


@pytest.mark.parametrize(("expires_at", "ends_at"), TWO)
def test_a_deadline_around_ours_is_not_ours(engine: Governed, expires_at: int, ends_at: int) -> None:
    """A caller's own `asyncio.timeout` that expires in the same tick raises his `TimeoutError` (property 16)."""

    async def main(loop: VirtualLoop) -> None:
        scene = Scene(loop)
        scene.at(ends_at, scene.done)
        async with asyncio.timeout_at(LIMIT + expires_at * 1e-10):
            await scene.tool()

    assert type(run(main)) is TimeoutError
    assert said(engine) == (["cancelled"], 0)


@pytest.mark.parametrize(("fails_at", "ends_at"), TWO)
def test_a_siblings_error_is_not_ours(engine: Governed, fails_at: int, ends_at: int) -> None:
    """In a task group whose other task fails in the same tick, that error comes out, alone (property 16)."""

    async def main(loop: VirtualLoop) -> None:
        scene, fails = Scene(loop), loop.create_future()
        scene.at(fails_at, lambda: fails.set_exception(LookupError()))
        scene.at(ends_at, scene.done)

        async def sibling() -> None:
            await fails

        async with asyncio.TaskGroup() as group:
            group.create_task(scene.tool())
            group.create_task(sibling())

    error = run(main)
    assert isinstance(error, BaseExceptionGroup)
    assert LookupError in {type(one) for one in error.exceptions}
    outcomes, failures = said(engine)
    assert (outcomes, failures) in ((["cancelled"], 0), (["timeout"], 1))
    assert {type(one) for one in error.exceptions} == {LookupError} | ({CallTimeout} if failures else set())


@pytest.mark.parametrize("end", ["done", "own_error"])
@pytest.mark.parametrize("ends_at", POSITIONS)
def test_our_deadline_is_ours(engine: Governed, end: str, ends_at: int) -> None:
    """With nobody else cancelling, what is cut off in the deadline's tick is our timeout (property 16)."""

    async def main(loop: VirtualLoop) -> None:
        scene = Scene(loop)
        scene.at(ends_at, getattr(scene, end))
        await scene.tool()

    assert type(run(main)) is CallTimeout
    assert said(engine) == (["timeout"], 1)


@pytest.mark.parametrize(("end", "answer", "outcome"), [("done", "ok", "ok"), ("own_error", OwnError, "error")])
def test_a_tick_before_the_deadline_nothing_is_ours(engine: Governed, end: str, answer: Any, outcome: str) -> None:
    """Just in time is in time, and a timeout of the tool's own stays its own (property 16)."""

    async def main(loop: VirtualLoop) -> Any:
        scene = Scene(loop)
        loop.call_at(LIMIT - 0.001, getattr(scene, end))
        return await scene.tool()

    found = run(main)
    assert (found if end == "done" else type(found)) == answer
    assert said(engine) == ([outcome], int(outcome == "error"))
