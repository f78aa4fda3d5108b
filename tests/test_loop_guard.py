"""The loop guard at work: event and warning with the last result that is allowed, refusal after it, in every shape."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import Any

import pytest
from opentelemetry import context

import otel_tools
from otel_tools import Limits, LoopDetected
from tests.policy.tools import at_once
from tests.recorder import Recorder

LIMITS = Limits(max_repeats=3)
WARNING = (
    "Note: search has given this result 3 times in a row for the same arguments. It will not be called with them "
    "again. Do not repeat the call. Use this result, or tell the user what is missing."
)


def loops(otel: Recorder) -> list[dict[str, Any]]:
    return [log for log in otel.logs if log["event"] == "otel_tools.loop_detected"]


@pytest.fixture(params=["sync", "async", "coroutine"])
def search(otel: Recorder, request: pytest.FixtureRequest) -> Any:
    """A tool that gives its argument back, in shapes whose result can be told; call it with `await`."""

    async def asynchronous(query: Any) -> Any:
        return query

    shapes = {
        "sync": lambda query: query,
        "async": asynchronous,
        "coroutine": lambda query: asynchronous(query=query),
    }
    tool = otel_tools.tool("search")(shapes[request.param])

    async def call(query: Any) -> Any:
        value = tool(query)
        return await value if inspect.isawaitable(value) else value

    return call


async def test_event_and_warning_then_refusal(otel: Recorder, search: Any) -> None:
    """The third same result carries a warning and an event, further identical calls are refused; others are not."""
    with otel_tools.session("support", limits=LIMITS, user_id="u-1") as run:
        assert [await search("a"), await search("a"), await search("b")] == ["a", "a", "b"]
        assert await search("a") == f"a\n{WARNING}"
        for _ in range(2):
            with pytest.raises(LoopDetected) as raised:
                await search("a")
        assert await search("b") == "b"
    assert str(raised.value) == "search was not called again, it keeps giving the same result: 3 times"
    assert loops(otel) == [
        {
            "event": "otel_tools.loop_detected",
            "severity": "WARN",
            "body": "execute_tool search: the same result 3 times",
            "attributes": {
                "gen_ai.tool.name": "search",
                "otel_tools.loop.repeats": 3,
                "gen_ai.agent.name": "support",
                "user.id": "u-1",
            },
        }
    ]
    refused = [span for span in otel.spans if span["attributes"]["otel_tools.outcome"] == "loop_detected"]
    expected = {
        "name": "execute_tool search",
        "kind": "INTERNAL",
        "status": "ERROR",
        "parent": "invoke_agent support",
        "events": [],
        "attributes": {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "search",
            "gen_ai.tool.type": "function",
            "gen_ai.agent.name": "support",
            "otel_tools.tool.argument_keys": ("query",),
            "otel_tools.outcome": "loop_detected",
            "otel_tools.refusal.detail": "3 times",
            "error.type": "loop_detected",
        },
    }
    assert refused == [expected, expected]
    assert (run.outcome, run.totals.tool_calls, run.totals.tool_errors) == ("completed", 7, 2)
    calls = otel.points("otel_tools.tool.calls", otel_tools__outcome="loop_detected")
    assert [point["value"] for point in calls] == [2]


def test_polling_never_trips(otel: Recorder) -> None:
    """A tool whose result changes may be asked for ever; one that stands still for a while, too."""
    answers = iter("aabbaabbcc")
    poll = otel_tools.tool("poll")(lambda job: next(answers))
    with otel_tools.session("support", limits=LIMITS):
        assert "".join(poll("job-1") for _ in range(10)) == "aabbaabbcc"
    assert loops(otel) == []


@pytest.mark.parametrize("shape", ["bare", "optional"])
def test_failures_of_one_type_are_the_same(otel: Recorder, shape: str) -> None:
    """A call that fails the same way again and again is a loop, whatever the error says; an optional tool's, too."""
    numbers = iter(range(100))

    def fail(query: str) -> str:
        raise ValueError(f"request {next(numbers)}")

    if shape == "bare":
        search = otel_tools.tool("search", circuit=None)(fail)
        with otel_tools.session("support", limits=LIMITS):
            for _ in range(3):
                with pytest.raises(ValueError, match="request"):
                    search("a")
            with pytest.raises(LoopDetected):
                search("a")
    else:
        search = otel_tools.tool("search", circuit=None, criticality="optional")(fail)
        with otel_tools.session("support", limits=LIMITS):
            reasons = [json.loads(search("a"))["error"]["reason"] for _ in range(5)]
        assert reasons == ["error", "error", "error", "loop_detected", "loop_detected"]
    assert next(numbers) == 3
    assert [log["attributes"]["otel_tools.loop.repeats"] for log in loops(otel)] == [3]


def test_errors_of_two_types_are_not_the_same(otel: Recorder) -> None:
    """Another type of error is another result."""
    errors = iter([ValueError, KeyError, ValueError, ValueError, KeyError])

    def fail(query: str) -> str:
        raise next(errors)

    search = otel_tools.tool("search", circuit=None)(fail)
    with otel_tools.session("support", limits=LIMITS):
        for _ in range(5):
            with pytest.raises((ValueError, KeyError)):
                search("a")
    assert loops(otel) == []


