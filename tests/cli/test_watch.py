"""`otel-tools watch`, with telemetry that arrives over real sockets."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner

from otel_tools import cli, semconv
from otel_tools.cli import watch
from tests.cli import messages as make

PORTS = ("--grpc-port", "0", "--http-port", "0")


def _send(port, path, message):
    headers = {"content-type": "application/x-protobuf"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", message.SerializeToString(), headers)
    urllib.request.urlopen(request, timeout=10).close()


def _send_a_session(port):
    failed = {
        semconv.TOOL_NAME: "search",
        semconv.OUTCOME: "error",
        semconv.DEGRADED: False,
    }
    _send(port, "/v1/traces", make.traces(make.tool("search", "t", "b", "a"), make.agent("t", "a")))
    _send(port, "/v1/metrics", make.metrics(make.number(semconv.TOOL_CALLS, 3, failed, temporality=make.DELTA)))
    _send(port, "/v1/logs", make.logs(make.transition("search", "closed", "open", "threshold")))


@pytest.fixture
def run(monkeypatch):
    """Runs `watch --once`, with what arrives meanwhile."""

    def run(arrives=lambda port: None):
        receivers = []

        class Receiver(watch.Receiver):
            def __enter__(self):
                receivers.append(self)
                return super().__enter__()

        monkeypatch.setattr(watch, "Receiver", Receiver)
        monkeypatch.setattr(watch, "_wait", lambda seconds: arrives(receivers[0].http_port))
        return CliRunner().invoke(cli.main, ["watch", "--once", "1", *PORTS])

    return run


def test_a_snapshot_shows_everything_that_arrived(run):
    """Sessions, the latest trace, tools, circuits and alerts, without colours."""
    result = run(_send_a_session)
    assert result.exit_code == 0, result.output
    for line in (
        "1 process, 2 spans, 1 data points, 1 log records",
        "Sessions  of agent helper",
        "Latest trace",
        "└─ execute_tool search",
        "search      3    100%",
        "search   closed  open    failures in a row",
        "critical  ToolErrorRateHigh  search   100%  > 25% in 5 m  firing",
    ):
        assert line in result.output
    assert "\x1b" not in result.output


def test_before_anything_arrives_it_says_how_to_send(run):
    """With the endpoint to send to."""
    result = run()
    port = re.search(r"gRPC 127.0.0.1:(\d+)", result.output)[1]
    assert result.exit_code == 0
    assert f"export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{port} " in result.output
    assert "opentelemetry-instrument python your_agent.py" in result.output


def test_spans_without_metrics_are_explained(run):
    """Metrics come once a minute by default; newcomers would wait for the tools in vain."""
    result = run(lambda port: _send(port, "/v1/traces", make.traces(make.agent("t", "a"))))
    assert "OTEL_METRIC_EXPORT_INTERVAL" in result.output
    assert "Sessions  of agent helper" in result.output


def test_a_port_in_use_is_one_line():
    """The message of the receiver, and exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(cli.main, ["watch", "--grpc-port", "0", "--http-port", str(port)])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: port {port} on 127.0.0.1 is in use")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("height", "expected"),
    [
        (24, {"alerts": 2, "tools": 10, "sessions": 0, "trace": 0, "circuits": 0}),
        (40, {"alerts": 2, "tools": 10, "sessions": 10, "trace": 1, "circuits": 0}),
        (80, {"alerts": 2, "tools": 10, "sessions": 10, "trace": 14, "circuits": 6}),
    ],
)
def test_rows_are_shared_by_the_height_of_the_terminal(height, expected):
    """What is more important gets its rows first."""
    wanted = {"alerts": 2, "tools": 99, "sessions": 99, "trace": 99, "circuits": 99}
    assert watch.shares(height, wanted) == expected


class Terminal:
    """A real terminal with the command in it."""

    def __init__(self):
        self.text = ""
        self._end, other = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "110", "LINES": "50"}
        command = [sys.executable, "-c", "from otel_tools.cli import main; main()", "watch", *PORTS]
        self.process = subprocess.Popen(command, stdin=other, stdout=other, stderr=other, env=environment)
        os.close(other)

    def read_until(self, pattern):
        while not (found := re.search(pattern, self.text, re.DOTALL)):
            assert select.select([self._end], [], [], 30)[0], self.text
            try:
                self.text += os.read(self._end, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                raise AssertionError(self.text) from None
        return found

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._end)


@pytest.fixture
def terminal():
    """A terminal with `otel-tools watch` in it."""
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_the_live_view_leaves_its_last_view_behind(terminal, how):
    """It draws on the alternate screen, shows what arrives, and ends with exit code 0 and a plain copy."""
    port = terminal.read_until(r"HTTP (\d+).*Nothing has arrived yet")[1]
    _send_a_session(port)
    terminal.read_until(r"\x1b\[\?1049h.*execute_tool")
    terminal.process.send_signal(how)
    terminal.read_until(r"\x1b\[\?1049l.*Latest trace.*Quiet: ")
    assert terminal.process.wait(30) == 0
    assert "Traceback" not in terminal.text
