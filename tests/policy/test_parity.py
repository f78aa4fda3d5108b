"""One history, whatever the shape of the callable and the thread it runs in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Self

from hypothesis import given
from hypothesis import strategies as st

import otel_tools
from otel_tools.errors import CircuitOpen
from tests.policy.governed import CIRCUIT, LONG, Down, Governed, Limited, Rejected, governed

ENDS: dict[str, type[Exception] | None] = {"ok": None, "down": Down, "wrong": Rejected, "limited": Limited}

HISTORY = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, 19.0, 21.0, 60.0, 121.0]), st.sampled_from(list(ENDS))), max_size=25
)


class Tools:
    """One tool in every shape; `end` says how its next call ends."""

    def __init__(self) -> None:
        self.end: type[Exception] | None = None
        self.loop = asyncio.new_event_loop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.close()

    def finish(self) -> str:
        if self.end is not None:
            raise self.end
        return "ok"

    def ways(self) -> dict[str, Callable[[], Any]]:
        """How to make one call, for each shape."""
        tool = otel_tools.tool("search", circuit=CIRCUIT)
        with_deadline = otel_tools.tool("search", circuit=CIRCUIT, timeout=LONG)
        in_time, awaited_in_time = with_deadline(self.finish), with_deadline(self.awaited)
        plain, awaited, iterated, aiterated = map(tool, (self.finish, self.awaited, self.items, self.aitems))
        later = tool(self.returned)
        return {
            "sync": plain,
            "sync, a thread per call": lambda: _in_thread(plain),
            "sync with a deadline": in_time,
            "async": lambda: self.loop.run_until_complete(awaited()),
            "async with a deadline": lambda: self.loop.run_until_complete(awaited_in_time()),
            "sync that returns a coroutine": lambda: self.loop.run_until_complete(_awaits(later)),
            "generator": lambda: list(iterated()),
            "async generator": lambda: self.loop.run_until_complete(_drain(aiterated())),
        }

    async def awaited(self) -> str:
        await asyncio.sleep(0)
        return self.finish()

    def returned(self) -> Coroutine[Any, Any, str]:
        return self.awaited()

    def items(self) -> Iterator[str]:
        yield "item"
        yield self.finish()

    async def aitems(self) -> AsyncIterator[str]:
        yield "item"
        await asyncio.sleep(0)
        yield self.finish()


def _in_thread(call: Callable[[], Any]) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised.pop()


async def _awaits(call: Callable[[], Any]) -> Any:
    return await call()


async def _drain(items: AsyncIterator[str]) -> None:
    async for _ in items:
        pass


def _run(found: Governed, tools: Tools, call: Callable[[], Any], history: list[tuple[float, str]]) -> list[Any]:
    """What the caller got, call by call."""
    answers: list[Any] = []
    for seconds, end in history:
        found.clock.tick(seconds)
        tools.end = ENDS[end]
        try:
            call()
        except CircuitOpen as refused:
            answers.append((refused.reason, refused.retry_after))
        except Exception as error:
            answers.append(type(error))
        else:
            answers.append("ok")
    return answers


@given(HISTORY)
def test_one_history_gives_one_log(history: list[tuple[float, str]]) -> None:
    """Sync, async, threaded: the same answers, outcomes, transitions and views (properties 1, 3, 5, 13 and 15)."""
    with Tools() as tools:
        found: dict[str, Any] = {}
        for shape in ("sync", *_shapes()):
            with governed() as engine:
                answers = _run(engine, tools, tools.ways()[shape], history)
                circuit = engine.pipeline("search").view().circuit
                state = (circuit.state, circuit.failures, circuit.retry_after, circuit.reopens) if circuit else None
                found[shape] = (answers, engine.outcomes, engine.log, state)
        assert {shape: told for shape, told in found.items() if told != found["sync"]} == {}


def _shapes() -> list[str]:
    with Tools() as tools, governed():
        return [shape for shape in tools.ways() if shape != "sync"]


def test_a_history_in_full() -> None:
    """What the log of one history is: opened, refused, probed in vain, told when, probed, closed (properties 2, 5)."""
    history = [(0.0, "down")] * 3 + [(1.0, "ok"), (59.0, "down"), (60.0, "ok"), (60.0, "limited"), (20.0, "wrong")]
    history += [(0.0, "ok"), (0.0, "limited"), (0.0, "ok")]
    with Tools() as tools, governed() as engine:
        answers = _run(engine, tools, tools.ways()["async"], history)
    assert answers == [
        *[Down] * 3,
        ("circuit_open", 59.0),
        Down,
        ("circuit_open", 60.0),
        Limited,
        Rejected,
        "ok",
        Limited,
        ("circuit_open", 20.0),
    ]
    assert engine.log == [
        ("closed", "open", "threshold", 60.0),
        ("open", "half_open", "expired", None),
        ("half_open", "open", "probe_failure", 120.0),
        ("open", "half_open", "expired", None),
        ("half_open", "open", "retry_after", 20.0),
        ("open", "half_open", "expired", None),
        ("half_open", "closed", "probe_success", None),
        ("closed", "open", "retry_after", 20.0),
    ]
    assert engine.outcomes.count("circuit_open") == 3
