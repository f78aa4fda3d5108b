"""Functions that the `google-genai` client calls by itself: one span per call, of the truth about its outcome.

No `from __future__ import annotations` here: clients before 2 cannot read annotations that are strings.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace

import otel_tools
from tests.clients import google_genai_bodies as bodies
from tests.clients.google_genai_calls import (
    chat,
    chat_async,
    generate,
    generate_async,
    perform,
    stream,
    stream_async,
)
from tests.fake_server import FakeServer
from tests.recorder import Recorder

pytest.importorskip("google.genai")

pytestmark = pytest.mark.filterwarnings("ignore:Direct use of automatic function calling")

BOTH = pytest.mark.parametrize("use", [generate, generate_async])


def tool_span(outcome: str = "ok", status: str = "UNSET", parent: str | None = None, **changes: Any) -> dict[str, Any]:
    """The whole span of a call of `get_weather` (dots in names are double underscores; `None` takes one away)."""
    expected = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "get_weather",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "call-1",
        "gen_ai.tool.description": "The weather of a city.",
        "otel_tools.tool.argument_keys": ("city",),
        "otel_tools.tool.result.size": 5 if outcome == "ok" else None,
        "otel_tools.circuit_breaker.state": "closed",
        "otel_tools.outcome": outcome,
        **{name.replace("__", "."): value for name, value in changes.items()},
    }
    return {
        "name": "execute_tool get_weather",
        "kind": "INTERNAL",
        "status": status,
        "parent": parent,
        "attributes": {name: value for name, value in expected.items() if value is not None},
        "events": [],
    }


def weather(body: Callable[[str], Any]) -> Callable[..., Any]:
    """A tool that does what *body* does with a city."""

    def get_weather(city: str) -> str:
        """The weather of a city.

        As the weather service sees it.
        """
        return body(city)

    return get_weather


def weather_async(body: Callable[[str], Any]) -> Callable[..., Any]:
    """The same as a coroutine function."""

    async def get_weather(city: str) -> str:
        """The weather of a city.

        As the weather service sees it.
        """
        return body(city)

    return get_weather


def sunny(_city: str) -> str:
    return "sunny"


def fail(_city: str) -> str:
    raise RuntimeError("the secret of the dependency")


def ask(server: FakeServer, use: Any, tool: Any, body: Any = bodies.CALL_WEATHER) -> Any:
    """Let the model call *tool* and answer; gives what the model was told."""
    if use in (stream, stream_async):
        server.reply(events=[body])
        server.reply(events=[bodies.SUNNY])
    else:
        server.reply(body)
        server.reply(bodies.SUNNY)
    perform(server.url, use, config={"tools": [tool]})
    return server.requests[-1].body["contents"][-1]["parts"][0]["functionResponse"]["response"]


FUNCTIONS = pytest.mark.parametrize(
    ("use", "make"), [(generate, weather), (generate_async, weather), (generate_async, weather_async)]
)


@pytest.fixture
def otel(otel: Recorder) -> Recorder:
    """Without the search for agent loops, which has its own tests (and one at the end of these)."""
    instrument = otel.instrument
    otel.instrument = lambda **settings: instrument(patch={"discover": False}, **settings)  # type: ignore[method-assign]  # shadowed
    otel.instrument()
    return otel


def tools_of(otel: Recorder) -> list[dict[str, Any]]:
    return [span for span in otel.spans if span["name"].startswith("execute_tool")]


@pytest.mark.parametrize(
    ("use", "make"),
    [
        pytest.param(generate, weather, id="sync"),
        pytest.param(generate_async, weather, id="sync-tool-in-a-thread"),
        pytest.param(generate_async, weather_async, id="async"),
        pytest.param(stream, weather, id="stream"),
        pytest.param(stream_async, weather_async, id="async-stream"),
    ],
)
class TestEveryWay:
    """Each way in which the client calls a function."""

    def test_a_call_is_one_span(self, otel: Recorder, server: FakeServer, use: Any, make: Any) -> None:
        """The requests before and after it are spans of their own; the call's id is on its span."""
        assert ask(server, use, make(sunny)) == {"result": "sunny"}

        assert tools_of(otel) == [tool_span()]
        assert sorted(span["name"] for span in otel.spans) == [
            "execute_tool get_weather",
            *[f"generate_content {bodies.MODEL}"] * 2,
        ]

    def test_a_function_that_raises_is_an_error(self, otel: Recorder, server: FakeServer, use: Any, make: Any) -> None:
        """The type is that of the function's own exception; the client tells the model, as ever."""
        told = ask(server, use, make(fail))

        assert told["error"].startswith("Failed to invoke function get_weather")
        assert tools_of(otel) == [tool_span("error", "ERROR", error__type="RuntimeError")]
        assert "secret" not in json.dumps([otel.spans, otel.logs])

    def test_it_is_part_of_the_callers_trace(self, otel: Recorder, server: FakeServer, use: Any, make: Any) -> None:
        """In the function the current span is the call's; the call is a child of the program's span."""
        current: list[Any] = []

        def body(_city: str) -> str:
            current.append(trace.get_current_span().get_span_context().span_id)
            return "sunny"

        with otel.tracer_provider.get_tracer("test").start_as_current_span("program"):
            ask(server, use, make(body))

        assert tools_of(otel) == [tool_span(parent="program")]
        called = next(span for span in otel.finished if span.name.startswith("execute_tool"))
        assert current == [called.context.span_id]


