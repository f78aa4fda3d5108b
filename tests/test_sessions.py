"""Agent runs: nesting, threads and tasks, limits, how they end, and what never becomes a metric label."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import baggage, context

import otel_tools
from otel_tools import BudgetExceeded, Limits
from otel_tools.sessions import Session, current_session
from tests.policy.tools import held, in_child


@otel_tools.tool
def search(query):
    """Search."""
    return query


@otel_tools.tool
def fail():
    raise ValueError("secret")


def session_span(spans, name="support"):
    return next(span for span in spans if span["name"] == f"invoke_agent {name}")


def test_block(otel):
    """A session is one span over its calls, one set of totals, and is counted once."""
    with otel_tools.session("support", conversation_id="c-1", user_id="u-1") as run:
        search("a")
        with pytest.raises(ValueError, match="secret"):
            fail()
        assert otel_tools.current_session() is run
    assert otel_tools.current_session() is None
    assert (run.totals.tool_calls, run.totals.tool_errors, run.outcome) == (2, 1, "completed")
    assert session_span(otel.spans) == {
        "name": "invoke_agent support",
        "kind": "INTERNAL",
        "status": "UNSET",
        "parent": None,
        "events": [],
        "attributes": {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "support",
            "gen_ai.conversation.id": "c-1",
            "user.id": "u-1",
            "otel_tools.outcome": "ok",
            "otel_tools.session.outcome": "completed",
            "otel_tools.session.cost.usd": 0.0,
            "otel_tools.session.input_tokens": 0,
            "otel_tools.session.output_tokens": 0,
            "otel_tools.session.inference_calls": 0,
            "otel_tools.session.tool_calls": 2,
            "otel_tools.session.tool_errors": 1,
        },
    }
    assert {span["parent"] for span in otel.spans if "tool" in span["name"]} == {"invoke_agent support"}
    assert all(span["attributes"]["gen_ai.conversation.id"] == "c-1" for span in otel.spans)
    agent = {"gen_ai.agent.name": "support"}
    assert otel.points("otel_tools.sessions") == [
        {"attributes": {**agent, "otel_tools.session.outcome": "completed"}, "value": 1}
    ]
    assert otel.points("gen_ai.invoke_agent.tool_calls") == [{"attributes": agent, "count": 1, "sum": 2}]
    labels = [point["attributes"] for points in otel.metrics.values() for point in points]
    assert not any({"c-1", "u-1"} & {str(value) for value in label.values()} for label in labels)
    record = otel.logs[-1]
    assert record["event"] == "otel_tools.session"
    assert record["attributes"]["user.id"] == "u-1"


def test_nested_sessions_roll_up(otel):
    """A sub-agent is a part of the session: its calls count in both, the session is counted once."""
    with otel_tools.session("outer", conversation_id="c") as outer:
        search("a")
        with otel_tools.session("inner") as inner:
            search("b")
            assert inner.conversation_id == "c"
    assert (outer.totals.tool_calls, inner.totals.tool_calls) == (2, 1)
    assert [point["attributes"] for point in otel.points("otel_tools.sessions")] == [
        {"gen_ai.agent.name": "outer", "otel_tools.session.outcome": "completed"}
    ]
    tool_calls = {p["attributes"]["gen_ai.agent.name"]: p["sum"] for p in otel.points("gen_ai.invoke_agent.tool_calls")}
    assert tool_calls == {"outer": 1, "inner": 1}  # those of sub-agents excluded
    assert session_span(otel.spans, "inner")["parent"] == "invoke_agent outer"


async def test_async_block_and_tasks(otel):
    """Tools in tasks, `to_thread` and `gather` find their session and parent span."""

    @otel_tools.tool
    async def look_up(query):
        await asyncio.sleep(0)
        return query

    async with otel_tools.session("support") as run:
        await asyncio.gather(*(look_up(str(n)) for n in range(4)), asyncio.to_thread(search, "x"))
        await asyncio.get_running_loop().run_in_executor(None, search, "y")
    assert run.totals.tool_calls == 6
    tools = [span for span in otel.spans if span["name"].startswith("execute_tool")]
    assert {span["parent"] for span in tools} == {"invoke_agent support"}


def test_thread_pool(otel):
    """Eight tools in a thread pool all belong to the session."""
    with otel_tools.session("support") as run, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(search, "abcdefgh")) == list("abcdefgh")
        thread = threading.Thread(target=search, args=("i",))
        thread.start()
        thread.join()
    assert run.totals.tool_calls == 9
    assert [span["parent"] for span in otel.spans[:-1]] == ["invoke_agent support"] * 9


@pytest.mark.parametrize("shape", ["bare", "named"])
def test_decorator(otel, shape):
    """A decorated function is a session a call; its arguments give conversation and user."""

    def run_session(question, session_id=None, user_id=None):
        return search(question)

    decorate = otel_tools.session if shape == "bare" else otel_tools.session("support")
    assert decorate(run_session)("q", session_id=7, user_id="u") == "q"
    name = "run_session" if shape == "bare" else "support"
    span = session_span(otel.spans, name)
    assert span["attributes"]["gen_ai.conversation.id"] == "7"
    assert span["attributes"]["user.id"] == "u"


@pytest.mark.parametrize("order", ["session over tool", "tool over session"])
def test_sub_agent_as_a_tool(otel, order):
    """A function can be both, in either order: a tool whose work is a session."""

    def research(question):
        return search(question)

    if order == "session over tool":
        both = otel_tools.session(otel_tools.tool(research))
        expected = [
            ("execute_tool search", "execute_tool research"),
            ("execute_tool research", "invoke_agent research"),
        ]
    else:
        both = otel_tools.tool(otel_tools.session(research))
        expected = [
            ("execute_tool search", "invoke_agent research"),
            ("invoke_agent research", "execute_tool research"),
        ]
    assert both("q") == "q"
    assert [(span["name"], span["parent"]) for span in otel.spans][:2] == expected


async def test_async_decorator_and_generators(otel):
    """Async functions and generators can be sessions, too."""

    @otel_tools.session("support")
    async def run():
        return search("q")

    @otel_tools.session("stream")
    async def stream():
        yield search("a")
        yield search("b")

    assert await run() == "q"
    assert [item async for item in stream()] == ["a", "b"]
    parents = [span["parent"] for span in otel.spans if span["name"] == "execute_tool search"]
    assert parents == ["invoke_agent support", "invoke_agent stream", "invoke_agent stream"]


@pytest.mark.parametrize(
    ("error", "outcome", "status"),
    [
        (ValueError("x"), "error", "ERROR"),
        (KeyboardInterrupt(), "cancelled", "UNSET"),
        (asyncio.CancelledError(), "cancelled", "UNSET"),
    ],
)
def test_how_it_ends(otel, error, outcome, status):
    """An exception ends the session as error, a cancellation as cancelled."""
    with pytest.raises(type(error)), otel_tools.session("support") as run:
        raise error
    assert run.outcome == outcome
    assert otel.span()["status"] == status
    assert otel.points("otel_tools.sessions")[0]["attributes"]["otel_tools.session.outcome"] == outcome


def test_limit(otel):
    """A call beyond the session's limit is refused before it is made; nested sessions share the limit."""
    limits = Limits(max_tool_calls=3)
    with otel_tools.session("support", limits=limits) as run:
        search("a")
        with otel_tools.session("inner"):
            search("b")
            search("c")
            with pytest.raises(BudgetExceeded, match="max_tool_calls of 3"):
                search("d")
    assert run.outcome == "budget_exceeded"
    span = otel.spans[3]
    assert span["attributes"]["otel_tools.outcome"] == "budget_exceeded"
    assert otel.points("otel_tools.sessions")[0]["attributes"]["otel_tools.session.outcome"] == "budget_exceeded"


