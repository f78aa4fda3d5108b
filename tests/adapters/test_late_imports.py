"""Frameworks that are imported after instrumentation, which is how `opentelemetry-instrument` meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("framework", "spans"),
    [("agents", ["execute_tool work"]), ("langgraph", ["execute_tool work", "invoke_agent runner"])],
)
def test_a_framework_imported_later_has_one_span_a_call(framework: str, spans: list[str]) -> None:
    """A function that one module imports from another, where it is patched, is patched once, and undone for good."""
    pytest.importorskip(framework)
    program = subprocess.run(
        [sys.executable, "-m", "tests.adapters.late_imports", framework],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert program.returncode == 0, program.stderr
    assert json.loads(program.stdout) == {"on": spans, "off": [], "on again": spans}
