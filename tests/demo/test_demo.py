"""`otel-tools demo` from end to end: real processes, real client libraries, real OTLP."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner

from otel_tools import cli
from otel_tools.cli import demo
from otel_tools.cli.receiver import Receiver
from otel_tools.cli.state import State
from otel_tools.demo import program, story

pytest.importorskip("openai")
pytest.importorskip("anthropic")


@pytest.fixture(scope="module")
def shown():
    """What a newcomer sees."""
    command = [sys.executable, "-c", "from otel_tools.cli import main; main()", "demo"]
    hostile = {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "none", "HTTP_PROXY": "http://127.0.0.1:9"}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, **hostile, "COLUMNS": "120"},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_session_is_told_as_it_ends(shown):
    """A line each, with its outcome and what became of its tools."""
    before = shown.partition("Trace")[0]
    lines = re.findall(r"^(\d)  (.+?)  +(completed|max iterations) +[\d.]+ m?s(?:  (.*))?$", before, re.MULTILINE)
    assert lines == [
        ("1", "All is well", "completed", ""),
        ("2", "All is well, with another model", "completed", ""),
        ("3", "The search API begins to fail", "completed", "2 errors"),
        ("4", "Its third failure opens the circuit", "completed", "1 error, 1 circuit open"),
        ("5", "The warehouse hangs, preferences fail", "completed", "1 timeout, 2 circuit open, 1 degraded"),
        ("6", "A model that never gives up", "max iterations", "6 circuit open, 1 degraded"),
        ("7", "Back again: a probe closes the circuit", "completed", ""),
        ("8", "All is well again", "completed", ""),
    ]


def test_the_trace_of_the_session_with_most_trouble_is_drawn(shown):
    """One line a call, with what came of it; no value of an argument or a result is in it."""
    tree = shown.partition("Trace  of session 5")[2].partition("Answered:")[0]
    calls = re.findall(r"[├└]─ (\S+ \S+) +[\d.]+ m?s +━+ +(.*)", tree)
    assert [(name, re.sub(r"\d[\d,.]*", "N", detail).partition("  first")[0].strip()) for name, detail in calls] == [
        ("chat gpt-5-mini", "N → N tokens  $N"),
        ("execute_tool get_order_status", "N B"),
        ("execute_tool check_inventory", "✗ timeout after N ms"),
        ("execute_tool search_knowledge_base", "⊘ refused, circuit open"),
        ("execute_tool get_user_preferences", "✗ HTTPError → note for the model"),
        ("chat gpt-5-mini", "N → N tokens  $N"),
        ("execute_tool search_knowledge_base", "⊘ refused, circuit open"),
        ("chat gpt-5-mini", "N → N tokens  $N"),
    ]


def test_tables_follow_and_then_what_to_do_next(shown):
    """In this order, and without a colour, as it is piped."""
    places = [
        shown.index(f"\n{title}")
        for title in ("Trace  ", "Sessions  of agent run_session", "Tools", "Circuit history", "Alerts", "Next")
    ]
    assert places == sorted(places)
    assert re.search(r"^check_inventory +3 +33% +592 ms +78 B +1 abandoned +closed +1 timeout *$", shown, re.MULTILINE)
    assert re.search(r"search_knowledge_base +half open +closed +the probe succeeded", shown)
    assert re.search(r"critical +ToolErrorRateHigh +search_knowledge_base +86% +> 25% in 5 m +firing", shown)
    assert re.search(r"critical +CircuitOpen +search_knowledge_base +open +- +over", shown)
    assert "  otel-tools watch " in shown
    assert "\x1b" not in shown


# --- other ways to end ----------------------------------------------------------------------------------------------
def _run(*arguments):
    return CliRunner().invoke(cli.main, ["demo", *arguments])


def test_telemetry_can_be_sent_elsewhere(monkeypatch):
    """To a Collector, say; then it is told where to look."""
    monkeypatch.setattr(story, "ACTS", story.ACTS[:1])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    state = State()
    with Receiver(state.add, grpc_port=0, http_port=0) as receiver:
        result = _run("--endpoint", f"127.0.0.1:{receiver.http_port}")
    assert result.exit_code == 0, result.output
    assert re.search(r"^1  All is well +sent$", result.output, re.MULTILINE)
    assert f"Sent to http://127.0.0.1:{receiver.http_port} (http/protobuf). Look there for\n" in result.output
    assert [row.outcome for row in state.sessions()] == ["completed"]
    called = ["check_inventory", "get_order_status", "get_user_preferences"]
    assert [tool.name for tool in state.tools() if tool.calls] == called


@pytest.mark.parametrize(
    ("endpoint", "protocol"),
    [
        ("http://localhost:4317", "grpc"),
        ("http://localhost:4317/", "grpc"),
        ("http://localhost:4318", "http/protobuf"),
        ("https://otlp.example.com/otlp", "http/protobuf"),
        ("https://otlp.example.com:443", "grpc"),
    ],
)
def test_the_protocol_follows_from_the_endpoint(endpoint, protocol):
    """Unless `OTEL_EXPORTER_OTLP_PROTOCOL` says it."""
    assert demo._protocol(endpoint) == protocol


def test_an_endpoint_where_nothing_listens_is_one_line():
    """It is tried before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    result = _run("--endpoint", f"http://127.0.0.1:{port}")
    assert result.exit_code == 1
    assert f"Error: nothing listens at http://127.0.0.1:{port} (" in result.output


def test_a_story_that_was_not_told_is_an_error(monkeypatch):
    """Whatever played, it is the telemetry that counts."""
    monkeypatch.setattr(demo, "_stage", lambda exporter: contextlib.nullcontext((None, None)))
    monkeypatch.setattr(demo, "play", lambda *about: ())
    result = _run()
    assert result.exit_code == 1
    assert result.output.endswith(
        "Error: the telemetry that arrived does not tell the story; missing: no telemetry arrived\n"
    )


def test_a_program_that_does_not_start_shows_its_last_words(monkeypatch):
    """The error of the agent's process, not only that there was one."""
    monkeypatch.setattr(program, "_INSTRUMENT", "raise SystemExit('no such distro')")
    result = _run()
    assert result.exit_code == 1
    assert "Error: the demo's agent does not answer:\n  no such distro" in result.output


def test_without_a_client_library_it_says_what_to_install(monkeypatch):
    """One line, with the command."""
    monkeypatch.setattr(demo, "installed_models", list)
    result = _run()
    assert result.exit_code == 1
    assert result.output == "Error: the demo needs an LLM client (scripted, no key): pip install openai anthropic\n"
