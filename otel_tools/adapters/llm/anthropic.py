"""The `anthropic` client: messages and beta messages, sync and async, also on Bedrock and Vertex.

`request` is below every method and helper of the client and above its retries: one call of a method is one call here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_tools.adapters.wire import stainless
from otel_tools.adapters.wire.anthropic_messages import AnthropicMessages
from otel_tools.adapters.wire.anthropic_request import conversation_id, read_content, request_fields, tool_names
from otel_tools.adapters.wire.reading import text
from otel_tools.model import Adapter, Invocation, LLMRequest, Native, Shape, Target

_WIRE = AnthropicMessages()
_PLATFORMS = {"bedrock": "aws.bedrock", "vertex": "gcp.vertex_ai"}
_OPERATIONS = frozenset({"chat", "invoke_agent", "execute_tool"})


def read_request(invocation: Invocation) -> LLMRequest | None:
    """Read a call of `request`; token counts, batches and everything but messages are not ours."""
    options = stainless.options(invocation)
    path = stainless.posted_path(options)
    if path is None or not path.endswith("/v1/messages"):
        return None
    client, body = invocation.instance, stainless.body(options)
    address, port = stainless.endpoint(client)
    return LLMRequest(
        operation="chat",
        provider=provider(client),
        client="anthropic",
        model=text(body.get("model")),
        wire=_WIRE,
        address=address,
        port=port,
        stream=stainless.streamed(invocation),
        fields={**request_fields(body), "conversation_id": conversation_id(client)},
        content=lambda: read_content(body),
        tool_names=lambda: tool_names(body),
    )


def provider(client: Any) -> str:
    """The provider behind *client*: newer clients say so themselves, older ones show it by their module."""
    named = text(getattr(client, "_gen_ai_provider_name", None))
    if named is not None:
        return named
    modules = {part for cls in type(client).__mro__ for part in cls.__module__.split(".")}
    return next((provider for platform, provider in _PLATFORMS.items() if platform in modules), "anthropic")


def is_own_span(name: str, attributes: Mapping[str, Any]) -> bool:
    """Whether the client's own tracing starts a span for a call of ours: a chat, a tool runner or a tool in it."""
    return name.startswith("anthropic.") and attributes.get("gen_ai.operation.name") in _OPERATIONS


def is_around_a_tool(name: str, attributes: Mapping[str, Any]) -> bool:
    """Whether the tool runner starts this span to call a tool in it, which is a call of ours."""
    return name.partition(" ")[0].endswith("tool_use") and "anthropic.session.id" not in attributes


def _target(path: str, shape: Shape) -> Target:
    return Target(module="anthropic._base_client", path=path, shape=shape, request=read_request, view=stainless.view)


ADAPTER = Adapter(
    library="anthropic",
    minimum="0.125",
    targets=(
        _target("SyncAPIClient.request", Shape.SYNC),
        _target("AsyncAPIClient.request", Shape.ASYNC),
    ),
    natives=(
        Native(
            module="anthropic._base_client",
            path="BaseClient._tracer",
            adopt=is_own_span,
            precedes=is_around_a_tool,
            since="2.0",
        ),
    ),
)
