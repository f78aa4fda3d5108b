"""The vocabulary: what an adapter declares and what it reads. Values only, no behaviour, no OpenTelemetry.

An adapter module holds one `ADAPTER`. Its targets name the methods to patch and bring small functions that read a call:

* `request(invocation)` gives an `LLMRequest`, `ToolRequest` or `AgentRequest`, or `None` for "not ours, leave it alone".
* `view(value)` says how the returned value is to be read: whole, awaited, as a stream, or later by the caller.
* `response(payload)` (of the request's `Wire`, or of the target) reads the final value.
* `fallback(invocation, request, text)` builds the framework's own return type from a note for the model.

Readers work structurally (`getattr`, `dict.get`), import nothing of the library they describe, and may fail: the engine
guards every one of them, and the call goes on untouched.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from otel_tools.policy.options import Limits
from otel_tools.policy.outcome import Outcome


class Invocation(NamedTuple):
    """One call of a patched method."""

    wrapped: Callable[..., Any]
    instance: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """The argument that the method knows as *name*, given by position or by keyword."""
        if name in self.kwargs:
            return self.kwargs[name]
        return self.args[position] if len(self.args) > position else default


# --- what a call asks for -------------------------------------------------------------------------------------------
@dataclass(slots=True)
class Content:
    """Messages in the structure of the GenAI JSON schemas; read only when capture is switched on."""

    system_instructions: list[dict[str, Any]] | None = None
    input_messages: list[dict[str, Any]] | None = None
    output_messages: list[dict[str, Any]] | None = None
    tool_definitions: list[dict[str, Any]] | None = None


@dataclass(slots=True)
class LLMRequest:
    """A call of an LLM client.

    Args:
        operation: `chat`, `embeddings`, `generate_content` or `text_completion`.
        provider: A value of `gen_ai.provider.name`, from the endpoint where the SDK is pointed elsewhere.
        client: The client library; the key of `clients:` in the configuration.
        model: The model asked for.
        wire: Reads the response and its chunks.
        stream: Whether the response is streamed.
        fields: Keys of `semconv.REQUEST_FIELDS` -> value; `None` is left out.
        content: Gives messages and tool definitions, called only when capture is on.
        tool_names: Gives the names of the functions that the model may call.
    """

    operation: str
    provider: str
    client: str
    model: str | None
    wire: Wire
    address: str | None = None
    port: int | None = None
    stream: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)
    content: Callable[[], Content] | None = None
    tool_names: Callable[[], Sequence[str]] | None = None


@dataclass(slots=True)
class ToolRequest:
    """A call of a tool.

    Args:
        name: The tool's name as the model knows it.
        library: The framework it was called through (`function` for plain callables). A call of the same tool name
            through another framework, inside this one, is the same call.
        arguments: Only the keys are used, unless capture is on.
        description: What the model is told of the tool.
        fields: Keys of `semconv.TOOL_FIELDS` -> value.
        remote: Incoming trace context (W3C headers, MCP `_meta`), for the server side.
    """

    name: str
    library: str
    call_id: str | None = None
    type: str = "function"
    description: str | None = None
    arguments: Mapping[str, Any] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    remote: Mapping[str, Any] | None = None


@dataclass(slots=True)
class AgentRequest:
    """An agent run, which is a session (or a part of one).

    Args:
        name: The agent's name.
        limits: What it may use, given in code; else the configuration's limits hold for the outermost run.
    """

    name: str | None
    library: str
    conversation_id: str | None = None
    description: str | None = None
    model: str | None = None
    user_id: str | None = None
    limits: Limits | None = None


@dataclass(slots=True, frozen=True)
class Handled:
    """No call of its own: the library is about to turn *error*, raised in the tool call around this one, into data.

    What that call returns need not show it; it ends as a `TOOL_ERROR` all the same, or as its target's *error* says.
    """

    error: BaseException


Request: TypeAlias = LLMRequest | ToolRequest | AgentRequest


# --- what came of it ------------------------------------------------------------------------------------------------
Quality: TypeAlias = Literal["exact", "partial", "absent"]


@dataclass(slots=True)
class Usage:
    """Billed tokens of one LLM call. The two totals include all details (cached, reasoning, per modality).

    Args:
        cache_write_1h_tokens: The part of *cache_write_tokens* that is kept for an hour (priced differently).
        quality: `exact` from the provider's final count, `partial` from a stream that ended early (a placeholder of
            the provider never counts as output tokens), `absent` when the provider said nothing.
        cost: USD that the provider itself reports, if it does.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    text_input_tokens: int | None = None
    image_input_tokens: int | None = None
    audio_input_tokens: int | None = None
    text_output_tokens: int | None = None
    image_output_tokens: int | None = None
    audio_output_tokens: int | None = None
    text_cache_read_tokens: int | None = None
    image_cache_read_tokens: int | None = None
    audio_cache_read_tokens: int | None = None
    quality: Quality = "exact"
    cost: float | None = None


