"""What the APIs of OpenAI answer, as JSON bodies and server-sent events."""

from __future__ import annotations

import base64
import struct
from typing import Any

MODEL = "gpt-4.1"
MESSAGES = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
RESPONSES_TOOL = {"type": "function", **TOOL["function"]}

USAGE = {
    "prompt_tokens": 117,
    "completion_tokens": 25,
    "total_tokens": 142,
    "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 8,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
RESPONSES_USAGE = {
    "input_tokens": 117,
    "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 16},
    "output_tokens": 25,
    "output_tokens_details": {"reasoning_tokens": 8},
    "total_tokens": 142,
}


# --- chat completions -----------------------------------------------------------------------------------------------
def chat(content: str | None = "It is sunny.", finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    """A chat completion with one choice."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1763800000,
        "model": "gpt-4.1-2025-04-14",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, "refusal": None, "annotations": [], **message},
                "logprobs": None,
                "finish_reason": finish_reason,
            }
        ],
        "usage": USAGE,
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }


def tool_calls() -> list[dict[str, Any]]:
    """The tool call that a chat completion asks for."""
    function = {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    return [{"id": "call_1", "type": "function", "function": function}]


def chunk(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A chunk of a chat completion."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1763800000,
        "model": "gpt-4.1-2025-04-14",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
        "choices": list(choices),
        **fields,
    }


def delta(index: int = 0, finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    """A piece of one choice."""
    return {"index": index, "delta": fields, "logprobs": None, "finish_reason": finish_reason}


def chat_stream(*, usage: bool = True) -> list[Any]:
    """The events of a streamed chat completion: a role, three pieces of text, the end, the usage if asked for."""
    chunks = [
        chunk(delta(role="assistant", content="", refusal=None)),
        chunk(delta(content="It is")),
        chunk(delta(content=" sunny")),
        chunk(delta(content=".")),
        chunk(delta(finish_reason="stop")),
    ]
    return [*chunks, *([chunk(usage=USAGE)] if usage else []), "[DONE]"]


def call_piece(index: int = 0, call_id: str | None = None, **function: str) -> dict[str, Any]:
    """A piece of a streamed tool call; the first one of a call carries its id."""
    begin = {"id": call_id, "type": "function"} if call_id else {}
    return {"index": index, **begin, "function": function}


def tool_stream() -> list[Any]:
    """The events of a streamed tool call whose arguments come in two pieces."""
    return [
        chunk(delta(role="assistant", content=None)),
        chunk(delta(tool_calls=[call_piece(call_id="call_1", name="get_weather", arguments="")])),
        chunk(delta(tool_calls=[call_piece(arguments='{"city":')])),
        chunk(delta(tool_calls=[call_piece(arguments='"Paris"}')])),
        chunk(delta(finish_reason="tool_calls")),
        chunk(usage=USAGE),
        "[DONE]",
    ]


# --- responses ------------------------------------------------------------------------------------------------------
def response(*output: dict[str, Any], status: str = "completed", **fields: Any) -> dict[str, Any]:
    """A response, by default with one message."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1763800000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": "gpt-4.1-2025-04-14",
        "output": list(output) or [text_item()],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": RESPONSES_USAGE,
        "metadata": {},
        **fields,
    }


def text_item(text: str = "It is sunny.") -> dict[str, Any]:
    """An output item: a message."""
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}


def call_item() -> dict[str, Any]:
    """An output item: a function call."""
    return {
        "id": "fc_1",
        "type": "function_call",
        "call_id": "call_1",
        "name": "get_weather",
        "arguments": '{"city":"Paris"}',
        "status": "completed",
    }


def reasoning_item() -> dict[str, Any]:
    """An output item: a summary of the model's reasoning."""
    return {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Look out of the window."}]}


def response_stream(final: str = "completed", **fields: Any) -> list[dict[str, Any]]:
    """The events of a streamed response with one message."""
    begun = response(status="in_progress", usage=None) | {"output": []}
    item = {**text_item(), "content": [], "status": "in_progress"}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **at, "part": part},
        {"type": "response.output_text.delta", **at, "delta": "It is", "logprobs": []},
        {"type": "response.output_text.delta", **at, "delta": " sunny.", "logprobs": []},
        {"type": "response.output_text.done", **at, "text": "It is sunny.", "logprobs": []},
        {"type": "response.content_part.done", **at, "part": {**part, "text": "It is sunny."}},
        {"type": "response.output_item.done", "output_index": 0, "item": text_item()},
        {"type": f"response.{final}", "response": response(status=final, **fields)},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


# --- the others -----------------------------------------------------------------------------------------------------
def embeddings(*vectors: list[float], as_base64: bool = True) -> dict[str, Any]:
    """Embeddings, as base64 the way the clients ask for them."""
    return {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if as_base64 else vector}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": 9, "total_tokens": 9},
    }


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def completion() -> dict[str, Any]:
    """A legacy completion."""
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1763800000,
        "model": "gpt-3.5-turbo-instruct",
        "choices": [{"text": "It is sunny.", "index": 0, "logprobs": None, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9},
    }


def completion_stream() -> list[Any]:
    """The events of a streamed legacy completion, without usage."""
    chunks = [
        {**completion(), "usage": None, "choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": end}]}
        for text, end in (("It is", None), (" sunny.", "length"))
    ]
    return [*chunks, "[DONE]"]


def error(message: str = "Incorrect API key provided.", code: str = "invalid_api_key") -> dict[str, Any]:
    """The body of a failed request."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
