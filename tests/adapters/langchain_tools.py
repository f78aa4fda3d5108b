"""Tools of LangChain for tests, sync and async, and the ways to call them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("langchain_core")

from langchain_core.tools import StructuredTool


def tool_call(**arguments: Any) -> dict[str, Any]:
    """What an agent passes to a tool."""
    return {"type": "tool_call", "id": "call_1", "name": "search", "args": arguments}


def search_tool(body: Any, **options: Any) -> StructuredTool:
    """A tool `search` that does what *body* does with the query."""

    def search(query: str) -> Any:
        """Search the web."""
        return body(query)

    return StructuredTool.from_function(search, **options)


def async_search_tool(body: Any, **options: Any) -> StructuredTool:
    """The same as a coroutine."""

    async def search(query: str) -> Any:
        """Search the web."""
        return body(query)

    return StructuredTool.from_function(coroutine=search, **options)


def invoke(tool: Any, value: Any) -> Any:
    return tool.invoke(value)


def ainvoke(tool: Any, value: Any) -> Any:
    return asyncio.run(tool.ainvoke(value))


EVERY_WAY = pytest.mark.parametrize(
    ("make", "call"),
    [
        pytest.param(search_tool, invoke, id="sync"),
        pytest.param(search_tool, ainvoke, id="sync-tool-awaited"),
        pytest.param(async_search_tool, ainvoke, id="async"),
    ],
)


def fail(error: BaseException) -> Any:
    def body(query: str) -> Any:
        raise error

    return body
