"""Two real programs and the real command: both refuse, say why, and recover by themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_tools import semconv
from otel_tools.control.file import FileStore
from otel_tools.control.operator import Operator

ROOT = Path(__file__).parents[2]
GENEROUS = 30.0
REASON = "pool [exhausted]"

WORKER = """
import json, sys
import otel_tools
from tests.recorder import Recorder

recorder = Recorder()
recorder.instrument()

@otel_tools.tool
def search_kb(query):
    return query

for line in sys.stdin:
    recorder.clear()
    try:
        answer = search_kb("x")
    except otel_tools.ToolDisabled:
        answer = "refused"
    metrics = recorder.metrics
    calls = {point["attributes"]["otel_tools.outcome"]: point["value"] for point in metrics["otel_tools.tool.calls"]}
    disabled = [point["value"] for point in metrics["otel_tools.tool.disabled"]]
    told = {"answer": answer, "span": recorder.span()["attributes"], "calls": calls, "disabled": disabled}
    print(json.dumps(told), flush=True)
"""


class Worker:
    """A program that calls its tool when it is told to, and tells what came of it."""

    def __init__(self, environ):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", WORKER], env=environ, cwd=ROOT, **pipes)

    def call(self):
        self.process.stdin.write("call\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def call_until(self, answer):
        """The first call with that answer, and when it was."""
        until = time.monotonic() + GENEROUS
        while (told := self.call())["answer"] != answer:
            assert time.monotonic() < until, told
            time.sleep(0.01)
        return told, time.time()

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(GENEROUS) == 0
        self.process.stdout.close()


@pytest.fixture
def environ(tmp_path):
    store = {"OTEL_TOOLS_STORE": str(tmp_path / "base"), "OTEL_TOOLS_CONFIG": "", "OTEL_TOOLS_POLICY": "observe"}
    return {**os.environ, **store, "OTEL_SERVICE_NAME": "test", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def workers(environ):
    workers = [Worker(environ) for _ in range(2)]
    yield workers
    for worker in workers:
        worker.close()


def command(environ, *words):
    program = "from otel_tools.cli import main; main()"
    return subprocess.Popen([sys.executable, "-c", program, *words], env=environ, text=True, stdout=subprocess.PIPE)


def test_a_tool_is_disabled_in_both_and_comes_back(workers, environ, tmp_path):
    """Within a second, give or take a busy machine; the span and the metric say why; nothing is done to recover."""
    assert [worker.call()["answer"] for worker in workers] == ["x", "x"]
    disable = command(environ, "disable", "search_kb", "--reason", REASON, "--for", "2s", "--actor", "ann")
    refused = [worker.call_until("refused") for worker in workers]
    store = FileStore(tmp_path / "base", "test")
    [directive] = store.read().directives
    delays = [at - directive.set_at for _, at in refused]
    sys.stdout.write(f"refused after {', '.join(f'{delay:.2f} s' for delay in delays)}\n")
    assert max(delays) < 5

    for told, _ in refused:
        assert told["span"][semconv.OUTCOME] == told["span"]["error.type"] == "disabled"
        assert told["span"][semconv.REFUSAL_DETAIL] == REASON
        assert told["calls"]["disabled"] == 1
        assert told["disabled"] == [1.0]
    output = disable.communicate(timeout=GENEROUS)[0]
    until = time.strftime("%H:%M:%S", time.localtime(directive.expires_at))
    assert (disable.returncode, output) == (0, f"2 of 2 processes refuse search_kb now, until {until}.\n")

    for told, at in (worker.call_until("x") for worker in workers):
        sys.stdout.write(f"called again {at - directive.expires_at:+.2f} s after its end\n")
        assert told["disabled"] == [0.0]
    assert len(Operator(store, None).reports()) == 2


def test_a_program_that_starts_later_refuses_its_first_call(environ):
    """And one that has ended is not listed."""
    disable = command(environ, "disable", "search_kb", "--reason", REASON)
    later = "Those that start or make their first call refuse search_kb, until it is enabled."
    assert disable.communicate(timeout=GENEROUS)[0] == f"No process of service test has reported. {later}\n"
    worker = Worker(environ)
    assert worker.call()["answer"] == "refused"
    worker.close()
    tools = command(environ, "tools", "--json").communicate(timeout=GENEROUS)[0]
    found = json.loads(tools)
    assert (found["processes"], found["tools"]) == ([], [])
    assert [one["name"] for one in found["overrides"]["directives"]] == ["search_kb"]
