"""One call, whatever its shape: admission, recording, and the one ending that everything else follows from.

`Call` is the common part; `LLMCall`, `ToolCall` and `AgentCall` differ in what policy says to them and in what the
caller may get instead. The drivers run the library's own method and tell the call what came of it.
"""

from otel_tools.calls.agent import AgentCall
from otel_tools.calls.base import RAISE, Call, current_call
from otel_tools.calls.llm import LLMCall
from otel_tools.calls.tool import FoldedCall, ToolCall

__all__ = ["RAISE", "AgentCall", "Call", "FoldedCall", "LLMCall", "ToolCall", "current_call"]
