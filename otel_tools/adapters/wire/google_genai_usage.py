"""Gemini's token counts. They come apart (tool use beside the prompt, thoughts beside the candidates) and are added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from otel_tools.adapters.wire.google_genai_fields import Json, read, word
from otel_tools.model import Quality, Usage

_COUNTS = (
    "prompt_token_count",
    "tool_use_prompt_token_count",
    "candidates_token_count",
    "thoughts_token_count",
    "cached_content_token_count",
    "prompt_tokens_details",
    "tool_use_prompt_tokens_details",
    "candidates_tokens_details",
    "cache_tokens_details",
)


def counts(metadata: Any) -> Json:
    """The counts that a `usage_metadata` holds."""
    values = {name: read(metadata, name) for name in _COUNTS}
    return {name: value for name, value in values.items() if value is not None}


def usage(found: Mapping[str, Any], quality: Quality) -> Usage | None:
    """The two totals and their details."""
    given = _total(found, "prompt_token_count", "tool_use_prompt_token_count")
    generated = _total(found, "candidates_token_count", "thoughts_token_count")
    if given is None and generated is None:
        return None
    if generated is None and quality == "exact":
        generated = 0  # the service leaves out a count of 0
    return Usage(
        input_tokens=given,
        output_tokens=generated,
        cache_read_tokens=found.get("cached_content_token_count"),
        reasoning_tokens=found.get("thoughts_token_count"),
        quality=quality,
        **_modalities("input", found.get("prompt_tokens_details"), found.get("tool_use_prompt_tokens_details")),
        **_modalities("output", found.get("candidates_tokens_details")),
        **_modalities("cache_read", found.get("cache_tokens_details")),
    )


def embeddings_usage(metadata: Any, embeddings: Iterable[Any]) -> Usage | None:
    """Tokens of all inputs: of the response (Gemini API), or of each embedding (Vertex AI)."""
    found = counts(metadata)
    if "prompt_token_count" in found:
        details = _modalities("input", found.get("prompt_tokens_details"))
        return Usage(input_tokens=found["prompt_token_count"], **details)
    tokens = [read(read(embedding, "statistics"), "token_count") for embedding in embeddings]
    return Usage(input_tokens=int(sum(tokens))) if tokens and None not in tokens else None


def _total(found: Mapping[str, Any], *names: str) -> int | None:
    values = [found[name] for name in names if name in found]
    return sum(values) if values else None


def _modalities(kind: str, *details: Iterable[Any] | None) -> dict[str, Any]:
    """Fields of `Usage` from counts per modality; video and documents have none."""
    totals = {f"{modality}_{kind}_tokens": 0 for modality in ("text", "image", "audio")}
    for count in chain.from_iterable(detail or () for detail in details):
        field = f"{word(read(count, 'modality')).lower()}_{kind}_tokens"
        if field in totals:
            totals[field] += read(count, "token_count") or 0
    return {field: total for field, total in totals.items() if total}
