"""The shipped stack, the demo's agent on it, and what both were seen to do: started once for all these tests."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_tools import config
from otel_tools.demo.llm_server import LLMServer
from otel_tools.demo.program import Program, installed_models
from otel_tools.demo.script import SEARCH
from otel_tools.demo.service import Behaviour, Service
from otel_tools.demo.story import ACTS, play
from otel_tools.ops import rules
from otel_tools.ops.objectives import Objectives, objectives
from tests.stack.conftest import binaries, webhook  # noqa: F401  fixtures
from tests.stack.servers import QUICK, Webhook, get

sys.path.insert(0, str(Path(__file__).parents[2] / "collector-config"))

from stack import Ports, Stack

ALERT = "OtelToolsToolErrorRateHigh"
INTERVAL = "2s"
"""Of every group of rules, instead of 15 s to 4 minutes."""


@dataclass(frozen=True)
class Observed:
    """What the demo's agent did, and the first notification about its failing tool with the seconds it took."""

    stack: Stack
    objectives: Objectives
    rules: Path
    notification: dict[str, Any]
    after: float


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Objectives:
    """The shipped table, with `for` of the tool-error alert at once instead of after 2 minutes, and with links."""
    path = tmp_path_factory.mktemp("settings") / "otel-tools.yaml"
    links = {"runbooks": "https://wiki.example/runbooks", "grafana": "https://grafana.example"}
    path.write_text(yaml.safe_dump({"alerts": {"tool-error-rate-high": {"for": 0}}, "links": links}))
    return objectives(config.load(environ={"OTEL_TOOLS_CONFIG": str(path)}))


@pytest.fixture(scope="session")
def rule_folder(table: Objectives, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rendered rules, all evaluated every two seconds."""
    folder = tmp_path_factory.mktemp("rules")
    for name, text in rules.render(table).items():
        document = yaml.safe_load(text)
        document["groups"] = [{**group, "interval": INTERVAL} for group in document["groups"]]
        (folder / name).write_text(yaml.safe_dump(document))
    return folder


@pytest.fixture(scope="session")
def stack(
    binaries: Path,  # noqa: F811  the fixture
    webhook: Webhook,  # noqa: F811
    rule_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """The stack with its shipped configuration, on free ports."""
    directory = tmp_path_factory.mktemp("stack")
    with Stack(
        ports=Ports.free(), directory=directory, webhook=webhook.url, rules=rule_folder, environment=QUICK
    ) as running:
        yield running


@contextmanager
def demo_agent(stack: Stack, **variables: str) -> Iterator[tuple[Program, Service]]:
    """The demo's agent under `opentelemetry-instrument`, sending to the Collector, and the service behind its tools."""
    exporter = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp_grpc,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
        "OTEL_TOOLS_STORE": "false",
        **variables,
    }
    with LLMServer() as llm, Service() as service, Program(llm.url, service.url, exporter) as program:
        yield program, service


@pytest.fixture(scope="session")
def observed(stack: Stack, table: Objectives, rule_folder: Path, webhook: Webhook) -> Observed:  # noqa: F811
    """The demo's story, then a search that fails until somebody is told."""
    models = installed_models()
    with demo_agent(stack) as (program, service):
        assert len(list(play(program, service, models, lambda _: None))) == len(ACTS)
        service.behave(search=Behaviour.FAIL)
        began = time.monotonic()
        while not (told := _about_search(webhook)):
            assert time.monotonic() - began < 180, f"no notification; {get(f'{stack.prometheus}/api/v1/alerts')}"
            program.ask("How do I return shoes that I have worn once?", models[0])
        after = time.monotonic() - began
    return Observed(stack, table, rule_folder, told, after)


def _about_search(webhook: Webhook) -> dict[str, Any] | None:  # noqa: F811
    labels = {"alertname": ALERT, "gen_ai_tool_name": SEARCH, "severity": "critical"}
    found = (it for it in webhook.notifications if labels.items() <= it["commonLabels"].items())
    return next(found, None)


def instrumented(stack: Stack, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run *folder*'s agent.py with the command that users run, to its end."""
    command = [str(Path(sys.executable).parent / "opentelemetry-instrument"), sys.executable, "agent.py"]
    environment = {
        "PATH": str(Path(sys.executable).parent),
        "OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp_grpc,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_TOOLS_STORE": "false",
        "PYTHONDONTWRITEBYTECODE": "1",
        **variables,
    }
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
