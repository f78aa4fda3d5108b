"""Agents of the OpenAI Agents SDK for tests, with the scripted server as their model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.fake_server import FakeServer

pytest.importorskip("agents")

from agents import (
    Agent,
    AsyncOpenAI,
    GuardrailFunctionOutput,
    InputGuardrail,
    OpenAIChatCompletionsModel,
    function_tool,
    set_tracing_disabled,
)


@pytest.fixture(autouse=True)
def no_tracing_of_the_sdk() -> Iterator[None]:
    """The SDK sends traces of its own to OpenAI unless it is told not to."""
    set_tracing_disabled(True)
    yield
    set_tracing_disabled(False)


def client(server: FakeServer) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{server.url}/v1", api_key="sk-test", max_retries=0)


@pytest.fixture
async def llm(server: FakeServer) -> AsyncIterator[AsyncOpenAI]:
    """A client of the scripted server."""
    async with client(server) as llm:
        yield llm


def helper(llm: AsyncOpenAI, *tools: Any, **options: Any) -> Agent:
    """An agent `helper` whose model is the scripted one."""
    model = OpenAIChatCompletionsModel("test-model", llm)
    return Agent(**{"name": "helper", "tools": list(tools), "model": model, **options})


@function_tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@function_tool
async def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def tripping(**options: Any) -> InputGuardrail[Any]:
    async def trip(*_: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    return InputGuardrail(trip, **options)
