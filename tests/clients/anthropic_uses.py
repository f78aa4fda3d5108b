"""What programs do with the Anthropic client: ways to ask, ways to use the answer, and what the server answers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import anthropic
import pydantic

from tests.clients import anthropic_bodies as bodies
from tests.clients.anthropic_client import ASK, entered, first, listed, settled
from tests.fake_server import FakeServer

Note = Callable[[Any], None]
STREAM = {**ASK, "stream": True}
RAW, HELD = "with_raw_response", "with_streaming_response"


class Weather(pydantic.BaseModel):
    """What is asked for."""

    sunny: bool


# --- what a program does --------------------------------------------------------------------------------------------
async def model(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Ask for a whole answer."""
    note(await settled(use(client)))


async def raw(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Ask for a raw response: its headers, and what it holds, which is the same object each time."""
    response = await settled(use(client))
    note(response)
    note(response.headers)
    note(await settled(response.parse()))
    note(await settled(response.parse()) is await settled(response.parse()))


async def stream(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Read a stream to its end, and once more."""
    answer = await settled(use(client))
    note(answer)
    note(await listed(answer))
    note(await listed(answer))
    note(answer.response.is_closed)


async def raw_stream(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Read the stream of a raw response."""
    response = await settled(use(client))
    note(response)
    note(await listed(await settled(response.parse())))
    note(await settled(response.parse()))


async def held(method: str, use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Read a response while it arrives."""
    async with entered(use(client)) as response:
        note(response)
        answer = getattr(response, method)()
        note(await listed(answer) if method.startswith("iter_") else await settled(answer))
        note(response.is_closed)
    note(response.is_closed)


async def held_stream(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Read a stream in a response that is read while it arrives."""
    async with entered(use(client)) as response:
        answer = await settled(response.parse())
        note(answer)
        note(await listed(answer))
        note(await settled(response.parse()) is answer)


async def held_unread(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Only look at the headers of a response."""
    async with entered(use(client)) as response:
        note(response.headers)
    note(response)


async def helper(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Read the events of a stream helper, then ask it for the whole."""
    async with entered(use(client)) as events:
        note(events)
        note(await listed(events))
        note(await settled(events.get_final_message()))
        note(await settled(events.get_final_text()))
        note(events.current_message_snapshot)
    note(events)


async def helper_texts(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Read only the text of a stream helper."""
    async with entered(use(client)) as events:
        note(await listed(events.text_stream))
        note(await listed(events))


async def helper_left(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Leave the `with` block of a stream helper."""
    async with entered(use(client)) as events:
        note(await first(events.text_stream))
        note(events.current_message_snapshot)
    note(events)


async def left(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Read four events of a stream, then close it."""
    answer = await settled(use(client))
    for _ in range(4):
        note(await first(answer))
    await settled(answer.close())
    note(answer)


async def dropped(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Drop a stream after its first event."""
    note(await first(await settled(use(client))))


async def reader_fails(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Fail while reading."""
    async with entered(await settled(use(client))) as answer:
        note(await first(answer))
        raise LookupError("reader")


# --- a tool runner --------------------------------------------------------------------------------------------------
def forecast(city: str) -> str:
    """The weather, for a city that there is."""
    if city == "Rome":
        raise LookupError(city)
    return "sunny"


def tool_runner(client: Any, **options: Any) -> Any:
    """A runner with the one tool."""
    described = {"name": "get_weather", "description": "The weather of a city."}
    if isinstance(client, anthropic.AsyncAnthropic):

        async def get_weather_later(city: str) -> str:
            return forecast(city)

        tools = [anthropic.beta_async_tool(get_weather_later, **described)]
    else:
        tools = [anthropic.beta_tool(forecast, **described)]
    return client.beta.messages.tool_runner(**ASK, tools=tools, **options)


async def run_tools(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Run tools until the model has done; one of them fails, one there is not."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        runner = use(client)
        note(await settled(runner.until_done()))
    note([str(warning.message) for warning in warned])


async def iterate_tools(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Read each reply of a streaming run, leave the last."""
    runner = use(client)
    async for reply in runner if hasattr(runner, "__aiter__") else later(runner):
        note(await listed(reply.text_stream))
        note(await settled(runner.generate_tool_call_response()))


async def later(items: Any) -> Any:
    """*items* as an async iterator."""
    for item in items:
        yield item


# --- public entry points --------------------------------------------------------------------------------------------
def queue(*answers: Any, **options: Any) -> Callable[[FakeServer], None]:
    """Queue *answers*; a list is a stream."""

    def replies(server: FakeServer) -> None:
        for answer in answers:
            kind = {"events": answer} if isinstance(answer, list) else {"body": answer}
            server.reply(**kind, **options)

    return replies


def retried(server: FakeServer) -> None:
    server.reply(bodies.error(), status=529, headers={"retry-after-ms": "1"})
    server.reply(bodies.message())


def messages(client: Any, variant: str = "") -> Any:
    return getattr(client.messages, variant) if variant else client.messages


PLAIN = queue(bodies.message())
EVENTS = queue(bodies.stream())
PARIS, ROME, MOON = (
    bodies.tool_use(city="Paris"),
    bodies.tool_use(city="Rome", call_id="toolu_2"),
    bodies.tool_use("get_moon", call_id="toolu_3"),
)
RUN = queue(bodies.message(PARIS, ROME, MOON, stop_reason="tool_use"), bodies.message())
STREAMED_RUN = queue(bodies.stream(bodies.text(), PARIS, stop_reason="tool_use"), bodies.stream())
ANSWER = queue(bodies.message(bodies.text('{"sunny": true}')))
TOOL_EVENTS = queue(bodies.stream(bodies.text(), PARIS, stop_reason="tool_use"))

USES: dict[str, tuple[Any, Any, Any]] = {
    "create": (model, lambda c: messages(c).create(**ASK), PLAIN),
    "beta": (model, lambda c: c.beta.messages.create(**ASK, betas=["some-beta"]), PLAIN),
    "tools": (model, lambda c: messages(c).create(**ASK, tools=[bodies.TOOL], system="Be brief."), PLAIN),
    "iterators": (
        model,
        lambda c: messages(c).create(**{**ASK, "messages": (m for m in bodies.MESSAGES)}, tools=iter([bodies.TOOL])),
        PLAIN,
    ),
    "parse": (model, lambda c: messages(c).parse(**ASK, output_format=Weather), ANSWER),
    "parse fails": (model, lambda c: messages(c).parse(**ASK, output_format=Weather), PLAIN),
    "raw": (raw, lambda c: messages(c, RAW).create(**ASK), PLAIN),
    "stream": (stream, lambda c: messages(c).create(**STREAM), EVENTS),
    "tool stream": (stream, lambda c: messages(c).create(**STREAM), TOOL_EVENTS),
    "beta stream": (stream, lambda c: c.beta.messages.create(**STREAM), EVENTS),
    "raw stream": (raw_stream, lambda c: messages(c, RAW).create(**STREAM), EVENTS),
    **{
        f"held {method}": (partial(held, method), lambda c: messages(c, HELD).create(**ASK), PLAIN)
        for method in ("parse", "json", "text", "read", "iter_lines", "iter_text", "iter_bytes")
    },
    "held stream": (held_stream, lambda c: messages(c, HELD).create(**STREAM), EVENTS),
    "held stream lines": (partial(held, "iter_lines"), lambda c: messages(c, HELD).create(**STREAM), EVENTS),
    "held unread": (held_unread, lambda c: messages(c, HELD).create(**STREAM), EVENTS),
    "helper": (helper, lambda c: messages(c).stream(**ASK), EVENTS),
    "beta helper": (helper, lambda c: c.beta.messages.stream(**ASK), EVENTS),
    "helper texts": (helper_texts, lambda c: messages(c).stream(**ASK), TOOL_EVENTS),
    "helper left": (helper_left, lambda c: messages(c).stream(**ASK), EVENTS),
    "left": (left, lambda c: messages(c).create(**STREAM), EVENTS),
    "dropped": (dropped, lambda c: messages(c).create(**STREAM), EVENTS),
    "reader fails": (reader_fails, lambda c: messages(c).create(**STREAM), EVENTS),
    "unauthorized": (model, lambda c: messages(c).create(**ASK), queue(bodies.error(), status=401)),
    "stream unauthorized": (stream, lambda c: messages(c).create(**STREAM), queue(bodies.error(), status=401)),
    "error in stream": (
        stream,
        lambda c: messages(c).create(**STREAM),
        queue([*bodies.stream()[:4], bodies.error()]),
    ),
    "error in helper": (helper, lambda c: messages(c).stream(**ASK), queue([*bodies.stream()[:4], bodies.error()])),
    "cut short": (stream, lambda c: messages(c).create(**STREAM), queue(bodies.stream()[:5])),
    "bad arguments": (model, lambda c: messages(c).create(model="m"), queue()),
    "no JSON": (model, lambda c: messages(c).create(**ASK), queue(None)),
    "runner": (run_tools, tool_runner, RUN),
    "runner at its limit": (
        run_tools,
        partial(tool_runner, max_iterations=1),
        queue(bodies.message(PARIS, stop_reason="tool_use")),
    ),
    "streaming runner": (run_tools, partial(tool_runner, stream=True), STREAMED_RUN),
    "iterated runner": (iterate_tools, partial(tool_runner, stream=True), STREAMED_RUN),
    "retried": (model, lambda c: messages(c).create(**ASK), retried),
}
"""How the answer is used, how it is asked for, and what is answered."""
