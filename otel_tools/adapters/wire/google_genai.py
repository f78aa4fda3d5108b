"""The responses of Gemini's `generateContent` (Gemini API and Vertex AI), whole and streamed, and of `embedContent`."""

from __future__ import annotations

import json
from typing import Any

from otel_tools.adapters.wire.google_genai_fields import Json, read, word
from otel_tools.adapters.wire.google_genai_messages import CARRIES, output_message
from otel_tools.adapters.wire.google_genai_usage import counts, embeddings_usage, usage
from otel_tools.model import Chunks, LLMResponse

_FILTERED = (
    "SAFETY",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MODEL_ARMOR",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
)
_FINISH_REASONS = {
    "MAX_TOKENS": "length",
    "FINISH_REASON_UNSPECIFIED": "error",
    "OTHER": "error",
    **dict.fromkeys(_FILTERED, "content_filter"),
}
"""The conventions' words; every other reason (`STOP`, `MALFORMED_FUNCTION_CALL`) is itself in lower case."""


class GenerateContent:
    """Reads `GenerateContentResponse`; a whole response is a stream of one chunk."""

    def response(self, payload: Any) -> LLMResponse:
        """Read a whole response."""
        chunks = GenerateContentChunks()
        chunks.add(_parsed(payload))
        return chunks.read(final=True)

    def chunks(self) -> Chunks:
        """A new collector for a streamed response."""
        return GenerateContentChunks()


class EmbedContent(GenerateContent):
    """Reads `EmbedContentResponse`, which is never streamed."""

    def response(self, payload: Any) -> LLMResponse:
        """Read a whole response."""
        embeddings = read(payload, "embeddings") or []
        dimensions = len(read(embeddings[0], "values") or ()) if embeddings else None
        found = embeddings_usage(read(payload, "usage_metadata"), embeddings)
        return LLMResponse(usage=found, fields={"dimension_count": dimensions})


class GenerateContentChunks:
    """Collects chunks. Token counts are cumulative, and not every chunk has all of them: the last value wins."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._model: str | None = None
        self._choices: dict[int, _Choice] = {}
        self._counts: Json = {}
        self._blocked = False

    def add(self, chunk: Any) -> bool:
        """Take in *chunk*; true when it carries content."""
        self._id = read(chunk, "response_id") or self._id
        self._model = read(chunk, "model_version") or self._model
        self._counts |= counts(read(chunk, "usage_metadata"))
        self._blocked |= bool(read(read(chunk, "prompt_feedback"), "block_reason"))
        carries = False
        for position, candidate in enumerate(read(chunk, "candidates") or ()):
            index = read(candidate, "index")  # the service leaves out a 0
            choice = self._choices.setdefault(position if index is None else index, _Choice())
            carries |= choice.add(candidate)
        return carries

    def response(self, complete: bool) -> LLMResponse:
        """What has arrived. The last chunk of a candidate has its finish reason and the final counts.

        A stream that breaks off looks complete to the client, so this is what tells.
        """
        reasons = [choice.finish_reason for choice in self._choices.values()]
        return self.read(final=all(reasons) if reasons else complete or self._blocked)

    def read(self, *, final: bool) -> LLMResponse:
        """What has arrived, with *final* token counts or not. A candidate cut short has the finish reason `error`."""
        choices = [choice for _, choice in sorted(self._choices.items())]
        missing = [] if final else ["error"]
        return LLMResponse(
            id=self._id,
            model=self._model,
            finish_reasons=[choice.finish_reason or "error" for choice in choices]
            or (["content_filter"] if self._blocked else missing),
            usage=usage(self._counts, "exact" if final else "partial"),
            output=lambda: [output_message(choice.parts, choice.finish_reason or "error") for choice in choices],
        )


class _Choice:
    """One candidate, as far as it has arrived."""

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.finish_reason: str | None = None

    def add(self, candidate: Any) -> bool:
        parts = read(read(candidate, "content"), "parts") or []
        self.parts.extend(parts)
        if reason := read(candidate, "finish_reason"):
            self.finish_reason = _FINISH_REASONS.get(word(reason), word(reason).lower())
        return any(read(part, name) for part in parts for name in CARRIES)


def _parsed(payload: Any) -> Any:
    """The response, from its JSON body where the caller asked for the raw one (`should_return_http_response`)."""
    body = read(read(payload, "sdk_http_response"), "body")
    return json.loads(body) if body and read(payload, "candidates") is None else payload