@dataclass(slots=True)
class LLMResponse:
    """What an LLM client returned.

    Args:
        finish_reasons: One per choice, in order.
        usage: `None` is the same as quality `absent`.
        fields: Keys of `semconv.RESPONSE_FIELDS` -> value.
        output: Gives the output messages, called only when capture is on.
        error_type: Set when the response itself says that the call failed (the Responses API's `status: failed`).
    """

    id: str | None = None
    model: str | None = None
    finish_reasons: Sequence[str] = ()
    usage: Usage | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    output: Callable[[], list[dict[str, Any]]] | None = None
    error_type: str | None = None


@dataclass(slots=True)
class ToolResponse:
    """What a tool returned.

    Args:
        outcome: `OK`, `TOOL_ERROR` (an error returned as data) or `INTERRUPTED` (waits for a human).
        neutral: The error says nothing about the dependency (bad arguments).
        result: What goes back to the model, to be measured (UTF-8 bytes) and, if capture is on, recorded.
        error_type: A more precise `error.type` than `tool_error`, of low cardinality.
        fields: Keys of `semconv.TOOL_FIELDS` -> value.
    """

    outcome: Outcome = Outcome.OK
    neutral: bool = False
    result: Any = None
    error_type: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class AgentResponse:
    """What an agent run returned: a value of `semconv.SESSION_OUTCOMES`, and its output for capture."""

    outcome: str = "completed"
    conversation_id: str | None = None


Response: TypeAlias = LLMResponse | ToolResponse | AgentResponse


class Chunks(Protocol):
    """Collects the chunks of one stream."""

    def add(self, chunk: Any) -> bool:
        """Take in *chunk*; true when it carries content (text, reasoning, a tool call), which starts the clock of
        time to first chunk. Role-only, ping and start events do not."""

    def response(self, complete: bool) -> LLMResponse:
        """What has arrived; *complete* is false when the stream was left early or failed."""


class Wire(Protocol):
    """Reads one wire format, whichever client speaks it."""

    def response(self, payload: Any) -> LLMResponse:
        """Read a whole response."""

    def chunks(self) -> Chunks:
        """A new collector for a streamed response."""


# --- how a returned value is read -----------------------------------------------------------------------------------
@dataclass(slots=True, frozen=True)
class Whole:
    """The value, or what it wraps, is the response."""

    payload: Any


@dataclass(slots=True, frozen=True)
class Later:
    """Awaiting `read()` gives the payload, which is then viewed in turn."""

    read: Callable[[], Awaitable[Any]]


@dataclass(slots=True, frozen=True)
class InPlace:
    """A stream object that must stay itself: its iterator attribute is replaced and its close methods are shadowed.

    Args:
        stream: The object the caller gets (or will get, from a raw response that caches it).
        iterator: Name of the attribute that holds the iterator.
        asynchronous: Whether that is an async iterator.
        close: Names of its closing methods, those that exist are shadowed.
        transport: The response below it, through which some helpers close it instead. Its closing methods are shadowed
            likewise; a stream read to its end closes it, too, from inside `next`.
    """

    stream: Any
    iterator: str = "_iterator"
    asynchronous: bool = False
    close: tuple[str, ...] = ("close", "aclose")
    transport: Any = None


@dataclass(slots=True, frozen=True)
class Iterated:
    """An iterator (or async iterator) that the caller only iterates: it is replaced by a watching one."""

    iterator: Any
    asynchronous: bool = False


