"""Gemini's tools: their names, and their definitions in the structure of the GenAI JSON schema.

A tool is a declaration of functions, a Python callable, an MCP tool, or something that the service runs itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from otel_tools.adapters.wire.google_genai_fields import Json, read
from otel_tools.adapters.wire.reading import described

_PARAMETERS = ("parameters", "parameters_json_schema", "input_schema", "inputSchema")
_SERVICE_TOOLS = (
    "code_execution",
    "computer_use",
    "enterprise_web_search",
    "exa_ai_search",
    "file_search",
    "google_maps",
    "google_search",
    "google_search_retrieval",
    "mcp_servers",
    "parallel_ai_search",
    "retrieval",
    "url_context",
)


def tool_names(tools: Any) -> list[str]:
    """Names of the functions that the model may call."""
    return [_name(function) for tool in tools or () for function in _functions(tool)]


def tool_definitions(tools: Any) -> list[Json]:
    """What the model is told of its tools."""
    return [definition for tool in tools or () for definition in _definitions(tool)]


def _functions(tool: Any) -> Iterator[Any]:
    """What declares a function: each declaration of a tool, a callable, an MCP tool."""
    if callable(tool) or isinstance(read(tool, "name"), str):
        yield tool
    else:
        yield from read(tool, "function_declarations") or ()


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", None) or read(function, "name"))


def _definitions(tool: Any) -> Iterator[Json]:
    for function in _functions(tool):
        description = inspect.getdoc(function) if callable(function) else read(function, "description")
        yield described(
            type="function", name=_name(function), description=description, parameters=_parameters(function)
        )
    if not callable(tool):
        yield from ({"type": name, "name": name} for name in _SERVICE_TOOLS if read(tool, name) is not None)


def _parameters(function: Any) -> Any:
    schema: Any = next(filter(None, (read(function, name) for name in _PARAMETERS)), None)
    return schema.model_dump(mode="json", exclude_none=True) if hasattr(schema, "model_dump") else schema
