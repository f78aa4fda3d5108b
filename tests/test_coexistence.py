"""Other instrumentors of the same client: never a second span for a call, and its metrics counted once."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import wrapt

from otel_tools import coexistence
from otel_tools.coexistence import Foreign
from tests.clients import openai_bodies as bodies
from tests.fake_server import FakeServer
from tests.recorder import Recorder

openai = pytest.importorskip("openai")

GENAI = "opentelemetry.instrumentation.genai.openai"
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": bodies.MODEL}
CREATE = "openai.resources.chat.completions.completions:Completions.create"

# A module like an instrumentor's: its functions are on the call stack under the module's name.
SOURCE = """
def wrapper(wrapped, instance, args, kwargs):
    if current:
        with tracer.start_as_current_span(name, attributes=attributes):
            return wrapped(*args, **kwargs)
    with tracer.start_span(name, attributes=attributes):
        return wrapped(*args, **kwargs)
"""


class Other:
    """Instrumentors that do what the real ones were seen to do, put in their place and taken away."""

    def __init__(self, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
        self._recorder = recorder
        self._monkeypatch = monkeypatch

    def module(self, scope: str, *, current: bool = True, **attributes: Any) -> ModuleType:
        """A loaded module *scope* with a wrapper whose span is current, or is not."""
        module = ModuleType(scope)
        tracer = self._recorder.tracer_provider.get_tracer(scope)
        vars(module).update(tracer=tracer, current=current, attributes=attributes, name="theirs")
        exec(SOURCE, vars(module))
        self._monkeypatch.setitem(sys.modules, scope, module)
        return module

    def wrap(self, hook: str, wrapper: Callable[..., Any]) -> None:
        """Wrap *hook*, `module:Class.method`, now."""
        module, _, path = hook.partition(":")
        parent, attribute, original = wrapt.resolve_path(importlib.import_module(module), path)
        self._monkeypatch.setattr(parent, attribute, wrapt.FunctionWrapper(original, wrapper))


@pytest.fixture
def other(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Other:
    return Other(recorder, monkeypatch)


@pytest.fixture
def client(server: FakeServer) -> Iterator[Any]:
    """An OpenAI client whose every call gets a chat completion."""
    server.default = server.reply(bodies.chat())
    with openai.OpenAI(api_key="key", base_url=server.url) as client:
        yield client


def ask(client: Any) -> None:
    client.chat.completions.create(model=bodies.MODEL, messages=bodies.MESSAGES)


def names(recorder: Recorder) -> list[str]:
    return [span["name"] for span in recorder.spans]


def test_their_current_span_is_the_span(recorder: Recorder, otel: Recorder, other: Other, client: Any) -> None:
    """An official instrumentor's span gets our attributes; it counts the call, we count what it cost."""
    other.wrap(CREATE, other.module(GENAI, **CHAT).wrapper)
    ask(client)
    (span,) = recorder.spans
    assert span["name"] == "theirs"
    assert (
        span["attributes"].items()
        >= {
            **CHAT,
            "gen_ai.usage.input_tokens": 117,
            "gen_ai.response.finish_reasons": ("stop",),
            "otel_tools.outcome": "ok",
            "otel_tools.usage.quality": "exact",
        }.items()
    )
    metrics = otel.metrics
    assert "gen_ai.client.token.usage" not in metrics
    assert "gen_ai.client.operation.duration" not in metrics
    assert len(metrics["otel_tools.client.cost"]) == 1
    assert [record["event"] for record in otel.logs] == ["otel_tools.llm_call"]


def test_we_count_for_those_who_do_not(recorder: Recorder, otel: Recorder, other: Other, client: Any) -> None:
    """OpenInference has no metrics: its span, our metrics."""
    kind = {"openinference.span.kind": "LLM"}
    other.wrap(CREATE, other.module("openinference.instrumentation.openai", **kind).wrapper)
    ask(client)
    assert names(recorder) == ["theirs"]
    (duration,) = otel.metrics["gen_ai.client.operation.duration"]
    assert duration["count"] == 1


def test_an_error_shows_on_their_span(recorder: Recorder, otel: Recorder, other: Other, server: FakeServer) -> None:
    """The failed call is an error of our type on their span, which they end."""
    other.wrap(CREATE, other.module(GENAI, **CHAT).wrapper)
    server.reply(bodies.error(), status=401)
    with openai.OpenAI(api_key="key", base_url=server.url) as client, pytest.raises(openai.AuthenticationError):
        ask(client)
    (span,) = recorder.spans
    assert (span["name"], span["status"]) == ("theirs", "ERROR")
    assert span["attributes"]["error.type"] == "openai.AuthenticationError"


def test_a_span_that_cannot_be_seen(recorder: Recorder, otel: Recorder, other: Other, client: Any) -> None:
    """Traceloop's Responses and Anthropic wrappers keep their span to themselves: ours stays away all the same."""
    scope = "opentelemetry.instrumentation.anthropic"
    other.wrap(CREATE, other.module(scope, current=False, **CHAT).wrapper)
    ask(client)
    (span,) = recorder.spans
    assert (span["name"], span["attributes"]) == ("theirs", CHAT)
    metrics = otel.metrics
    assert "gen_ai.client.token.usage" not in metrics
    assert len(metrics["otel_tools.client.cost"]) == 1


