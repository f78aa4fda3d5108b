"""What a call asks for, as an adapter reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from otel_tools.model.responses import Wire
from otel_tools.policy.options import Limits


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

    @property
    def name(self) -> str:
        """What was called, for people: the client."""
        return self.client


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
