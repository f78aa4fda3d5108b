"""The real instrumentors beside ours, where they are installed: one chat span a call, its tokens counted once.

None of them is a dependency of the tests; install one beside the newest clients to run its part. Some leave wrappers
behind when they are switched off, so let this file be the last of a run.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import pytest
import wrapt

from otel_tools import coexistence
from tests.clients import anthropic_bodies, openai_bodies
from tests.fake_server import FakeServer, Reply
from tests.recorder import Recorder

OPENAI = {
    "opentelemetry.instrumentation.genai.openai": "OpenAIInstrumentor",
    "opentelemetry.instrumentation.openai_v2": "OpenAIInstrumentor",
    "opentelemetry.instrumentation.openai": "OpenAIInstrumentor",
    "openinference.instrumentation.openai": "OpenAIInstrumentor",
}
ANTHROPIC = {
    "opentelemetry.instrumentation.genai.anthropic": "AnthropicInstrumentor",
    "opentelemetry.instrumentation.anthropic": "AnthropicInstrumentor",
    "openinference.instrumentation.anthropic": "AnthropicInstrumentor",
}


# what others do at import is not ours to mend
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

LANGCHAIN = {
    "opentelemetry.instrumentation.genai.langchain": "LangChainInstrumentor",
    "opentelemetry.instrumentation.langchain": "LangchainInstrumentor",
    "openinference.instrumentation.langchain": "LangChainInstrumentor",
}


def installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


if not any(map(installed, [*OPENAI, *ANTHROPIC, *LANGCHAIN])):
    pytest.skip("none of the other instrumentors is installed", allow_module_level=True)


class Theirs(NamedTuple):
    """An instrumentor, and whether it is switched on before ours."""

    module: str
    first: bool


@pytest.fixture
def both(request: pytest.FixtureRequest, recorder: Recorder) -> Iterator[Theirs]:
    """Both instrumentors switched on, in the order asked for."""
    theirs: Theirs = request.param
    module = pytest.importorskip(theirs.module, exc_type=ImportError)
    instrumentor = getattr(module, {**OPENAI, **ANTHROPIC, **LANGCHAIN}[theirs.module])()
    if not theirs.first:
        recorder.instrument()
    instrumentor.instrument(tracer_provider=recorder.tracer_provider, meter_provider=recorder.meter_provider)
    if theirs.first:
        recorder.instrument()
    yield theirs
    instrumentor.uninstrument()
    recorder.uninstrument()
    clean_up()


def clean_up() -> None:
    """Take away the wrappers that some instrumentors leave behind."""
    for hook in sum(coexistence._HOOKS.values(), ()):
        module, _, path = hook.partition(":")
        if module in sys.modules:
            cls, attribute, found = wrapt.resolve_path(sys.modules[module], path)
            while isinstance(found, wrapt.FunctionWrapper):
                found = found.__wrapped__
                setattr(cls, attribute, found)
    if "openai" in sys.modules:
        for client in (sys.modules["openai"].OpenAI, sys.modules["openai"].AsyncOpenAI):
            if "request" in vars(client):
                del client.request


def orders(modules: dict[str, str]) -> pytest.MarkDecorator:
    """Every instrumentor of *modules*, on before ours and after."""
    cases = [Theirs(module, first) for module in filter(installed, modules) for first in (True, False)]
    names = [f"{case.module}-{'first' if case.first else 'last'}" for case in cases]
    return pytest.mark.parametrize("both", cases, indirect=True, ids=names)


def chats(recorder: Recorder) -> list[str]:
    """The tracers of the finished spans that say they are of a chat."""
    return [
        span.instrumentation_scope.name
        for span in recorder.finished
        if span.attributes.get("gen_ai.operation.name") == "chat"
        or span.attributes.get("openinference.span.kind") == "LLM"
    ]


def counted(recorder: Recorder, metric: str, **attributes: Any) -> int:
    """How many measurements all meters together have of *metric*."""
    data = recorder._metrics.get_metrics_data()
    return sum(
        point.count
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for found in scope.metrics
        if found.name == metric
        for point in found.data.data_points
        if attributes.items() <= dict(point.attributes).items()
    )


def check(recorder: Recorder, calls: int) -> None:
    """One chat span a call, input tokens and durations counted once a call, the cost known to us."""
    assert len(scopes := chats(recorder)) == calls, scopes
    tokens = counted(recorder, "gen_ai.client.token.usage", **{"gen_ai.token.type": "input"})
    # it has no tokens of streams and raw responses
    assert tokens == calls or (tokens == 0 and scopes == ["opentelemetry.instrumentation.openai_v2"])
    assert counted(recorder, "gen_ai.client.operation.duration") == calls
    assert [record["event"] for record in recorder.logs] == ["otel_tools.llm_call"] * calls


Use = Callable[[Any], Any]
AsyncUse = Callable[[Any], Awaitable[Any]]


# --- openai ---------------------------------------------------------------------------------------------------------
ASK = {"model": openai_bodies.MODEL, "messages": openai_bodies.MESSAGES}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}
ASK_RESPONSES = {"model": openai_bodies.MODEL, "input": "What is the weather in Paris?"}


def chat_stream(client: Any) -> None:
    list(client.chat.completions.create(**ASK, **STREAM))


def chat_helper(client: Any) -> None:
    with client.chat.completions.stream(**ASK, stream_options={"include_usage": True}) as stream:
        stream.until_done()


async def async_chat_stream(client: Any) -> None:
    async for _ in await client.chat.completions.create(**ASK, **STREAM):
        pass


OPENAI_CALLS: dict[str, tuple[dict[str, Any], Use]] = {
    "chat": ({"body": openai_bodies.chat()}, lambda client: client.chat.completions.create(**ASK)),
    "raw": ({"body": openai_bodies.chat()}, lambda client: client.chat.completions.with_raw_response.create(**ASK)),
    "parse": ({"body": openai_bodies.chat()}, lambda client: client.chat.completions.parse(**ASK)),
    "stream": ({"events": openai_bodies.chat_stream()}, chat_stream),
    "helper": ({"events": openai_bodies.chat_stream()}, chat_helper),
    "responses": (
        {"body": openai_bodies.response(openai_bodies.text_item())},
        lambda client: client.responses.create(**ASK_RESPONSES),
    ),
}
ASYNC_OPENAI_CALLS: dict[str, tuple[dict[str, Any], AsyncUse]] = {
    "chat": ({"body": openai_bodies.chat()}, lambda client: client.chat.completions.create(**ASK)),
    "stream": ({"events": openai_bodies.chat_stream()}, async_chat_stream),
    "responses": (
        {"body": openai_bodies.response(openai_bodies.text_item())},
        lambda client: client.responses.create(**ASK_RESPONSES),
    ),
}


@orders(OPENAI)
@pytest.mark.parametrize("call", OPENAI_CALLS)
def test_openai(both: Theirs, recorder: Recorder, server: FakeServer, call: str) -> None:
    """A call of the sync client."""
    openai = pytest.importorskip("openai")
    reply, use = OPENAI_CALLS[call]
    server.default = Reply(**reply)
    with openai.OpenAI(api_key="key", base_url=server.url) as client:
        use(client)
    check(recorder, 1)
    assert coexistence.active_instrumentors("openai") == [coexistence._DISTRIBUTIONS[both.module]]


@orders(OPENAI)
@pytest.mark.parametrize("call", ASYNC_OPENAI_CALLS)
async def test_async_openai(both: Theirs, recorder: Recorder, server: FakeServer, call: str) -> None:
    """A call of the async client."""
    openai = pytest.importorskip("openai")
    reply, use = ASYNC_OPENAI_CALLS[call]
    server.default = Reply(**reply)
    async with openai.AsyncOpenAI(api_key="key", base_url=server.url) as client:
        await use(client)
    check(recorder, 1)


# --- anthropic ------------------------------------------------------------------------------------------------------
ASK_CLAUDE = {"model": anthropic_bodies.MODEL, "max_tokens": 10, "messages": anthropic_bodies.MESSAGES}
MESSAGE = {"body": anthropic_bodies.message(anthropic_bodies.text())}
EVENTS = {"events": anthropic_bodies.stream(anthropic_bodies.text())}


def message_stream(client: Any) -> None:
    list(client.messages.create(**ASK_CLAUDE, stream=True))


def message_helper(client: Any) -> None:
    with client.messages.stream(**ASK_CLAUDE) as stream:
        stream.get_final_message()


async def async_message_stream(client: Any) -> None:
    async for _ in await client.messages.create(**ASK_CLAUDE, stream=True):
        pass


async def async_message_helper(client: Any) -> None:
    async with client.messages.stream(**ASK_CLAUDE) as stream:
        await stream.get_final_message()


ANTHROPIC_CALLS: dict[str, tuple[dict[str, Any], Use]] = {
    "create": (MESSAGE, lambda client: client.messages.create(**ASK_CLAUDE)),
    "beta": (MESSAGE, lambda client: client.beta.messages.create(**ASK_CLAUDE)),
    "raw": (MESSAGE, lambda client: client.messages.with_raw_response.create(**ASK_CLAUDE)),
    "stream": (EVENTS, message_stream),
    "helper": (EVENTS, message_helper),
}
ASYNC_ANTHROPIC_CALLS: dict[str, tuple[dict[str, Any], AsyncUse]] = {
    "create": (MESSAGE, lambda client: client.messages.create(**ASK_CLAUDE)),
    "stream": (EVENTS, async_message_stream),
    "helper": (EVENTS, async_message_helper),
}


@orders(ANTHROPIC)
@pytest.mark.parametrize("call", ANTHROPIC_CALLS)
def test_anthropic(both: Theirs, recorder: Recorder, server: FakeServer, call: str) -> None:
    """A call of the sync client, which traces itself since 2.0: three spans would be possible."""
    anthropic = pytest.importorskip("anthropic")
    reply, use = ANTHROPIC_CALLS[call]
    server.default = Reply(**reply)
    with anthropic.Anthropic(api_key="key", base_url=server.url, **tracing(recorder)) as client:
        use(client)
    check(recorder, 1)
    assert coexistence.active_instrumentors("anthropic") == [coexistence._DISTRIBUTIONS[both.module]]


@orders(ANTHROPIC)
@pytest.mark.parametrize("call", ASYNC_ANTHROPIC_CALLS)
async def test_async_anthropic(both: Theirs, recorder: Recorder, server: FakeServer, call: str) -> None:
    """A call of the async client."""
    anthropic = pytest.importorskip("anthropic")
    reply, use = ASYNC_ANTHROPIC_CALLS[call]
    server.default = Reply(**reply)
    async with anthropic.AsyncAnthropic(api_key="key", base_url=server.url, **tracing(recorder)) as client:
        await use(client)
    check(recorder, 1)


def tracing(recorder: Recorder) -> dict[str, Any]:
    """The client's own tracing, where it has it, goes where ours goes."""
    native = importlib.import_module("anthropic").__version__ >= "2"
    return {"open_telemetry": {"tracer_provider": recorder.tracer_provider}} if native else {}