def test_limit_of_a_sub_agent(otel):
    """A sub-agent that uses up a limit of its own does not end the session around it."""
    with otel_tools.session("support") as outer:
        with otel_tools.session("inner", limits=Limits(max_tool_calls=1)) as inner:
            search("a")
            with pytest.raises(BudgetExceeded):
                search("b")
        search("c")
    assert (inner.outcome, outer.outcome) == ("budget_exceeded", "completed")


def test_configured_limits_need_enforce_mode(recorder):
    """Limits of the configuration refuse nothing while the process only observes."""
    for mode, refused in (("observe", False), ("enforce", True)):
        recorder.instrument(mode=mode, sessions={"max_tool_calls": 1})
        with otel_tools.session("support"):
            search("a")
            if refused:
                with pytest.raises(BudgetExceeded):
                    search("b")
            else:
                search("b")
    recorder.uninstrument()


async def test_block_left_in_another_task(otel):
    """A generator with a session in it, finalised in another task, complains of nothing and leaves no context."""

    async def stream():
        with otel_tools.session("support"):
            yield 1
            yield 2

    items = stream()
    assert await anext(items) == 1
    await asyncio.create_task(items.aclose())
    assert otel.span()["attributes"]["otel_tools.session.outcome"] == "cancelled"


def test_reused_manager(otel):
    """One manager can be entered again, also inside itself."""
    manager = otel_tools.session("support")
    with manager as one, manager as two:
        assert two.parent is one
    with manager as three:
        assert three.parent is None
    assert len(otel.spans) == 3


