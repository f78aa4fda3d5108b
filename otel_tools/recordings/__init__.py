"""What is written about one call: its span, its metrics and its log record, all from one `Ending`."""

from otel_tools.recordings.agent import AgentRecording
from otel_tools.recordings.base import Ending, Recording
from otel_tools.recordings.llm import LLMRecording
from otel_tools.recordings.tool import ToolRecording

__all__ = ["AgentRecording", "Ending", "LLMRecording", "Recording", "ToolRecording"]
