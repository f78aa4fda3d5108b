"""Google's `google-genai` client: generated content, streams, chats and embeddings, of Gemini API and Vertex AI.

The private methods make one request each. The public ones are loops around them (automatic function calling,
continuation of long answers), each turn of which is a call of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from otel_tools.adapters.wire.google_genai import EmbedContent, GenerateContent
from otel_tools.adapters.wire.google_genai_fields import Json, read, word
from otel_tools.adapters.wire.google_genai_messages import messages, system_instructions
from otel_tools.adapters.wire.google_genai_tools import tool_definitions, tool_names
from otel_tools.adapters.wire.reading import count, items, number, strings
from otel_tools.model import Adapter, Content, Invocation, Iterated, LLMRequest, Shape, Target, ToolResponse, View
from otel_tools.policy.outcome import Outcome

_LIBRARY = "google-genai"
_DEFAULT_PORTS = {"https": 443, "http": 80}
_MIME_TYPES = {"application/json": "json", "text/plain": "text", "text/x.enum": "text"}


# --- requests -------------------------------------------------------------------------------------------------------
def _generate(call: Invocation) -> LLMRequest:
    config, contents = call.kwargs.get("config"), call.kwargs.get("contents")
    tools = items(read(config, "tools"))
    return LLMRequest(
        "generate_content",
        wire=GenerateContent(),
        fields=_generate_fields(config),
        content=lambda: Content(
            system_instructions=system_instructions(read(config, "system_instruction")),
            input_messages=messages(contents),
            tool_definitions=tool_definitions(tools),
        ),
        tool_names=lambda: tool_names(tools),
        **_common(call),
    )


def _generate_stream(call: Invocation) -> LLMRequest:
    request = _generate(call)
    request.stream = True
    return request


def _embed(call: Invocation) -> LLMRequest:
    dimensions = count(read(call.kwargs.get("config"), "output_dimensionality"))
    return LLMRequest("embeddings", wire=EmbedContent(), fields={"dimension_count": dimensions}, **_common(call))


def _common(call: Invocation) -> Json:
    client = call.instance._api_client  # noqa: SLF001  there is no public way to it
    url = read(read(call.kwargs.get("config"), "http_options"), "base_url") or read(client._http_options, "base_url")  # noqa: SLF001
    endpoint = urlsplit(url or "")
    return {
        "provider": "gcp.vertex_ai" if client.vertexai else "gcp.gemini",
        "client": _LIBRARY,
        "model": _model(call.kwargs.get("model")),
        "address": endpoint.hostname,
        "port": endpoint.port or _DEFAULT_PORTS.get(endpoint.scheme),
    }


def _model(name: Any) -> str | None:
    """The model's own name: all of `models/NAME`, `google/NAME` and `projects/…/models/NAME` are the same model."""
    return str(name).rpartition("models/")[2].removeprefix("google/") or None


def _generate_fields(config: Any) -> Json:
    if config is None:
        return {}
    choices = count(read(config, "candidate_count"))
    level = read(read(config, "thinking_config"), "thinking_level")
    return {
        "choice_count": None if choices == 1 else choices,
        "frequency_penalty": number(read(config, "frequency_penalty")),
        "max_tokens": count(read(config, "max_output_tokens")),
        "output_type": _output_type(config),
        "presence_penalty": number(read(config, "presence_penalty")),
        "reasoning_level": level and word(level),
        "seed": count(read(config, "seed")),
        "stop_sequences": strings(read(config, "stop_sequences")),
        "temperature": number(read(config, "temperature")),
        "top_k": count(read(config, "top_k")),
        "top_p": number(read(config, "top_p")),
    }


def _output_type(config: Any) -> str | None:
    modalities = {word(modality).upper() for modality in items(read(config, "response_modalities"))}
    if "AUDIO" in modalities:
        return "speech"
    if "IMAGE" in modalities:
        return "image"
    if read(config, "response_schema") or read(config, "response_json_schema"):
        return "json"
    return _MIME_TYPES.get(read(config, "response_mime_type")) or ("text" if modalities else None)


# --- errors ---------------------------------------------------------------------------------------------------------
def _error(error: BaseException) -> ToolResponse | None:
    """Tell errors apart by their HTTP status: the client has one class for all 4xx and one for all 5xx."""
    code = getattr(error, "code", None)
    if any(cls.__name__ == "APIError" for cls in type(error).__mro__) and isinstance(code, int):
        return ToolResponse(Outcome.ERROR, error_type=str(code))
    return None


# --- targets --------------------------------------------------------------------------------------------------------
def _stream(iterator: Any) -> View:
    return Iterated(iterator)


def _async_stream(iterator: Any) -> View:
    return Iterated(iterator, asynchronous=True)


def _target(path: str, shape: Shape, request: Callable[[Invocation], LLMRequest], **options: Any) -> Target:
    return Target(module="google.genai.models", path=path, shape=shape, request=request, error=_error, **options)


ADAPTER = Adapter(
    library=_LIBRARY,
    minimum="1.20",
    package="google.genai",
    targets=(
        _target("Models._generate_content", Shape.SYNC, _generate),
        _target("AsyncModels._generate_content", Shape.ASYNC, _generate),
        _target("Models._generate_content_stream", Shape.SYNC, _generate_stream, view=_stream),
        _target("AsyncModels._generate_content_stream", Shape.ASYNC, _generate_stream, view=_async_stream),
        _target("Models.embed_content", Shape.SYNC, _embed),
        _target("AsyncModels.embed_content", Shape.ASYNC, _embed),
    ),
)
