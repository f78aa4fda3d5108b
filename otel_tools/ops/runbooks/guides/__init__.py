"""What a person knows about each alert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from otel_tools.ops.runbooks.guides import objectives, sessions, telemetry, tools
from otel_tools.ops.runbooks.guides.guide import Guide

GUIDES: Final[Mapping[str, Guide]] = {
    **tools.GUIDES,
    **sessions.GUIDES,
    **telemetry.GUIDES,
    **objectives.GUIDES,
}
"""Name of an alert -> its guide."""
