"""The embeddings API of OpenAI and of the services that copy it."""

from __future__ import annotations

from typing import Any

from otel_tools.adapters.wire.openai_chat_stream import ChatChunks, failure
from otel_tools.adapters.wire.openai_usage import read_usage
from otel_tools.adapters.wire.reading import count, get, items, strings, text
from otel_tools.model import LLMResponse, Usage

_BYTES_PER_FLOAT = 4


def request_fields(body: dict[str, Any]) -> dict[str, Any]:
    """What a request body says beyond model and input. The clients of OpenAI ask for base64 on their own."""
    return {
        "dimension_count": count(body.get("dimensions")),
        "encoding_formats": strings(body.get("encoding_format")),
    }


class EmbeddingsWire:
    """Reads embeddings, as numbers or as base64."""

    def response(self, payload: Any) -> LLMResponse:
        """Read a whole response."""
        first = next(iter(items(get(payload, "data"))), None)
        return LLMResponse(
            model=text(get(payload, "model")),
            usage=_usage(get(payload, "usage")),
            fields={"dimension_count": _dimensions(get(first, "embedding"))},
            error_type=failure(payload),
        )

    def chunks(self) -> ChatChunks:
        """A new collector; embeddings are not streamed by any service known."""
        return ChatChunks()


def _usage(usage: Any) -> Usage | None:
    """Input tokens; some services give the total only, which is the same. There are no output tokens."""
    total = count(get(usage, "total_tokens"))
    read = read_usage(usage) or (Usage(input_tokens=total) if total is not None else None)
    if read is not None:
        read.output_tokens = None
    return read


def _dimensions(embedding: Any) -> int | None:
    if isinstance(embedding, str):
        return (len(embedding) * 3 // 4 - embedding[-2:].count("=")) // _BYTES_PER_FLOAT or None
    return len(embedding) if isinstance(embedding, list | tuple) else None


EMBEDDINGS = EmbeddingsWire()
