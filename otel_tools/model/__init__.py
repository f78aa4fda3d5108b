"""The vocabulary: what an adapter declares and what it reads. Values only, no behaviour, no OpenTelemetry.

An adapter module holds one `ADAPTER`. Its targets name the methods to patch and bring small functions that read a call:

* `request(invocation)` gives an `LLMRequest`, `ToolRequest` or `AgentRequest`, or `None`: not ours, leave it alone.
* `view(value)` says how the returned value is to be read: whole, awaited, as a stream, or later by the caller.
* `response(payload)` (of the request's `Wire`, or of the target) reads the final value.
* `fallback(invocation, request, text)` builds the framework's own return type from a note for the model.

Readers work structurally (`getattr`, `dict.get`), import nothing of the library they describe, and may fail: the engine
guards every one of them, and the call goes on untouched.
"""

from otel_tools.model.requests import AgentRequest, Content, Handled, Invocation, LLMRequest, Request, ToolRequest
from otel_tools.model.responses import AgentResponse, Chunks, LLMResponse, Quality, Response, ToolResponse, Usage, Wire
from otel_tools.model.targets import Adapter, Native, OnLoop, Shape, Target
from otel_tools.model.views import Held, InPlace, Iterated, Later, Running, View, Whole

__all__ = [
    "Adapter",
    "AgentRequest",
    "AgentResponse",
    "Chunks",
    "Content",
    "Handled",
    "Held",
    "InPlace",
    "Invocation",
    "Iterated",
    "LLMRequest",
    "LLMResponse",
    "Later",
    "Native",
    "OnLoop",
    "Quality",
    "Request",
    "Response",
    "Running",
    "Shape",
    "Target",
    "ToolRequest",
    "ToolResponse",
    "Usage",
    "View",
    "Whole",
    "Wire",
]