async def test_sub_agents_share_it(otel: Recorder, search: Any) -> None:
    """Calls of a sub-agent count with those of the run around it; a stricter guard of its own holds inside only."""
    with otel_tools.session("outer", limits=LIMITS):
        await search("a")
        with otel_tools.session("inner", limits=Limits(max_repeats=2)):
            await search("a")
            assert (await search("a")).startswith("a\nNote: search has given this result 3 times")
            with pytest.raises(LoopDetected):
                await search("a")
        with pytest.raises(LoopDetected):
            await search("a")
        with otel_tools.session("sibling"), pytest.raises(LoopDetected):
            await search("a")
    assert [log["attributes"]["otel_tools.loop.repeats"] for log in loops(otel)] == [2, 3]
    with otel_tools.session("another", limits=LIMITS):
        assert await search("a") == "a"


async def test_what_is_never_stopped(otel: Recorder, search: Any) -> None:
    """Without a limit, outside of sessions, and with arguments or results that cannot be compared: no guard."""
    with otel_tools.session("support"):
        assert [await search("a") for _ in range(5)] == ["a"] * 5
    assert [await search("a") for _ in range(5)] == ["a"] * 5
    thing = object()
    with otel_tools.session("support", limits=LIMITS):
        assert [await search(thing) for _ in range(5)] == [thing] * 5
    assert loops(otel) == []


def test_results_without_text_stay_as_they_are(otel: Recorder) -> None:
    """A result that is no text is handed on itself, warned of or not; then the call is refused."""
    found = {"hits": [1, 2]}
    search = otel_tools.tool("search")(lambda query: found)
    with otel_tools.session("support", limits=LIMITS):
        assert all(search("a") is found for _ in range(3))
        with pytest.raises(LoopDetected):
            search("a")
    assert len(loops(otel)) == 1


def test_generators_are_not_guarded(otel: Recorder) -> None:
    """The items of a generator are not kept, so its results cannot be compared."""

    @otel_tools.tool("search")
    def search(query: str) -> Any:
        yield query

    with otel_tools.session("support", limits=LIMITS):
        assert [list(search("a")) for _ in range(5)] == [["a"]] * 5
    assert loops(otel) == []


@pytest.mark.parametrize(("mode", "acts"), [("observe", False), ("enforce", True)])
def test_configured_in_either_mode(otel: Recorder, mode: str, acts: bool) -> None:
    """Configured, it warns and refuses in enforce mode; in observe mode it only reports."""
    otel.instrument(mode=mode, sessions={"max_repeats": 3})
    search = otel_tools.tool("search")(lambda query: query)
    with otel_tools.session("support"):
        results = [search("a") for _ in range(3)]
        if acts:
            with pytest.raises(LoopDetected):
                search("a")
        else:
            assert search("a") == "a"
    assert results == ["a", "a", f"a\n{WARNING}" if acts else "a"]
    assert len(loops(otel)) == 1


def test_code_goes_before_the_configuration(otel: Recorder) -> None:
    """Limits given in code act in observe mode, too."""
    otel.instrument(mode="observe", sessions={"max_repeats": 2})
    search = otel_tools.tool("search")(lambda query: query)
    with otel_tools.session("support", limits=LIMITS):
        assert [search("a"), search("a"), search("a")] == ["a", "a", f"a\n{WARNING}"]
        with pytest.raises(LoopDetected):
            search("a")


def test_a_refused_call_takes_nothing_of_the_limits(otel: Recorder) -> None:
    """A call that the guard refuses does not count against the session's tool calls."""
    search = otel_tools.tool("search")(lambda query: query)
    with otel_tools.session("support", limits=Limits(max_repeats=2, max_tool_calls=3)):
        search("a")
        search("a")
        for _ in range(3):
            with pytest.raises(LoopDetected):
                search("a")
        assert search("b") == "b"


def test_cancelled_calls_do_not_count(otel: Recorder) -> None:
    """A call that was cancelled has no result."""

    @otel_tools.tool("search")
    async def search(query: str) -> str:
        raise asyncio.CancelledError

    with otel_tools.session("support", limits=LIMITS):
        for _ in range(5):
            with pytest.raises(asyncio.CancelledError):
                asyncio.run(search("a"))
    assert loops(otel) == []


def test_calls_at_once(otel: Recorder) -> None:
    """Of parallel calls all that were admitted are counted, and one event tells of them."""
    search = otel_tools.tool("search")(lambda query: query)
    with otel_tools.session("support", limits=LIMITS):
        here = context.get_current()
        results = at_once(16, lambda _: in_context(here, search))
        with pytest.raises(LoopDetected):
            search("a")
    assert len(loops(otel)) == 1
    assert sum(result == "a" for result in results) == 2
    assert all(isinstance(result, LoopDetected) or result.startswith("a") for result in results)


def in_context(context_: Any, search: Any) -> Any:
    token = context.attach(context_)
    try:
        return search("a")
    finally:
        context.detach(token)