def test_a_direct_call_beside_callbacks_is_ours(
    recorder: Recorder, otel: Recorder, other: Other, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With LangChain callbacks at work, a chat model's call is theirs, a direct call of the client is ours."""
    langchain = pytest.importorskip("langchain_openai")
    pytest.importorskip("langchain_core.callbacks.base")
    module = other.module("opentelemetry.instrumentation.langchain")
    other.wrap(coexistence._CALLBACKS, lambda wrapped, _, args, kwargs: wrapped(*args, **kwargs))
    ask(client)
    assert names(recorder) == [f"chat {bodies.MODEL}"]
    recorder.clear()
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    other.wrap(coexistence._CALLBACKS, pass_on(module))
    model = langchain.ChatOpenAI(model=bodies.MODEL, api_key="key", base_url=str(client.base_url))
    model.invoke("What is the weather in Paris?")
    assert names(recorder) == []
    ask(client)
    assert names(recorder) == [f"chat {bodies.MODEL}"]


def pass_on(module: ModuleType) -> Callable[..., Any]:
    """A wrapper that *module* seems to have defined, and that does nothing."""

    def wrapper(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    wrapper.__module__ = module.__name__
    return wrapper


def test_a_subclass_that_was_wrapped_before_us(recorder: Recorder, other: Other, client: Any) -> None:
    """OpenInference wraps `OpenAI.request`, which hides the base class's method: we still see the call, inside."""
    recorder.uninstrument()
    kind = {"openinference.span.kind": "LLM"}
    other.wrap("openai:OpenAI.request", other.module("openinference.instrumentation.openai", **kind).wrapper)
    recorder.instrument()
    ask(client)
    (span,) = recorder.spans
    assert (span["name"], span["attributes"]["otel_tools.outcome"]) == ("theirs", "ok")
    recorder.clear()
    recorder.uninstrument()
    ask(client)
    (span,) = recorder.spans
    assert span["attributes"] == kind


@pytest.mark.parametrize("scope", [GENAI, "openinference.instrumentation.openai"])
def test_the_other_instrumentors_are_named(other: Other, scope: str) -> None:
    """`doctor` and the log line name the distributions that have wrapped the client."""
    assert coexistence.active_instrumentors("openai") == []
    other.wrap(CREATE, other.module(scope).wrapper)
    other.wrap(CREATE, pass_on(ModuleType("acme.tracing")))
    known = coexistence._DISTRIBUTIONS[scope]
    assert coexistence.active_instrumentors("openai") == sorted(["acme.tracing", known])
    assert coexistence.active_instrumentors("unheard-of") == []


@pytest.mark.parametrize(
    ("scope", "attributes", "operation", "name", "found"),
    [
        (GENAI, CHAT, "chat", bodies.MODEL, Foreign(GENAI, True)),
        (GENAI, CHAT, "embeddings", bodies.MODEL, None),
        (GENAI, CHAT, "chat", "another-model", None),
        ("pydantic-ai", {"gen_ai.operation.name": "chat"}, "chat", "gpt-4o", Foreign("pydantic-ai", True)),
        ("strands.telemetry.tracer", CHAT, "chat", bodies.MODEL, Foreign("strands.telemetry.tracer", False)),
        (
            "litellm",
            {**CHAT, "gen_ai.request.model": f"openai/{bodies.MODEL}"},
            "chat",
            bodies.MODEL,
            Foreign("litellm", False),
        ),
        (
            "gcp.vertex.agent",
            {"gen_ai.operation.name": "generate_content"},
            "chat",
            "gemini",
            Foreign("gcp.vertex.agent", True),
        ),
        (
            "gcp.vertex.agent",
            {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"},
            "execute_tool",
            "search",
            Foreign("gcp.vertex.agent", True),
        ),
        (
            "mcp-python-sdk",
            {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"},
            "execute_tool",
            "search",
            Foreign("mcp-python-sdk", False),
        ),
        (
            "mcp-python-sdk",
            {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"},
            "execute_tool",
            "index",
            None,
        ),
        (
            "openinference.instrumentation.langchain",
            {"openinference.span.kind": "TOOL", "tool.name": "search"},
            "execute_tool",
            "search",
            Foreign("openinference.instrumentation.langchain", False),
        ),
        (
            "opentelemetry.instrumentation.openai.v1",
            CHAT,
            "chat",
            None,
            Foreign("opentelemetry.instrumentation.openai.v1", True),
        ),
        ("my.program", {}, "chat", bodies.MODEL, None),
        ("my.program", {"gen_ai.operation.name": "invoke_agent"}, "chat", bodies.MODEL, None),
    ],
)
def test_whose_span_it_is(
    scope: str, attributes: dict[str, Any], operation: str, name: str | None, found: Foreign | None
) -> None:
    """A span is for our call if it says so: the operation, and the model, tool or agent where it names one."""
    assert coexistence.owner(scope, attributes, operation, name) == found
