"""What the Gemini API (and Vertex AI, where it differs) sends, in its JSON spelling: responses, chunks, errors."""

from __future__ import annotations

from typing import Any

MODEL = "gemini-2.5-flash"
VERSION = "gemini-2.5-flash-001"


def text(value: str, **fields: Any) -> dict[str, Any]:
    """A part of text."""
    return {"text": value, **fields}


def function_call(name: str, args: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A part with a function call."""
    return {"functionCall": {"name": name, "args": args or {}, **fields}}


def candidate(*parts: dict[str, Any], reason: str | None = "STOP", **fields: Any) -> dict[str, Any]:
    """One candidate; *reason* is `None` while it goes on."""
    finish = {"finishReason": reason} if reason else {}
    return {"content": {"role": "model", "parts": list(parts)}, **finish, **fields}


def usage(prompt: int, candidates: int | None = None, thoughts: int | None = None, **counts: Any) -> dict[str, Any]:
    """Token counts; the service leaves out those that are 0."""
    given = {"promptTokenCount": prompt, "candidatesTokenCount": candidates, "thoughtsTokenCount": thoughts, **counts}
    total = prompt + (candidates or 0) + (thoughts or 0)
    return {name: count for name, count in given.items() if count is not None} | {"totalTokenCount": total}


def response(*candidates: dict[str, Any], counts: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A response or a chunk."""
    metadata = {"usageMetadata": counts} if counts else {}
    return {"candidates": list(candidates), "modelVersion": VERSION, "responseId": "r1", **metadata, **fields}


HELLO = response(candidate(text("Hello")), counts=usage(10, 2))
SUNNY = response(candidate(text("It is sunny.")), counts=usage(25, 4))
CALL_WEATHER = response(candidate(function_call("get_weather", {"city": "Bonn"}, id="call-1")), counts=usage(20, 5))

# Counts are cumulative; the first chunk holds a thought, the last one the final counts.
CHUNKS = [
    response(candidate(text("Hmm", thought=True), reason=None), counts=usage(10, thoughts=3)),
    response(candidate(text("Hel"), reason=None), counts=usage(10, 1, 3)),
    response(candidate(text("lo"), reason=None), counts=usage(10, 2, 3)),
    response(candidate(text("")), counts=usage(10, 2, 4)),
]

EMBEDDINGS = {
    "embeddings": [{"values": [0.1, 0.2, 0.3]}, {"values": [0.4, 0.5, 0.6]}],
    "usageMetadata": {"promptTokenCount": 7, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 7}]},
}
VERTEX_EMBEDDINGS = {
    "predictions": [
        {"embeddings": {"values": [0.1, 0.2, 0.3], "statistics": {"token_count": 3, "truncated": False}}},
        {"embeddings": {"values": [0.4, 0.5, 0.6], "statistics": {"token_count": 4, "truncated": False}}},
    ]
}


def error(code: int, status: str) -> dict[str, Any]:
    """The body of an error response."""
    return {"error": {"code": code, "message": f"the secret reason of {code}", "status": status}}
