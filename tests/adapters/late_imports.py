"""A program that instruments before it imports a framework, as `opentelemetry-instrument` does. Named on the command
line; it prints the names of the spans of a run: instrumented, no longer instrumented, and instrumented again."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

from tests.recorder import Recorder


def agents() -> Callable[[], Any]:
    """A tool call of the OpenAI Agents SDK, the way its run loop makes one."""
    tool = importlib.import_module("agents").function_tool(lambda: "done", name_override="work")
    run_loop = importlib.import_module("agents.run_internal.tool_execution")
    context = importlib.import_module("agents.tool_context").ToolContext(
        None, tool_name="work", tool_call_id="call_1", tool_arguments="{}"
    )
    return lambda: asyncio.run(
        run_loop._invoke_function_tool_with_metadata(function_tool=tool, context=context, arguments="{}")
    )


def langgraph() -> Callable[[], Any]:
    """A LangGraph run with a LangChain tool."""
    graph = importlib.import_module("langgraph.graph")
    tools = importlib.import_module("langchain_core.tools")
    tool = tools.StructuredTool.from_function(lambda: 1, name="work", description="Work.")
    builder = graph.StateGraph(dict).add_node("node", lambda state: tool.invoke({}) and state)
    compiled = builder.add_edge(graph.START, "node").compile(name="runner")
    return lambda: compiled.invoke({"n": 1})


def main(framework: str) -> dict[str, list[str]]:
    recorder = Recorder()
    recorder.instrument()
    run = {"agents": agents, "langgraph": langgraph}[framework]()
    found = {}
    for step in ("on", "off", "on again"):
        if step == "off":
            recorder.uninstrument()
        if step == "on again":
            recorder.instrument()
        run()
        found[step] = [span["name"] for span in recorder.spans]
        recorder.clear()
    return found


if __name__ == "__main__":
    json.dump(main(sys.argv[1]), sys.stdout)
