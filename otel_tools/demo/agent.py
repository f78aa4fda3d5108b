"""A customer-support agent as anyone would write it: an LLM client, a dict of tools, a loop.

Nothing in it knows of otel-tools or OpenTelemetry. It asks OpenAI or Anthropic, whichever the model belongs to.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

with contextlib.suppress(ImportError):
    import openai
with contextlib.suppress(ImportError):
    import anthropic

SYSTEM = """You are the support agent of a shop for outdoor shoes. Answer in two or three sentences. Use the tools for
whatever you do not know: orders, stock, the knowledge base, and how this customer likes to be addressed. Ask for
several tools at once where one does not depend on the other. If a tool fails, say plainly what you could not find out;
never guess an order's state, a price or a policy."""


# --- tools ----------------------------------------------------------------------------------------------------------
def _get(path: str) -> str:
    with urllib.request.urlopen(os.environ["SERVICE_URL"] + path) as response:  # noqa: S310  our own URL
        body: bytes = response.read()
    return body.decode()


def search_knowledge_base(query: str) -> str:
    """Search the help articles."""
    return _get(f"/search?q={urllib.parse.quote(query)}")


def get_order_status(order_id: str) -> str:
    """Look up where an order is."""
    return _get(f"/orders/{order_id}")


def check_inventory(sku: str) -> str:
    """Count how many of an article are in stock."""
    return _get(f"/inventory/{sku}")


def get_user_preferences(user_id: str) -> str:
    """Look up the customer's language and tone."""
    return _get(f"/preferences/{user_id}")


TOOL_REGISTRY: dict[str, Callable[..., str]] = {
    "search_knowledge_base": search_knowledge_base,
    "get_order_status": get_order_status,
    "check_inventory": check_inventory,
    "get_user_preferences": get_user_preferences,
}
PARAMETERS = {
    "search_knowledge_base": "query",
    "get_order_status": "order_id",
    "check_inventory": "sku",
    "get_user_preferences": "user_id",
}


def _schema(parameter: str) -> dict[str, Any]:
    properties = {parameter: {"type": "string"}}
    return {"type": "object", "properties": properties, "required": [parameter], "additionalProperties": False}


def _call_tool(name: str, arguments: dict[str, Any]) -> str:
    try:
        return TOOL_REGISTRY[name](**arguments)
    except Exception as error:
        return f"Error: {error}"


def _call_tools(calls: list[tuple[str, dict[str, Any]]]) -> list[str]:
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(lambda call: _call_tool(*call), calls))


@functools.cache
def _client(kind: type[Any]) -> Any:
    return kind()


# --- the agent ------------------------------------------------------------------------------------------------------
def run_session(question: str, model: str) -> str:
    """Answer one question; the answer is streamed, the first look at the question is not."""
    return _ask_anthropic(question, model) if model.startswith("claude") else _ask_openai(question, model)


def _ask_openai(question: str, model: str) -> str:
    tools: Any = [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": tool.__doc__,
                "parameters": _schema(PARAMETERS[name]),
                "strict": True,
            },
        }
        for name, tool in TOOL_REGISTRY.items()
    ]
    messages: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    completions = _client(openai.OpenAI).chat.completions
    reply: Any = completions.create(model=model, messages=messages, tools=tools).choices[0].message
    while reply.tool_calls:
        calls = [(call.function.name, json.loads(call.function.arguments)) for call in reply.tool_calls]
        messages.append(reply.model_dump(include={"role", "content", "tool_calls"}, exclude_none=True))
        for call, result in zip(reply.tool_calls, _call_tools(calls), strict=True):
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        asked: Any = {"stream_options": {"include_usage": True}}
        with completions.stream(model=model, messages=messages, tools=tools, **asked) as stream:
            reply = stream.get_final_completion().choices[0].message
    return reply.content or ""


def _ask_anthropic(question: str, model: str) -> str:
    tools: Any = [
        {"name": name, "description": tool.__doc__, "input_schema": _schema(PARAMETERS[name])}
        for name, tool in TOOL_REGISTRY.items()
    ]
    messages: list[Any] = [{"role": "user", "content": question}]
    asked: Any = {"model": model, "max_tokens": 1024, "system": SYSTEM, "messages": messages, "tools": tools}
    client = _client(anthropic.Anthropic)
    reply = client.messages.create(**asked)
    while reply.stop_reason == "tool_use":
        uses: list[Any] = [block for block in reply.content if block.type == "tool_use"]
        results = _call_tools([(use.name, use.input) for use in uses])
        messages.append({"role": "assistant", "content": [block.to_dict() for block in reply.content]})
        blocks = [
            {"type": "tool_result", "tool_use_id": use.id, "content": result}
            for use, result in zip(uses, results, strict=True)
        ]
        messages.append({"role": "user", "content": blocks})
        with client.messages.stream(**asked) as stream:
            reply = stream.get_final_message()
    return "".join(block.text for block in reply.content if block.type == "text")


def main() -> None:
    """Answer the questions that come in on standard input: a JSON document a line, and one back."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            reply = {"answer": run_session(asked["question"], asked["model"])}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
