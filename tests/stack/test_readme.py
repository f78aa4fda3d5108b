"""The README of the operations pack: every command in it, run in its order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from stack import Ports
from stack_build import HERE, binaries

from tests.stack.servers import eventually

TEXT = (HERE / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
DOCKER = [block for block in BLOCKS if "docker" in block]
OTHERS = [block for block in BLOCKS if "docker" not in block]
SHOWS = {"api/traces?": "invoke_agent", "gen_ai_tool_name": "search_knowledge_base", "otelcol_": "accepted"}
"""What a command is -> what it has to show, as soon as the servers do."""


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A home and a checkout of this test's own, and free ports in place of the usual ones."""
    work = tmp_path / "otel-tools"
    work.mkdir()
    for name in ("Makefile", "collector-config"):
        (work / name).symlink_to(HERE.parent / name)
    (work / "my_agent.py").write_text("print('an agent')\n")
    ports = {f"STACK_PORT_{name.upper()}": str(port) for name, port in vars(Ports.free()).items()}
    ours = Path(sys.executable).parent
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "XDG_STATE"))},
        **ports,
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(binaries().parents[2]),
        "PATH": f"{ours}:{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "PWD": str(work),
    }
    yield environment
    _shell("make stack-down", environment)


def _shell(block: str, environment: dict[str, str]) -> str:
    for name, port in vars(Ports()).items():
        block = re.sub(rf"127\.0\.0\.1:{port}\b", f"127.0.0.1:{environment[f'STACK_PORT_{name.upper()}']}", block)
    command = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(
        command, cwd=environment["PWD"], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _shown(block: str, awaited: str, environment: dict[str, str]) -> str:
    text = _shell(block, environment)
    return text if awaited in text else ""


@pytest.mark.usefixtures("binaries")
def test_every_command_without_docker_works(environment: dict[str, str]):
    """From nothing to a trace, in the order of the page; queries show what the page promises."""
    stopped = False
    for block in OTHERS:
        if stopped and "make" not in block:  # the page goes on about a stack that runs
            _shell("make stack-up", environment)
            _shell("otel-tools demo --endpoint http://127.0.0.1:4317", environment)
            stopped = False
        awaited = next((awaited for part, awaited in SHOWS.items() if part in block), "")
        if awaited:
            eventually(lambda block=block, awaited=awaited: _shown(block, awaited, environment))
        else:
            _shell(block, environment)
        stopped = block.strip().endswith("stack-down") or (stopped and "stack-up" not in block)


@pytest.mark.parametrize("block", DOCKER)
def test_commands_for_docker_name_what_exists(block: str):
    """Compose cannot run here: its commands are known ones, with services, files and variables that exist."""
    compose = (HERE / "compose.yaml").read_text()
    for line in block.splitlines():
        words = shlex.split(line)
        at = words.index("docker")
        assert words[at + 1] == "compose"
        for assignment in words[:at]:
            assert "${" + assignment.partition("=")[0] in compose
        rest = words[at + 2 :]
        if rest[0] == "--env-file":
            assert (HERE / rest[1]).is_file()
            rest = rest[2:]
        assert rest[0] in {"up", "down", "logs"}
        assert set(rest[1:]) <= {"--detach", *yaml.safe_load(compose)["services"]}


def test_ports_of_the_page_are_those_of_the_stack():
    """The table names every port, under the name that moves it."""
    rows = [re.split(r"\s*\|\s*", line) for line in TEXT.splitlines() if re.match(r"\| [\d, ]+ \|", line)]
    pairs = [pair for row in rows for pair in zip(row[1].split(", "), row[2].split(", "), strict=False) if pair[1]]
    assert {name.strip("`").lower(): int(port) for port, name in pairs} == vars(Ports())


def test_versions_of_the_page_are_those_of_the_files():
    """The table of versions says what go.mod, the manifest and compose.yaml say."""
    services = yaml.safe_load((HERE / "compose.yaml").read_text())["services"]
    rows = re.findall(
        r"^\| (Collector|Prometheus|Alertmanager|Jaeger) \| ([\d.]+).*? \| (?:contrib )?([\d.]+) \|", TEXT, re.MULTILINE
    )
    images = {name: services[name.lower()]["image"].rpartition(":")[2].removeprefix("v") for name, *_ in rows}
    assert {name: image for name, _, image in rows} == images
    modules = (HERE / "go.mod").read_text()
    assert {name: ours for name, ours, _ in rows} == {
        "Collector": yaml.safe_load((HERE / "collector-builder.yaml").read_text())["dist"]["version"],
        "Prometheus": "3." + re.search(r"prometheus/prometheus v0\.3(\d+\.\d+)", modules)[1].lstrip("0"),
        "Alertmanager": re.search(r"prometheus/alertmanager v([\d.]+)", modules)[1],
        "Jaeger": re.search(r"Jaeger ([\d.]+\d)", (HERE / "jaeger/go.mod").read_text())[1],
    }
