"""Agents and graphs for tests, with the scripted server as their model."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest

from tests.fake_server import FakeServer

pytest.importorskip("langgraph")
pytest.importorskip("langchain")
pytest.importorskip("langchain_openai")

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph

QUESTION = {"messages": [("user", "hi")]}
CONFIG = {"configurable": {"thread_id": "thread-1", "user_id": "user-1"}}


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
async def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


@tool("multiply")
def multiply_sync(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def helper(server: FakeServer, tools: list[Any], **options: Any) -> Any:
    """An agent `helper` whose model is the scripted server."""
    model = ChatOpenAI(base_url=f"{server.url}/v1", api_key="sk-test", model="test-model", max_retries=0)
    return create_agent(model, tools, **{"name": "helper", **options})


class State(TypedDict):
    n: int


def graph(node: Any, name: str | None = "counter", **options: Any) -> Any:
    """A graph of one node."""
    return StateGraph(State).add_node("work", node).add_edge(START, "work").compile(name=name, **options)
