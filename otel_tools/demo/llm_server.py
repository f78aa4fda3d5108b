"""A scripted LLM on loopback that speaks OpenAI's chat completions and Anthropic's messages, whole and streamed."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from otel_tools.demo.local_server import Handler, LocalServer
from otel_tools.demo.script import Result, ToolUse, Turn, next_turn, tokens

_BEFORE_FIRST_WORD = 0.06
_PER_CHUNK = 0.006
_CREATED = 1_790_000_000


class LLMServer(LocalServer):
    """Give its `url` to the client library as base URL (OpenAI: with `/v1`)."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count(1)

    def answer(self, handler: Handler, path: str, body: Any) -> None:
        """Answer one request of a client library."""
        wires = {"/v1/chat/completions": OpenAIWire, "/v1/messages": AnthropicWire}
        wire = wires.get(path.partition("?")[0])
        if wire is None or not isinstance(body, dict):
            handler.send({"error": {"message": f"the demo's LLM does not speak {path}", "type": "not_found"}}, 404)
            return
        reply = wire(body, next(self._numbers))
        self.closing.wait(_BEFORE_FIRST_WORD)
        if not body.get("stream"):
            self.closing.wait(reply.output_tokens * _PER_CHUNK / 2)
            handler.send(reply.document())
            return
        handler.start_events()
        for event in reply.events():
            handler.send_event(event)
            self.closing.wait(_PER_CHUNK)


class _Reply:
    """What the model says to one request, with the tokens that it counts."""

    def __init__(self, body: dict[str, Any], number: int) -> None:
        self.number = number
        self.model = body["model"]
        self.turn: Turn = next_turn(self._question(body["messages"]), list(self._results(body["messages"])))
        self.input_tokens = tokens([body.get("system"), body["messages"], body.get("tools")])
        said = [use.arguments for use in self.turn.uses] or self.turn.text
        self.output_tokens = tokens(said) + 12 * len(self.turn.uses)

    @staticmethod
    def _question(messages: list[dict[str, Any]]) -> str:
        asked = (message["content"] for message in messages if message["role"] == "user")
        return next(content for content in asked if isinstance(content, str))

    def _results(self, messages: list[dict[str, Any]]) -> Iterator[Result]:
        raise NotImplementedError

    def document(self) -> dict[str, Any]:
        """The whole answer."""
        raise NotImplementedError

    def events(self) -> Iterator[Any]:
        """The answer as a stream of events."""
        raise NotImplementedError

    def _words(self) -> list[str]:
        return re.findall(r"\S+\s*", self.turn.text)


class OpenAIWire(_Reply):
    """A chat completion."""

    def _results(self, messages: list[dict[str, Any]]) -> Iterator[Result]:
        names = {
            call["id"]: call["function"]["name"] for message in messages for call in message.get("tool_calls") or ()
        }
        for message in messages:
            if message["role"] == "tool":
                yield Result(names[message["tool_call_id"]], message["content"])

    @property
    def _reason(self) -> str:
        return "tool_calls" if self.turn.uses else "stop"

    @property
    def _usage(self) -> dict[str, Any]:
        used = {"prompt_tokens": self.input_tokens, "completion_tokens": self.output_tokens}
        return {**used, "total_tokens": self.input_tokens + self.output_tokens}

    def _calls(self) -> list[dict[str, Any]]:
        return [
            {
                "id": f"call_{self.number}_{index}",
                "type": "function",
                "function": {"name": use.name, "arguments": json.dumps(use.arguments)},
            }
            for index, use in enumerate(self.turn.uses)
        ]

    def _frame(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"id": f"chatcmpl-{self.number}", "object": kind, "created": _CREATED, "model": self.model, **fields}

    def document(self) -> dict[str, Any]:
        """A `chat.completion`."""
        message: dict[str, Any] = {"role": "assistant", "content": self.turn.text or None}
        if self.turn.uses:
            message["tool_calls"] = self._calls()
        choice = {"index": 0, "message": message, "finish_reason": self._reason}
        return self._frame("chat.completion", choices=[choice], usage=self._usage)

    def events(self) -> Iterator[Any]:
        """The `chat.completion.chunk` ones, with the usage at the end."""
        deltas: Iterable[dict[str, Any]] = ({"content": word} for word in self._words())
        if self.turn.uses:
            deltas = ({"tool_calls": [{"index": index, **call}]} for index, call in enumerate(self._calls()))
        for delta in ({"role": "assistant", "content": ""}, *deltas):
            yield self._chunk(delta, None)
        yield self._chunk({}, self._reason)
        yield self._frame("chat.completion.chunk", choices=[], usage=self._usage)
        yield "[DONE]"

    def _chunk(self, delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return self._frame("chat.completion.chunk", choices=[choice])


class AnthropicWire(_Reply):
    """A message."""

    def _results(self, messages: list[dict[str, Any]]) -> Iterator[Result]:
        blocks = [block for message in messages if isinstance(message["content"], list) for block in message["content"]]
        names = {block["id"]: block["name"] for block in blocks if block["type"] == "tool_use"}
        for block in blocks:
            if block["type"] == "tool_result":
                yield Result(names[block["tool_use_id"]], block["content"])

    @property
    def _reason(self) -> str:
        return "tool_use" if self.turn.uses else "end_turn"

    def _blocks(self) -> list[dict[str, Any]]:
        if not self.turn.uses:
            return [{"type": "text", "text": self.turn.text}]
        return [self._use(index, use) for index, use in enumerate(self.turn.uses)]

    def _use(self, index: int, use: ToolUse) -> dict[str, Any]:
        return {"type": "tool_use", "id": f"toolu_{self.number}_{index}", "name": use.name, "input": use.arguments}

    def document(self) -> dict[str, Any]:
        """A `message`."""
        return self._message(self._blocks(), self._reason, self.output_tokens)

    def _message(self, content: list[dict[str, Any]], reason: str | None, output_tokens: int) -> dict[str, Any]:
        return {
            "id": f"msg_{self.number}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": {"input_tokens": self.input_tokens, "output_tokens": output_tokens},
        }

    def events(self) -> Iterator[Any]:
        """From `message_start` to `message_stop`."""
        yield {"type": "message_start", "message": self._message([], None, 1)}
        for index, block in enumerate(self._blocks()):
            empty = {**block, "text": ""} if block["type"] == "text" else {**block, "input": {}}
            yield {"type": "content_block_start", "index": index, "content_block": empty}
            for delta in self._deltas(block):
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        delta = {"stop_reason": self._reason, "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": self.output_tokens}}
        yield {"type": "message_stop"}

    def _deltas(self, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if block["type"] == "tool_use":
            yield {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        else:
            yield from ({"type": "text_delta", "text": word} for word in self._words())