def test_four_tools_over_three_services_are_one_trace(otel):
    """Each tool's downstream call carries the trace on, with the tool's span as its parent."""
    import json
    import urllib.request
    from contextlib import ExitStack

    from tests.fake_server import FakeServer

    def call(url):
        request = urllib.request.Request(url, data=b"{}", headers=otel_tools.trace_headers())
        return json.loads(urllib.request.urlopen(request).read())

    with ExitStack() as stack:
        servers = [stack.enter_context(FakeServer().running()) for _ in range(3)]
        tools = {f"tool_{n}": otel_tools.tool(f"tool_{n}")(call) for n in range(4)}
        with otel_tools.session("support"):
            for number, tool in enumerate(tools.values()):
                servers[number % 3].reply({"ok": number})
                assert tool(servers[number % 3].url) == {"ok": number}
        requests = [request for server in servers for request in server.requests]
        received = [request.headers["Traceparent"].split("-") for request in requests]  # as urllib spells it
    spans = {f"{span.context.span_id:016x}": span for span in otel.finished}
    assert {trace_id for _, trace_id, _, _ in received} == {f"{otel.finished[0].context.trace_id:032x}"}
    assert sorted(spans[parent].name for _, _, parent, _ in received) == [f"execute_tool tool_{n}" for n in range(4)]
    assert len(otel.finished) == 5


async def test_one_manager_in_two_tasks(otel):
    """Each of two tasks that are in blocks of one manager at the same time leaves its own."""
    manager, entered, leave = otel_tools.session("support"), asyncio.Event(), asyncio.Event()

    async def first():
        async with manager:
            entered.set()
            await leave.wait()
        return current_session()

    async def second():
        await entered.wait()
        with pytest.raises(ValueError, match="second"):
            async with manager:
                leave.set()
                await running[0]
                raise ValueError("second")
        return current_session()

    running = [asyncio.create_task(first()), asyncio.create_task(second())]
    assert await asyncio.gather(*running) == [None, None]
    assert [span["status"] for span in otel.spans] == ["UNSET", "ERROR"]


def test_block_that_leaves_a_context_attached(otel):
    """What the program attaches in the block and forgets does not keep the session going."""
    with otel_tools.session("support"):
        context.attach(baggage.set_baggage("tenant", "a"))
    assert current_session() is None
    assert baggage.get_baggage("tenant") is None


def test_fork_while_totals_are_counted():
    """A child forked while another thread counts can count in the same session, sub-agents too."""
    outer = Session("outer")
    inner = Session("inner", parent=outer)

    def counts():
        inner.count_tool(None, failed=False)
        return outer.totals.tool_calls == 1

    with held(outer._family.lock):
        assert in_child(counts)


def test_the_time_of_a_session(otel):
    """It is recorded once, by how the session ended; a sub-agent's time is a part of it."""
    with otel_tools.session("support"), otel_tools.session("helper"):
        pass
    with pytest.raises(ValueError, match="no"), otel_tools.session("support"):
        raise ValueError("no")
    points = [(point["attributes"], point["count"]) for point in otel.points("otel_tools.session.duration")]
    assert points == [
        ({"gen_ai.agent.name": "support", "otel_tools.session.outcome": "completed"}, 1),
        ({"gen_ai.agent.name": "support", "otel_tools.session.outcome": "error"}, 1),
    ]
    assert sum(point["count"] for point in otel.points("gen_ai.invoke_agent.duration")) == 3


def test_what_was_said_is_bounded():
    """A session remembers 256 things that it has said; what comes after those is said each time."""
    session = Session("support")
    assert all(session.first_time(number) for number in range(256))
    assert not any(session.first_time(number) for number in range(256))
    assert [session.first_time("one more"), session.first_time("one more")] == [True, True]
    assert Session("inner", parent=session).first_time(0)


def test_finaliser_while_totals_are_counted(otel):
    """A call that a finaliser ends may count while its thread counts another."""
    with otel_tools.session("support") as run:
        taken = run._family.lock.acquire() and run._family.lock.acquire(blocking=False)
    assert taken