@dataclass(slots=True, frozen=True)
class Held:
    """An object that the caller will read later (a streaming response).

    Args:
        holder: The object; its *read* methods are shadowed to see what they give, its *close* methods to end the call.
    """

    holder: Any
    read: tuple[str, ...] = ("parse",)
    close: tuple[str, ...] = ("close", "aclose")
    asynchronous: bool = False


@dataclass(slots=True, frozen=True)
class Running:
    """A handle to work that goes on (an agent run streamed in the background).

    Args:
        handle: What the caller gets.
        on_done: Registers `callback(error, cancelled)` to be called once when the work is done.
        payload: Read when done.
    """

    handle: Any
    on_done: Callable[[Callable[[BaseException | None], None]], None]
    payload: Any = None


View: TypeAlias = Whole | Later | InPlace | Iterated | Held | Running


# --- what an adapter declares ---------------------------------------------------------------------------------------
class Shape(enum.Enum):
    """What calling the patched method gives."""

    SYNC = "sync"
    """The value (or, for a handle, `Running`)."""
    ASYNC = "async"
    """An awaitable of the value."""
    GENERATOR = "generator"
    """A generator: the call lasts as long as it is iterated."""
    ASYNC_GENERATOR = "async_generator"
    """An async generator, likewise."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Target:
    """A method to patch and how to read its calls.

    Args:
        module: Where it is defined; patched when this module is imported.
        path: `Class.method` or `function` in that module. It must be looked up at call time by its callers.
        shape: What calling it gives.
        request: Reads the call. `None` from it: not ours, the call is left alone. `Handled`: likewise, and the tool
            call around it has failed.
        view: How to read the value, by default `Whole(value)`.
        response: Reads a payload of a tool or agent call (an LLM call has its `Wire`).
        fallback: Builds the framework's return type from a note for the model; without it a refusal is raised.
        errors_as_data: The framework expects failures as data: a refusal or timeout of a critical tool is returned
            through *fallback*, too, instead of raised. *fallback* is then called with `error=True`.
        control_flow: Qualified names (`module.Class`) of exceptions that are no failure (human in the loop).
        iteration_limit: Qualified names of exceptions that say a run used up its turns.
        propagate: Gives the invocation with W3C headers added, where the library does not do it itself.
        since, until: Library versions (inclusive, exclusive) that have this method; outside it is not looked for.
        optional: Do not report it when missing (the method exists in some supported versions only).
        error: Reads an exception that the call raised, as *response* reads a value: the outcome, a better
            `error.type`, whether it is neutral. `None` from it: the usual rules. Policy's own exceptions never get here.
    """

    module: str
    path: str
    shape: Shape
    request: Callable[[Invocation], Request | Handled | None]
    view: Callable[[Any], View] | None = None
    response: Callable[[Any], Response] | None = None
    fallback: Callable[..., Any] | None = None
    errors_as_data: bool = False
    control_flow: tuple[str, ...] = ()
    iteration_limit: tuple[str, ...] = ()
    propagate: Callable[[Invocation, Mapping[str, str]], Invocation] | None = None
    since: str | None = None
    until: str | None = None
    optional: bool = False
    error: Callable[[BaseException], ToolResponse | None] | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Native:
    """A tracer of the library itself. Inside a call of ours its span for the same call is ours (its attributes land
    there); everything else it traces is left alone.

    Args:
        module: Where the tracer lives.
        path: A module global (`_tracer`) or a property (`Class._tracer`) that holds or returns a tracer or `None`.
        adopt: Given span name and attributes, whether this is the library's span for the call of ours around it.
    """

    module: str
    path: str
    adopt: Callable[[str, Mapping[str, Any]], bool]
    since: str | None = None
    until: str | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Adapter:
    """One library: what to patch in it.

    Args:
        library: Its distribution name on PyPI (`openai`); the name shown by `otel-tools doctor`.
        minimum: The oldest supported version, inclusive. There is no upper bound: targets are probed.
        package: The import package whose presence says that the library is there, when it is not *library* itself.
    """

    library: str
    minimum: str
    targets: tuple[Target, ...]
    natives: tuple[Native, ...] = ()
    package: str | None = None
