"""Every command on every page of a runbook is run, as a shell reads it, against a program; and does what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import otel_tools
from otel_tools import semconv
from otel_tools.cli import doctor, main, steer
from otel_tools.control import controller
from otel_tools.control.file import FileStore
from otel_tools.ops import translation
from otel_tools.ops.objectives import DEFAULTS
from otel_tools.ops.runbooks import alerts, ladder
from otel_tools.ops.runbooks.guides.guide import CLIENT, SERVICE, TOOL
from otel_tools.version import __version__
from tests.ops import pages, promql
from tests.ops.test_runbooks import DEMO

ALERTS = {name: page for name, page in alerts.render(DEFAULTS).items() if name != alerts.INDEX}
DEMO_TOOLS = ("search_knowledge_base", "get_order_status", "check_inventory", "get_user_preferences")
ODD = ("a b", "-rf", 'it\'s `$HOME` "x"', "$(touch /tmp/x)", "a|b\\|c", "naïve 道具 😀", "it\\ends\\")
WHY = ladder.REASON


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Where the demo's configuration is, with a store of the test's own."""
    (tmp_path / "otel-tools.yaml").write_text(DEMO.read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_TOOLS_STORE", str(tmp_path / "base"))
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TOOLS_CONFIG", "OTEL_TOOLS_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(steer, "_POLL", 0.01)


@pytest.fixture
def tools(recorder, tmp_path, monkeypatch):
    """This process as the demo's service: it has called all tools, looks at its store and reports often."""
    monkeypatch.setattr(controller, "COUNTERS", 0.0)
    recorder.instrument(control={"service": SERVICE, "interval": 0.02}, patch={"tools": [], "sessions": []})
    found = {name: otel_tools.tool(name)(lambda: "well") for name in (*DEMO_TOOLS, *ODD)}
    for tool in found.values():
        assert tool() == "well"
    store = FileStore(tmp_path / "base", SERVICE)
    eventually(lambda: [len(report.tools) for report in store.reports()] == [len(found)])
    yield found
    otel_tools.uninstrument()


def eventually(condition) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "it has not happened"
        time.sleep(0.005)


def run(command: pages.Command, monkeypatch) -> str:
    """What a command says, which must not fail."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", command.service)
    result = CliRunner().invoke(main, command.words, prog_name="otel-tools")
    assert (result.exit_code, result.exception) == (0, None), result.output
    return result.output


def page_of(name: str, monkeypatch) -> str:
    """The page that is printed for a tool."""
    words = ("runbook", "--service", SERVICE, "--", name)
    return run(pages.Command("", words), monkeypatch)


def value_of(query: str, recorder) -> float:
    """What `sum(metric{…})` gives on the metrics of this process; the service is the only one."""
    [selector] = promql.selectors(query)
    metric = next(one for one in semconv.METRICS if translation.name(one) == selector.name)
    labels = {translation.label(attribute): attribute for attribute in metric.attributes}
    matchers = {label: value for label, _, value in promql.matchers(selector)}
    assert matchers.pop(translation.SERVICE_NAME) == SERVICE
    wanted = {labels[name].replace(".", "__"): value for name, value in matchers.items()}
    return sum(point["value"] for point in recorder.points(metric.name, **wanted))


# --- pages of tools -------------------------------------------------------------------------------------------------
EFFECTS = {
    "force-open": ("forced_open", None, otel_tools.CircuitOpen, "circuit_open"),
    "disable": ("closed", WHY, otel_tools.ToolDisabled, "disabled"),
    "metrics-only": ("metrics_only", None, None, "ok"),
    "enable": ("closed", None, None, "ok"),
    "reset": ("closed", None, None, "ok"),
}
"""Command -> the circuit's state, the reason it is disabled for, what a call raises, its outcome."""


@pytest.mark.parametrize("name", [*DEMO_TOOLS, *ODD])
def test_every_command_on_a_tools_page(name, tools, recorder, monkeypatch):
    """It answers what the page says, within a second or two the tool does what the page says, and so do its metrics."""
    page = page_of(name, monkeypatch)
    assert pages.read(page)[0].text == name
    ran = [_ran(command, name, tools[name], page, recorder, monkeypatch) for command in pages.commands(page)]
    steered = [word for word in ran if word in EFFECTS]
    assert steered == ["force-open", "reset", "disable", "enable", "metrics-only", "reset", "enable", "reset"]
    assert {word for word in ran if word not in EFFECTS} == {"runbook", "tools", "circuits"}


def _ran(command, name, tool, page, recorder, monkeypatch) -> str:
    word = command.words[0]
    assert command.words[command.words.index("--service") + 1] == SERVICE
    output = run(command, monkeypatch)
    if word in EFFECTS:
        _check(word, name, tool, page, output, recorder)
    elif "--json" in command.words:
        assert name in {row["name"] for row in json.loads(output)[word]}
    elif word == "runbook":
        assert pages.read(output)[0].text == name
    else:
        assert output.startswith(word.capitalize())
    return word


def _check(word, name, tool, page, output, recorder) -> None:
    state, disabled, raises, outcome = EFFECTS[word]
    promised = [found.text for found in pages.read(page) if found.text.startswith("N of N processes")]
    said = re.sub(r"\d\d:\d\d:\d\d", "HH:MM:SS", output.strip()).replace("1 of 1", "N of N")
    assert said in promised
    view = otel_tools.circuits()[name]
    assert view.circuit.state == state
    assert (view.disabled.reason if view.disabled else None) == disabled
    recorder.clear()
    _call(tool, raises)
    attributes = recorder.span(f"execute_tool {name}")["attributes"]
    assert attributes["otel_tools.outcome"] == outcome
    if word == "disable":
        assert attributes["otel_tools.refusal.detail"] == WHY
    assert word != "force-open" or attributes["otel_tools.circuit_breaker.state"] == "forced_open"
    _check_metrics(word, name, page, recorder)


def _call(tool, raises) -> None:
    if raises is None:
        assert tool() == "well"
        return
    try:
        answer = tool()
    except raises:
        return
    assert json.loads(answer)["is_error"]  # an optional tool gives a note


def _check_metrics(word, name, page, recorder) -> None:
    """The queries to verify with, on the page: 1 process where it is set, 0 where it is not."""
    disabled, forced, shadow = (
        next(query for query in pages.queries(page) if mark in query)
        for mark in ("otel_tools_tool_disabled", '"forced_open"', '"metrics_only"')
    )
    found = [value_of(query, recorder) for query in (disabled, forced, shadow)]
    assert found == [word == "disable", word == "force-open", word == "metrics-only"]


# --- pages of alerts ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("file", ALERTS)
def test_every_command_on_an_alerts_page(file, tools, monkeypatch):
    """With the examples that stand there, which are the demo's. (What `doctor` finds has tests of its own.)"""
    monkeypatch.setattr(doctor, "examine", lambda: doctor.Report(__version__, "3", _CONFIGURED))
    for command in pages.commands(ALERTS[file], NAME=TOOL):
        output = run(command, monkeypatch)
        word, *rest = command.words
        assert command.service in {SERVICE, ""}
        if word in EFFECTS:
            assert rest[0] in {TOOL, CLIENT}
            assert re.match(r"1 of 1 processes \w+", output), output
            _check_effect(word, rest[0])
        elif word == "runbook":
            assert pages.read(output)[0].text in {TOOL, "Runbooks of the alerts"} or "--alerts" in rest
        else:
            assert word in {"tools", "circuits", "doctor"}
    views = otel_tools.circuits()
    assert (views[TOOL].disabled, views[TOOL].circuit.override) == (None, None)


_CONFIGURED = {
    "problems": [],
    "mode": "enforce",
    "file": None,
    "content": "no_content",
    "tools": [],
    "clients": [],
    "patched_tools": [],
    "patched_sessions": [],
}


def _check_effect(word, target) -> None:
    if target == CLIENT:
        return  # no client is called here; that the process has it is what the command has waited for
    state, disabled, *_ = EFFECTS[word]
    view = otel_tools.circuits()[TOOL]
    if word in {"disable", "enable"}:
        assert (view.disabled.reason if view.disabled else None) == disabled
    else:
        assert view.circuit.state == state


# --- a program of its own, and a real shell -------------------------------------------------------------------------
PROGRAM = """
import sys
import otel_tools.auto, otel_tools

@otel_tools.tool
def check_inventory():
    return "well"

for line in sys.stdin:
    try:
        print(check_inventory(), flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
"""


@pytest.fixture
def program(tmp_path):
    """A program under otel-tools that calls its tool once for each line that it reads, and says how that ended."""
    (tmp_path / "agent.py").write_text(PROGRAM)
    (tmp_path / "otel-tools.yaml").write_text("mode: enforce\ntools: {check_inventory: {owner: shop}}\n")
    environ = os.environ | {"OTEL_SERVICE_NAME": SERVICE, "OTEL_SDK_DISABLED": "true"}
    with subprocess.Popen(
        [sys.executable, "agent.py"],
        cwd=tmp_path,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:

        def call() -> str:
            process.stdin.write("\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield call
        process.stdin.close()


def test_the_ladder_in_a_real_shell(program, tmp_path):
    """The page is printed by the command, its blocks are given to a shell, and the running program follows."""
    assert program() == "well"
    shell = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def bash(script: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=os.environ | shell,
            capture_output=True,
            check=False,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    page = bash("otel-tools runbook check_inventory")
    assert "* Owner: shop" in page
    assert "1 process reporting" in page
    blocks = [found.text for found in pages.read(page) if found.kind == "sh"]
    assert len(blocks) == 5
    look, force_open, disable, metrics_only, roll_back = blocks
    assert "check_inventory" in bash(look)
    for block, answer in ((force_open, "CircuitOpen"), (disable, "ToolDisabled"), (metrics_only, "ToolDisabled")):
        assert bash(block).startswith(("1 of 1 processes", "0 of 1 processes"))
        assert program() == answer
    assert bash(roll_back) == (
        "1 of 1 processes admit calls of check_inventory now.\n"
        "1 of 1 processes have the circuit of check_inventory closed now.\n"
    )
    assert program() == "well"
