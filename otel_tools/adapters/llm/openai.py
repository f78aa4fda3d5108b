"""The OpenAI client, 2.x and 3.x, sync and async, Azure included, and whatever service it is pointed at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

from otel_tools.adapters.wire import (
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_items,
    openai_messages,
    openai_responses,
    stainless,
)
from otel_tools.model import Adapter, Content, Invocation, LLMRequest, LLMResponse, Shape, Target, Wire

_AZURE = "azure.ai.openai"
_HOSTS = {
    "api.openai.com": "openai",
    "openai.azure.com": _AZURE,
    "cognitiveservices.azure.com": _AZURE,
    "services.ai.azure.com": _AZURE,
    "models.ai.azure.com": "azure.ai.inference",
    "amazonaws.com": "aws.bedrock",
    "api.aws": "aws.bedrock",
    "api.cohere.ai": "cohere",
    "api.deepseek.com": "deepseek",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.moonshot.cn": "moonshot_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
}
"""Hosts (with their subdomains) of services that the conventions have a name for. All others stay `openai`."""


class _Api(NamedTuple):
    """One API of the service: how its requests are read."""

    operation: str
    type: str | None
    wire: Wire
    fields: Callable[[dict[str, Any]], dict[str, Any]]
    content: Callable[[dict[str, Any]], Content] | None
    tool_names: Callable[[dict[str, Any]], Sequence[str]] | None


_APIS = {
    "/chat/completions": _Api(
        "chat",
        "chat_completions",
        openai_chat.CHAT,
        openai_chat.request_fields,
        openai_messages.read_content,
        openai_messages.tool_names,
    ),
    "/responses": _Api(
        "chat",
        "responses",
        openai_responses.RESPONSES,
        openai_responses.request_fields,
        openai_items.read_content,
        openai_items.tool_names,
    ),
    "/embeddings": _Api("embeddings", None, openai_embeddings.EMBEDDINGS, openai_embeddings.request_fields, None, None),
    "/completions": _Api(
        "text_completion",
        None,
        openai_completions.COMPLETIONS,
        openai_chat.request_fields,
        openai_completions.read_content,
        None,
    ),
}


def _request(invocation: Invocation) -> LLMRequest | None:
    options = stainless.options(invocation)
    api = _api(stainless.posted_path(options))
    if api is None:
        return None
    body = stainless.body(options)
    address, port = stainless.endpoint(invocation.instance, options.url)
    provider = _provider(invocation.instance, address)
    return LLMRequest(
        operation=api.operation,
        provider=provider,
        client="openai",
        model=body.get("model"),
        wire=api.wire,
        address=address,
        port=port,
        stream=stainless.streamed(invocation),
        fields={**api.fields(body), **_flavour(api, provider)},
        content=partial(api.content, body) if api.content else None,
        tool_names=partial(api.tool_names, body) if api.tool_names else None,
    )


def _api(path: str | None) -> _Api | None:
    """The API that a path ends with; a deployment or a version may stand in front."""
    if path is None:
        return None
    return _APIS.get(path) or next((api for suffix, api in _APIS.items() if path.endswith(suffix)), None)


def _provider(client: Any, host: str | None) -> str:
    return _AZURE if hasattr(client, "_azure_endpoint") else _service(host)


@lru_cache(64)
def _service(host: str | None) -> str:
    return next((name for known, name in _HOSTS.items() if f".{host}".endswith(f".{known}")), "openai")


def _flavour(api: _Api, provider: str) -> dict[str, str | None]:
    """Attributes of the conventions for OpenAI and Azure only."""
    return {
        "openai_api_type": api.type if provider in {"openai", _AZURE} else None,
        "azure_namespace": "Microsoft.CognitiveServices" if provider.startswith("azure.") else None,
    }


def _error(error: BaseException) -> LLMResponse | None:
    """The answer that `parse` rejects because it was cut short: it is billed all the same."""
    completion = getattr(error, "completion", None)
    return None if completion is None else openai_chat.CHAT.response(completion)


def _target(path: str, shape: Shape) -> Target:
    module = "openai._base_client"
    return Target(module=module, path=path, shape=shape, request=_request, view=stainless.view, error=_error)


ADAPTER = Adapter(
    library="openai",
    minimum="2.0",
    targets=(_target("SyncAPIClient.request", Shape.SYNC), _target("AsyncAPIClient.request", Shape.ASYNC)),
)
