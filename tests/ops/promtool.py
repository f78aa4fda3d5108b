"""Finds promtool and runs it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _stack() -> Path:
    """The folder into which `make stack` builds."""
    path = ROOT / "collector-config" / "stack_build.py"
    spec = importlib.util.spec_from_file_location("stack_build", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["stack_build"] = module
    spec.loader.exec_module(module)
    return module.binaries()


def find() -> str:
    """The path of promtool: of `OTEL_TOOLS_STACK`, of what `make stack` built, or of the system; skips without one."""
    named = os.environ.get("OTEL_TOOLS_STACK")
    places = [Path(named)] if named else []
    places.append(_stack())
    for place in places:
        if (place / "promtool").exists():
            return str(place / "promtool")
    found = shutil.which("promtool")
    if not found:
        pytest.skip(f"no promtool in {' or '.join(map(str, places))} nor in PATH: `make stack` builds it")
    return found


def run(*arguments: str | Path) -> str:
    """What promtool says; fails unless it is content."""
    done = subprocess.run([find(), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
