"""The demo's agent as a process of its own, under `opentelemetry-instrument`."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final, Self

from otel_tools.errors import OtelToolsError

_HERE = Path(__file__).parent
_FILES: Final = ("agent.py", "otel-tools.yaml")
_INSTRUMENT: Final = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
_WANTED: Final = frozenset({"otel_tools", "threading"})
_PATIENCE = 30.0
_ERRORS, _LINES = "stderr.txt", 12
SERVICE_NAME: Final = "support-agent"


class Program:
    """The agent in a folder of its own; a context manager that starts it and lets it finish.

    Args:
        llm_url, service_url: The demo's two servers.
        exporter: `OTEL_EXPORTER_OTLP_*` variables that say where telemetry goes.
    """

    def __init__(self, llm_url: str, service_url: str, exporter: dict[str, str]) -> None:
        self._environment = _environment(llm_url, service_url, exporter)
        self._answers: queue.Queue[str] = queue.Queue()
        self._folder = Path()

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="otel-tools-demo-"))
        for name in _FILES:
            shutil.copy(_HERE / name, self._folder)
        self._errors: IO[str] = (self._folder / _ERRORS).open("w")
        command = [sys.executable, "-c", _INSTRUMENT, sys.executable, "agent.py"]
        self._process = subprocess.Popen(  # noqa: S603  our own program
            command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()
        self._reader.join()
        self._output.close()
        self._errors.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self) -> None:
        for line in self._output:
            self._answers.put(line)
        self._answers.put("")

    def ask(self, question: str, model: str) -> dict[str, str]:
        """Its `answer`, or the `error` that ended the session.

        Raises:
            OtelToolsError: The program has ended, or does not answer; with the last it said.
        """
        try:
            print(json.dumps({"question": question, "model": model}), file=self._input, flush=True)
            line = self._answers.get(timeout=_PATIENCE)
        except (OSError, queue.Empty):
            line = ""
        if not line:
            raise OtelToolsError(f"the demo's agent does not answer{self.complaints()}")
        reply: dict[str, str] = json.loads(line)
        return reply

    def finish(self) -> None:
        """Let it end, which flushes its telemetry."""
        with contextlib.suppress(BrokenPipeError):  # it has ended by itself
            self._input.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def complaints(self) -> str:
        """The end of what it wrote to standard error, each line once, after a colon; empty if there is nothing."""
        self._errors.flush()
        lines = dict.fromkeys((self._folder / _ERRORS).read_text(errors="replace").splitlines())
        return ":\n  " + "\n  ".join([*lines][-_LINES:]) if lines else ""


def _environment(llm_url: str, service_url: str, exporter: dict[str, str]) -> dict[str, str]:
    """The user's environment without what would change the story: their keys, exporters and instrumentations."""
    foreign = ("OTEL_", "OPENAI_", "ANTHROPIC_")
    mine = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    others = {entry.name for entry in entry_points(group="opentelemetry_instrumentor")} - _WANTED
    return {
        **mine,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "OPENAI_BASE_URL": f"{llm_url}/v1",
        "OPENAI_API_KEY": "demo",
        "ANTHROPIC_BASE_URL": llm_url,
        "ANTHROPIC_API_KEY": "demo",
        "SERVICE_URL": service_url,
        "OTEL_SERVICE_NAME": SERVICE_NAME,
        "OTEL_METRIC_EXPORT_INTERVAL": "400",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BLRP_SCHEDULE_DELAY": "100",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ",".join(sorted(others)),
        **exporter,
    }


def installed_models() -> list[str]:
    """A model for each LLM client that is installed."""
    clients = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-4-5"}
    return [model for client, model in clients.items() if find_spec(client)]