# --- langchain ------------------------------------------------------------------------------------------------------
@orders(LANGCHAIN)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_chat_model(both: Theirs, recorder: Recorder, server: FakeServer, stream: bool) -> None:
    """A LangChain chat model, sync and async, is traced by its callbacks; a direct call of the client by us."""
    langchain = pytest.importorskip("langchain_openai")
    openai = pytest.importorskip("openai")
    server.default = Reply(openai_bodies.chat(), events=openai_bodies.chat_stream() if stream else None)
    model = langchain.ChatOpenAI(model=openai_bodies.MODEL, api_key="key", base_url=server.url, stream_usage=True)
    if stream:
        list(model.stream("What is the weather in Paris?"))
        [chunk async for chunk in model.astream("What is the weather in Paris?")]
    else:
        model.invoke("What is the weather in Paris?")
        await model.ainvoke("What is the weather in Paris?")
    model.root_client.close()
    await model.root_async_client.close()
    check(recorder, 2)
    assert "otel_tools" not in chats(recorder)
    assert coexistence.active_instrumentors("langchain-core") == [coexistence._DISTRIBUTIONS[both.module]]
    server.default = Reply(openai_bodies.chat())
    with openai.OpenAI(api_key="key", base_url=server.url) as client:
        client.chat.completions.create(**ASK)
    check(recorder, 3)
    assert chats(recorder)[-1] == "otel_tools"