@pytest.mark.parametrize("use", [chat, chat_async])
def test_chats_call_functions_too(otel: Recorder, server: FakeServer, use: Any) -> None:
    """They have loops of their own around the same functions."""
    server.reply(bodies.CALL_WEATHER)
    server.reply(bodies.SUNNY)
    server.reply(events=[bodies.CALL_WEATHER])
    server.reply(events=[bodies.SUNNY])

    perform(server.url, use, config={"tools": [weather(sunny)]})

    assert tools_of(otel) == [tool_span()] * 2
    assert len(otel.spans) == 6


@BOTH
def test_each_of_several_calls_has_its_own_id(otel: Recorder, server: FakeServer, use: Any) -> None:
    """They are called one after the other; a call without an id has none."""
    parts = [bodies.function_call("get_weather", {"city": city}, **extra) for city, extra in CALLS]
    ask(server, use, weather(sunny), bodies.response(bodies.candidate(*parts), counts=bodies.usage(1, 1)))

    assert tools_of(otel) == [tool_span(gen_ai__tool__call__id=extra.get("id")) for _, extra in CALLS]


CALLS: list[tuple[str, dict[str, str]]] = [("Bonn", {"id": "a"}), ("Rome", {}), ("Bonn", {"id": "c"})]


@BOTH
@pytest.mark.parametrize(
    ("arguments", "error_type"),
    [
        ({"town": "Bonn"}, "TypeError"),
        ({"city": 3}, "google.genai.errors.UnknownFunctionCallArgumentError"),
    ],
)
def test_arguments_that_do_not_fit_are_the_models_fault(
    otel: Recorder, server: FakeServer, use: Any, arguments: dict[str, Any], error_type: str
) -> None:
    """The call has failed, but it says nothing about the tool: its circuit stays closed."""
    otel.instrument(mode="enforce", tools={"get_weather": {"circuit": {"failures": 1}}})
    body = bodies.response(bodies.candidate(bodies.function_call("get_weather", arguments, id="call-1")))
    for _ in range(2):
        ask(server, use, weather(sunny), body)

    failed = tool_span("error", "ERROR", error__type=error_type, otel_tools__tool__argument_keys=tuple(arguments))
    assert tools_of(otel) == [failed] * 2


@BOTH
def test_a_client_error_of_the_dependency_is_not_its_failure(otel: Recorder, server: FakeServer, use: Any) -> None:
    """What the function raised is judged, not what the client wraps around it: a 404 opens no circuit."""
    otel.instrument(mode="enforce", tools={"get_weather": {"circuit": {"failures": 1}}})
    for _ in range(2):
        ask(server, use, weather(not_found))

    assert tools_of(otel) == [tool_span("error", "ERROR", error__type=f"{__name__}.NotFoundError")] * 2


class NotFoundError(Exception):
    status_code = 404


def not_found(_city: str) -> str:
    raise NotFoundError


@FUNCTIONS
def test_a_refused_call_is_told_to_the_model(otel: Recorder, server: FakeServer, use: Any, make: Any) -> None:
    """The circuit is open after one failure: the function is not called, the model gets the structured error."""
    otel.instrument(mode="enforce", tools={"get_weather": {"circuit": {"failures": 1, "jitter": 0}}})
    calls: list[str] = []

    def body(city: str) -> str:
        calls.append(city)
        return fail(city)

    tool = make(body)
    ask(server, use, tool)
    told = json.loads(ask(server, use, tool)["result"])

    assert (told["is_error"], told["error"]["reason"], calls) == (True, "circuit_open", ["Bonn"])
    first, second = tools_of(otel)
    assert first["attributes"]["otel_tools.outcome"] == "error"
    assert (second["status"], second["attributes"]["error.type"]) == ("ERROR", "circuit_open")


@FUNCTIONS
def test_an_optional_tool_degrades_to_a_note(otel: Recorder, server: FakeServer, use: Any, make: Any) -> None:
    """Its failure does not reach the model as an exception's text, but as the note."""
    otel.instrument(mode="enforce", tools={"get_weather": {"criticality": "optional"}})

    told = ask(server, use, make(fail))

    assert "secret" not in json.dumps(told)
    assert json.loads(told["result"])["error"]["reason"] == "error"
    degraded = {"otel_tools__degraded": True, "otel_tools__tool__criticality": "optional"}
    assert tools_of(otel) == [tool_span("error", "ERROR", error__type="RuntimeError", **degraded)]


@FUNCTIONS
def test_a_decorated_function_is_one_call(otel: Recorder, server: FakeServer, use: Any, make: Any) -> None:
    """The client copies its configuration, functions and all; the decorator's call is that of the client."""
    assert ask(server, use, otel_tools.tool(make(sunny))) == {"result": "sunny"}

    assert tools_of(otel) == [tool_span()]
    assert [point["value"] for point in otel.points("otel_tools.tool.calls", otel_tools__outcome="ok")] == [1]


@FUNCTIONS
def test_a_decorated_function_that_raises_is_one_call(otel: Recorder, server: FakeServer, use: Any, make: Any) -> None:
    """Its error is counted once."""
    ask(server, use, otel_tools.tool(make(fail)))

    assert tools_of(otel) == [tool_span("error", "ERROR", error__type="RuntimeError")]


@BOTH
def test_the_loop_is_one_trace(recorder: Recorder, server: FakeServer, use: Any) -> None:
    """The client's own loop is an agent run like one that a program writes by hand."""
    recorder.instrument()
    ask(server, use, weather(sunny))
    recorder.uninstrument()

    chat_name = f"generate_content {bodies.MODEL}"
    assert [(span["name"], span["parent"]) for span in recorder.spans] == [
        (chat_name, "invoke_agent"),
        ("execute_tool get_weather", "invoke_agent"),
        (chat_name, "invoke_agent"),
        ("invoke_agent", None),
    ]
