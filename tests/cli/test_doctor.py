"""`otel-tools doctor`: what it finds, says and exits with."""

from __future__ import annotations

import json
import logging
import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import otel_tools
from otel_tools import patching
from otel_tools.cli import checks, main
from otel_tools.cli.checks import ExportReport, InstrumentorReport, LibraryReport, PlaceReport
from otel_tools.finding import Source, library_version
from otel_tools.instrumentor import OtelToolsInstrumentor
from otel_tools.model import Adapter, Native, Shape, Target

OFF = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """An empty working directory, nothing exported."""
    monkeypatch.chdir(tmp_path)
    for name, value in {**OFF, "OTEL_TOOLS_CONFIG": "", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ""}.items():
        monkeypatch.setenv(name, value)
    yield
    otel_tools.uninstrument()


def doctor(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["doctor", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def install(folder: Path, name: str, version: str, entry_points: str = "") -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the import path for made-up distributions and packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def target(module: str, path: str, **options) -> Target:
    return Target(module=module, path=path, shape=Shape.SYNC, request=lambda call: None, **options)


def supports(monkeypatch, *adapters: Adapter) -> None:
    found = [Source((adapter.library,), lambda adapter=adapter: adapter) for adapter in adapters]
    monkeypatch.setattr(patching, "sources", lambda: found)


# --- the libraries that are installed here --------------------------------------------------------------------------
def test_every_installed_library_is_instrumented():
    """With the libraries of this environment, of any supported version, nothing is missed, and all is undone."""
    code, output = doctor("--json")

    report = json.loads(output)
    assert (code, report["problems"]) == (0, [])
    installed = {library["library"]: library["status"] for library in report["libraries"] if library["version"]}
    assert set(installed) >= {"openai", "anthropic", "google-genai", "mcp", "langchain-core", "openai-agents"}
    assert set(installed.values()) == {"instrumented"}
    assert all(library["version"] == library_version(library["library"]) for library in report["libraries"])
    assert OtelToolsInstrumentor().patcher is None


def test_the_patches_at_work_are_the_ones_that_are_examined():
    """In a process that is instrumented already, doctor looks at its patches and leaves them in place."""
    otel_tools.instrument(settings={"patch": {"disabled": ["openai"]}})
    patcher = OtelToolsInstrumentor().patcher

    code, output = doctor("--json")

    assert code == 0
    assert OtelToolsInstrumentor().patcher is patcher
    assert "openai" not in {library["library"] for library in json.loads(output)["libraries"]}


# --- made-up libraries ----------------------------------------------------------------------------------------------
def test_each_place_of_a_library_has_a_status(site, monkeypatch):
    """Patched, adopted, missing, of another version, optional, and not importable are told apart."""
    install(site, "made-up-one", "2.0")
    (site / "made_up_one.py").write_text("def call(): ...\ndef tracer(): ...\nprint('noise')\n")
    (site / "made_up_one_broken.py").write_text("raise RuntimeError('no [GPU]')\n")
    places = (
        target("made_up_one", "call"),
        target("made_up_one", "gone"),
        target("made_up_one", "gone", optional=True),
        target("made_up_one_old", "call", until="2"),
        target("made_up_one_broken", "call"),
        target("made_up_one_absent", "call", optional=True),
    )
    native = Native(module="made_up_one", path="tracer", adopt=lambda name, attributes: False)
    supports(monkeypatch, Adapter(library="made-up-one", minimum="1", targets=places, natives=(native,)))

    code, output = doctor("--json")

    report = json.loads(output)
    broken = "made_up_one_broken cannot be imported: RuntimeError: no [GPU]"
    assert report["libraries"] == [
        {
            "library": "made-up-one",
            "version": "2.0",
            "status": "incomplete",
            "places": [
                {"name": "made_up_one:call", "status": "patched", "reason": ""},
                {"name": "made_up_one:gone", "status": "skipped", "reason": "gone is not in made_up_one"},
                {"name": "made_up_one:gone", "status": "not needed", "reason": ""},
                {"name": "made_up_one_old:call", "status": "not needed", "reason": ""},
                {"name": "made_up_one_broken:call", "status": "skipped", "reason": broken},
                {"name": "made_up_one_absent:call", "status": "not needed", "reason": ""},
                {"name": "made_up_one:tracer", "status": "native", "reason": ""},
            ],
            "instrumented_by": [],
        }
    ]
    assert code == 1
    assert report["problems"] == [
        "made-up-one 2.0: made_up_one:gone is not instrumented: gone is not in made_up_one",
        f"made-up-one 2.0: made_up_one_broken:call is not instrumented: {broken}",
    ]


def test_what_is_said_on_a_pipe(site, monkeypatch):
    """Plain lines without colours, one a finding, unbroken however long, and nothing taken for markup."""
    install(site, "made-up-two", "1.5")
    install(site, "made-up-seven", "1.0")
    (site / "made_up_two.py").write_text("raise RuntimeError('[red]no[/] ' + 'GPU ' * 40)\n")
    Path("otel-tools.yaml").write_text(
        "mode: enforce\ncapture: span_only\ntools: {search: {timeout: 1}}\n"
        "patch: {tools: ['nowhere.tools:search'], disabled: [made-up-three, made-up-seven]}\n"
    )
    absent = Adapter(library="made-up-four", minimum="1", targets=())
    absent_target = Adapter(library="made-up-five", minimum="1", targets=(target("made_up_five", "call"),))
    two = Adapter(library="made-up-two", minimum="1", targets=(target("made_up_two", "call"),))
    supports(monkeypatch, two, absent, absent_target)

    code, output = doctor()

    gpu = "GPU " * 40
    assert code == 1
    assert output.splitlines() == [
        f"otel-tools {otel_tools.__version__}, Python {sys.version.split()[0]}",
        "",
        "Configuration",
        "  ok   mode enforce, from otel-tools.yaml",
        "  -    policy for tools: search",
        "  -    tools by name: nowhere.tools:search",
        "  note content is captured: span_only",
        "",
        "Libraries",
        "  -    made-up-seven is disabled by the configuration",
        "  note made-up-three is disabled by the configuration, but not installed: is that its name?",
        "  FAIL made-up-two 1.5: 1 not seen",
        f"         skipped  made_up_two:call: made_up_two cannot be imported: RuntimeError: [red]no[/] {gpu}",
        "  -    not installed: made-up-five",
        "",
        "Other instrumentors",
        "  ok   none",
        "",
        "Export",
        "  -    traces, metrics, logs: none",
        "",
        "Control",
        "  note there is no store (control.store: false): operators cannot reach running programs",
        "",
        "  note the configuration names objects of nowhere, which is not here; run this where the program runs",
        "  note no supported library is installed: only what your code decorates is seen",
        "1 problem found.",
    ]


def test_a_library_that_is_too_old(site, monkeypatch, caplog):
    """An installed version below the oldest supported one is a problem, told by doctor and not by the log as well."""
    install(site, "made-up-six", "0.9")
    (site / "made_up_six.py").write_text("def call(): ...\n")
    supports(monkeypatch, Adapter(library="made-up-six", minimum="1.2", targets=(target("made_up_six", "call"),)))

    with caplog.at_level(logging.WARNING):
        code, output = doctor()

    assert code == 1
    assert "version 0.9 is older than 1.2, the oldest supported one" in output
    assert caplog.messages == []


# --- configuration --------------------------------------------------------------------------------------------------
def test_a_wrong_configuration_fails():
    """Each wrong setting is listed; the libraries are examined all the same."""
    Path("otel-tools.yaml").write_text("mode: maybe\nlimits: {}\n")

    code, output = doctor("--json")

    report = json.loads(output)
    allowed = "mode, defaults, tools, clients, sessions, patch, capture, content_limit, prices, strict, control, admin"
    allowed += ", alerts, slos, links"
    assert code == 1
    assert (
        report["problems"]
        == report["configuration"]["problems"]
        == [
            "otel-tools.yaml, line 1: mode: must be observe or enforce, not 'maybe'",
            f"otel-tools.yaml, line 2: limits: unknown key; allowed: {allowed}",
        ]
    )
    assert len(report["libraries"]) > 5
    assert "it is wrong, so the defaults apply and nothing is enforced:" in doctor()[1]


@pytest.mark.parametrize("value", ["otel_tools", "requests, otel_tools", "*"])
def test_otel_tools_switched_off_by_a_variable(monkeypatch, value):
    """`opentelemetry-instrument` told to leave otel-tools out is a problem."""
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", value)

    code, output = doctor()

    assert code == 1
    assert "Configuration\n  FAIL OTEL_PYTHON_DISABLED_INSTRUMENTATIONS switches otel-tools off\n" in output
    assert output.endswith("1 problem found.\n")


# --- other instrumentors --------------------------------------------------------------------------------------------
def test_other_instrumentors(site):
    """Packages that instrument the same libraries are found, and which of them switch themselves on."""
    install(site, "openinference-instrumentation-made-up", "3.1", "[opentelemetry_instrumentor]\nmade_up = a:B\n")
    install(site, "opentelemetry-instrumentation-genai-made-up", "1.3b0", "[opentelemetry_instrumentor]\ngenai = a:B\n")
    install(site, "opentelemetry_instrumentation_flask", "1.0", "[opentelemetry_instrumentor]\nflask = a:B\n")
    install(site, "openlit", "1.45.0")
    install(site, "made-up", "1.0")

    found = checks.instrumentors(["made-up"], {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "flask, genai"})

    assert [report for report in found if report.name == "openlit" or "made-up" in report.name] == [
        InstrumentorReport("openinference-instrumentation-made-up", "3.1", automatic=True),
        InstrumentorReport("openlit", "1.45.0", automatic=False),
        InstrumentorReport("opentelemetry-instrumentation-genai-made-up", "1.3b0", automatic=False),
    ]
    assert "opentelemetry-instrumentation-flask" not in [report.name for report in found]
    assert "  note openinference-instrumentation-made-up 3.1: installed, switched on in code only" not in doctor()[1]


# --- export ---------------------------------------------------------------------------------------------------------
def test_where_telemetry_goes():
    """Signals with one destination are one entry; a listening endpoint is told from a silent one."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        good, bad = (f"127.0.0.1:{server.getsockname()[1]}" for server in (listening, silent))
        found = checks.exports(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{good}",
                "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": bad,
                "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/protobuf",
            }
        )

    assert found == [
        ExportReport(["traces", "metrics"], "otlp", f"http://{good}", "grpc"),
        ExportReport(["logs"], "otlp", bad, "http/protobuf", "Connection refused"),
    ]


@pytest.mark.parametrize(
    ("environ", "endpoint", "protocol", "mismatch"),
    [
        ({}, "http://localhost:4317", "grpc", None),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http://localhost:4318", "http/protobuf", None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, "http://localhost:4318", "grpc", "http"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:port"}, "http://localhost:port", "grpc", None),
    ],
)
def test_endpoints(monkeypatch, environ, endpoint, protocol, mismatch):
    """Defaults follow the protocol, and a port that is customary for another one is noticed."""
    monkeypatch.setattr(checks, "_connect", lambda _: None)

    assert checks.exports(environ) == [
        ExportReport(["traces", "metrics", "logs"], "otlp", endpoint, protocol, None, mismatch)
    ]


def test_an_endpoint_that_is_no_address():
    """A malformed endpoint is an answer, not a crash."""
    found = checks.exports(
        {**OFF, "OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:port"}
    )

    assert found[0] == ExportReport(["traces", "metrics"], "none")
    assert "port" in (found[1].error or "").lower()


def test_a_silent_endpoint_is_a_note(monkeypatch):
    """Nobody listening does not fail the command: the collector may run elsewhere."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        code, output = doctor("-v")

    assert code == 0
    assert f"  note traces to {endpoint} (grpc): Connection refused\n  -    metrics, logs: none\n" in output
    assert "         patched  openai._base_client:SyncAPIClient.request\n" in output


def test_counts_of_a_library():
    """A library's places are counted by status."""
    places = [PlaceReport("a", "patched"), PlaceReport("b", "patched"), PlaceReport("c", "native")]
    report = LibraryReport("made-up", "1", "instrumented", places)

    assert [report.count(status) for status in ("patched", "native", "skipped")] == [2, 1, 0]
