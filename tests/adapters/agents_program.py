"""A program that instruments before it imports the OpenAI Agents SDK, as `opentelemetry-instrument` does."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any

from tests.recorder import Recorder


async def spans() -> dict[str, list[str]]:
    """Names of the spans of one tool call: instrumented, not instrumented, and instrumented again."""
    recorder = Recorder()
    recorder.instrument()
    agents: Any = importlib.import_module("agents.run_internal.tool_execution")
    tool = importlib.import_module("agents").function_tool(lambda: "done", name_override="work")
    context = importlib.import_module("agents.tool_context").ToolContext(
        None, tool_name="work", tool_call_id="call_1", tool_arguments="{}"
    )
    found = {}
    for step in ("on", "off", "on again"):
        if step == "off":
            recorder.uninstrument()
        if step == "on again":
            recorder.instrument()
        await agents._invoke_function_tool_with_metadata(function_tool=tool, context=context, arguments="{}")
        found[step] = [span["name"] for span in recorder.spans]
        recorder.clear()
    return found


if __name__ == "__main__":
    json.dump(asyncio.run(spans()), sys.stdout)
