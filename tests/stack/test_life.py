"""Starting, stopping and losing servers of the stack."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from stack import Ports, Stack
from stack_build import HERE, StackError
from stack_server import _command_of

from tests.stack.program import program
from tests.stack.servers import QUICK, eventually, get


@pytest.fixture
def own(binaries: Path, tmp_path: Path) -> Stack:
    """A stack of this test alone, not started."""
    return Stack(ports=Ports.free(), directory=tmp_path / "stack", environment=QUICK)


def test_the_command_starts_once_and_ends_all(binaries: Path, tmp_path: Path):
    """`up` twice leaves the same processes, `status` names them, `down` ends all of them, and may be said again."""
    ports = Ports.free()
    environment = {f"STACK_PORT_{name.upper()}": str(port) for name, port in vars(ports).items()}

    def command(*arguments: str, **more: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-B", HERE / "stack.py", *arguments],
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path), "XDG_CACHE_HOME": str(binaries.parents[2]), **more},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    try:
        up = command("up", **environment)
        assert up[0] == 0, up[1]
        pids = re.findall(r"process (\d+)", up[1])
        assert len(pids) == 4
        assert command("up", **environment) == up
        assert command("status") == up  # as it was started, without the variables
        assert command("up", "redaction", **environment) == (
            1,
            "stack: the stack runs already, with other ports or layers: `make stack-down` first\n",
        )
    finally:
        down = command("down")
    assert down == (0, "")
    assert [pid for pid in pids if _command_of(int(pid))] == []
    assert command("status")[0] == 1
    assert command("down") == (0, "")


def test_a_taken_port_is_named_with_its_setting(own: Stack):
    """A port that something else has: one message says which, and how to move it; nothing is left running."""
    with socket.create_server(("127.0.0.1", own.ports.jaeger_query)), pytest.raises(StackError) as raised:
        own.up()
    assert str(raised.value) == (
        f"jaeger: cannot listen on port {own.ports.jaeger_query} (Address already in use): "
        "stop what does, or set STACK_PORT_JAEGER_QUERY to another port"
    )
    assert [server.pid for server in own.servers.values()] == [None] * 4


def test_a_server_that_does_not_start_is_told_with_its_last_words(own: Stack):
    """A configuration error: the message has the server's own, and the others are ended."""
    own.directory.mkdir()
    broken = Stack(ports=own.ports, directory=own.directory, environment={"STACK_COLLECTOR_LOG_LEVEL": "loud"})
    with pytest.raises(StackError, match=r"(?s)collector ended at once; .*collector.log ends with:\n.*loud"):
        broken.up()
    assert [server.pid for server in broken.servers.values()] == [None] * 4


def test_an_unknown_layer_is_named():
    """A misspelt layer is refused with the list of those there are."""
    with pytest.raises(StackError) as raised:
        Stack(layers=["sampling"])
    assert str(raised.value) == "there is no layer sampling; there are tail-sampling, redaction, loki, tempo"


def test_without_the_programs_up_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing built: `up` names the command that builds."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(StackError) as raised:
        Stack(directory=tmp_path).up()
    assert str(raised.value) == (
        "not built: prometheus, promtool, alertmanager, amtool, builder, otelcol, jaeger. Run `make stack` first"
    )


def test_without_go_build_says_what_to_install(tmp_path: Path):
    """No Go on the machine: one line says which version and where from."""
    done = subprocess.run(
        [sys.executable, "-B", HERE / "stack.py", "build"],
        env={"XDG_CACHE_HOME": str(tmp_path), "PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "stack: make stack: needs Go 1.26 or newer to build the servers: https://go.dev/dl/\n",
        "",
    )


def test_traces_outlive_the_collector(own: Stack):
    """With Jaeger away, the Collector queues on disk: killed and started again, it delivers what it had taken."""
    with own:
        own.kill("jaeger")
        with program(own, "queued") as agent:
            trace_id = agent.span("invoke_agent planner", {})
        own.kill("collector")
        own.start("jaeger")
        assert get(f"{own.jaeger}/api/traces/{trace_id}") is None
        own.start("collector")
        assert eventually(lambda: get(f"{own.jaeger}/api/traces/{trace_id}"))
