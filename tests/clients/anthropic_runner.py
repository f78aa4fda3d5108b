"""A tool runner of the `anthropic` client with one tool, the model's script for it, and the spans that a run gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
from anthropic.lib.tools import ToolError

from tests.clients import anthropic_bodies as bodies
from tests.clients.anthropic_client import ASK, TRACES_ITSELF, Connect, settled
from tests.fake_server import FakeServer
from tests.recorder import Recorder

AS_DATA = "tool_error" if TRACES_ITSELF else "error"
"""Since 2.0 an error is seen as the data that the runner makes of it, before as what the tool raises."""


def forecast(city: str) -> str:
    """The weather, for a city that there is."""
    if city == "Atlantis":
        raise LookupError("secret")
    if city == "Avalon":
        raise ToolError("Avalon has no weather.")
    return "sunny"


def tool(connect: Connect, function: Callable[[str], str] = forecast) -> Any:
    """*function* as a tool of the runner."""

    def get_weather(city: str) -> str:
        return function(city)

    async def get_weather_later(city: str) -> str:
        return function(city)

    described = {"name": "get_weather", "description": "The weather of a city."}
    if connect.asynchronous:
        return anthropic.beta_async_tool(get_weather_later, **described)
    return anthropic.beta_tool(get_weather, **described)


def runner(connect: Connect, **options: Any) -> Any:
    """A tool runner with the one tool."""
    return connect().beta.messages.tool_runner(**{**ASK, "tools": [tool(connect)], **options})


async def run(connect: Connect, **options: Any) -> Any:
    """Run to the end; gives the last message."""
    return await settled(runner(connect, **options).until_done())


def script(server: FakeServer, *turns: tuple[dict[str, Any], ...], stream: bool = False) -> None:
    """Let the model call these tools in turn, then answer."""
    for turn in turns:
        end = {"stop_reason": "tool_use"}
        server.reply(events=bodies.stream(*turn, **end)) if stream else server.reply(bodies.message(*turn, **end))
    server.reply(events=bodies.stream()) if stream else server.reply(bodies.message())


def tool_span(outcome: str = "ok", error_type: str | None = None, **changes: Any) -> dict[str, Any]:
    """The span of a call of the tool."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "get_weather",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "The weather of a city.",
        "gen_ai.tool.call.id": "toolu_1" if TRACES_ITSELF else None,
        "otel_tools.tool.argument_keys": ("city",),
        "otel_tools.tool.result.size": 5,
        "otel_tools.circuit_breaker.state": "closed",
        "otel_tools.outcome": outcome,
        "error.type": error_type,
        **changes,
    }
    return {
        "name": "execute_tool get_weather",
        "kind": "INTERNAL",
        "status": "ERROR" if error_type else "UNSET",
        "parent": "invoke_agent",
        "attributes": {name: value for name, value in attributes.items() if value is not None},
        "events": [],
    }


def session(outcome: str, calls: int, tools: int, errors: int = 0, **changes: Any) -> dict[str, Any]:
    """The span of a run."""
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.request.model": bodies.MODEL,
        "otel_tools.outcome": "cancelled" if outcome == "cancelled" else "ok",
        "otel_tools.session.outcome": outcome,
        "otel_tools.session.cost.usd": 0.0,
        "otel_tools.session.inference_calls": calls,
        "otel_tools.session.input_tokens": 104 * calls,
        "otel_tools.session.output_tokens": 25 * calls,
        "otel_tools.session.unpriced_tokens": 129 * calls,
        "otel_tools.session.tool_calls": tools,
        "otel_tools.session.tool_errors": errors,
        **changes,
    }
    kept = {name: value for name, value in attributes.items() if value is not None}
    return {
        "name": "invoke_agent",
        "kind": "INTERNAL",
        "status": "UNSET",
        "parent": None,
        "attributes": kept,
        "events": [],
    }


def tree(otel: Recorder) -> list[tuple[str, str | None]]:
    """Name and parent of every span, in the order they ended."""
    return [(span["name"], span["parent"]) for span in otel.spans]


CHAT = ("chat claude-test", "invoke_agent")
TOOL = ("execute_tool get_weather", "invoke_agent")
RUN = ("invoke_agent", None)


def results(server: FakeServer) -> list[dict[str, Any]]:
    """What the model was told of its tool calls, in the second request."""
    return [block for block in server.requests[1].body["messages"][-1]["content"] if block["type"] == "tool_result"]
