"""The scripted LLM, asked by the real client libraries."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from otel_tools.demo.llm_server import LLMServer

ORDER = "Where is my order?"
CALLS = [("get_order_status", {"order_id": "1042"}), ("get_user_preferences", {"user_id": "u-7"})]
ANSWER = "Order 1042 is on its way with ACME Parcel and should arrive tomorrow before noon."


@pytest.fixture(scope="module")
def llm():
    """The scripted LLM."""
    with LLMServer() as llm:
        yield llm


@pytest.fixture
def openai(llm):
    """OpenAI's client, pointed at it."""
    library = pytest.importorskip("openai")
    with library.OpenAI(base_url=f"{llm.url}/v1", api_key="none") as client:
        yield client


@pytest.fixture
def anthropic(llm):
    """Anthropic's client, pointed at it."""
    library = pytest.importorskip("anthropic")
    with library.Anthropic(base_url=llm.url, api_key="none") as client:
        yield client


def _ask_openai(client, messages, *, stream):
    asked = {"model": "gpt-5-mini", "messages": messages}
    if not stream:
        return client.chat.completions.create(**asked)
    with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
        return events.get_final_completion()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_openai_chat_completions(openai, stream):
    """Tools first, then the answer; with usage, whole or streamed."""
    messages = [{"role": "user", "content": ORDER}]
    first = _ask_openai(openai, messages, stream=stream)
    calls = first.choices[0].message.tool_calls
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == CALLS
    assert first.choices[0].finish_reason == "tool_calls"
    messages.append(first.choices[0].message.model_dump(include={"role", "content", "tool_calls"}))
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "{}"} for call in calls]
    second = _ask_openai(openai, messages, stream=stream)
    assert (second.choices[0].message.content, second.choices[0].finish_reason) == (ANSWER, "stop")
    assert second.usage.prompt_tokens > first.usage.prompt_tokens > 0
    assert second.usage.completion_tokens == 20
    assert second.usage.total_tokens == second.usage.prompt_tokens + 20


def _ask_anthropic(client, messages, *, stream):
    asked = {"model": "claude-haiku-4-5", "max_tokens": 99, "system": "Be kind.", "messages": messages}
    if not stream:
        return client.messages.create(**asked)
    with client.messages.stream(**asked) as events:
        return events.get_final_message()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_anthropic_messages(anthropic, stream):
    """The same conversation in Anthropic's words."""
    messages = [{"role": "user", "content": ORDER}]
    first = _ask_anthropic(anthropic, messages, stream=stream)
    assert [(block.name, block.input) for block in first.content] == CALLS
    assert first.stop_reason == "tool_use"
    results = [{"type": "tool_result", "tool_use_id": block.id, "content": "{}"} for block in first.content]
    messages.append({"role": "assistant", "content": [block.to_dict() for block in first.content]})
    messages.append({"role": "user", "content": results})
    second = _ask_anthropic(anthropic, messages, stream=stream)
    assert ([block.text for block in second.content], second.stop_reason) == ([ANSWER], "end_turn")
    assert second.usage.input_tokens > first.usage.input_tokens > 0
    assert second.usage.output_tokens == 20


def test_other_paths_are_refused(llm):
    """Said in the form that clients show as an error."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{llm.url}/v1/embeddings", b"{}", timeout=10)
    assert caught.value.code == 404
    assert json.load(caught.value)["error"]["message"] == "the demo's LLM does not speak /v1/embeddings"
    caught.value.close()
