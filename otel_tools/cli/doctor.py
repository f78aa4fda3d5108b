"""`otel-tools doctor`: is everything that is installed instrumented, is the configuration right, does telemetry arrive?

Under `opentelemetry-instrument otel-tools doctor` it looks at what that has set up, other instrumentors included.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import click
from opentelemetry._logs import NoOpLoggerProvider
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider
from rich.console import Console

from otel_tools import config
from otel_tools.cli import checks, store
from otel_tools.cli.store import StoreReport
from otel_tools.errors import ConfigError
from otel_tools.instrumentor import OtelToolsInstrumentor, instrument, uninstrument
from otel_tools.patching import Patcher
from otel_tools.settings import Control
from otel_tools.version import __version__

_CONFIGURED = {
    "tools": "policy for tools",
    "clients": "policy for clients",
    "patched_tools": "tools by name",
    "patched_sessions": "sessions by name",
}
_SIGNS = {"ok": "[green]ok  [/]", "note": "[yellow]note[/]", "fail": "[red]FAIL[/]", "-": "[dim]-   [/]"}


@dataclass(slots=True)
class Report:
    """Everything that was found; *problems* make the command fail, *notes* do not."""

    version: str
    python: str
    configuration: dict[str, Any]
    libraries: list[checks.LibraryReport] = field(default_factory=list)
    instrumentors: list[checks.InstrumentorReport] = field(default_factory=list)
    exports: list[checks.ExportReport] = field(default_factory=list)
    control: StoreReport | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="List every patched place.")
def command(*, as_json: bool, verbose: bool) -> None:
    """Check installation, configuration and what is patched.

    Imports every supported library that is installed and looks whether each place that otel-tools patches is there.
    Exits with 1 if something installed is not instrumented or a setting is wrong.
    """
    report = examine()
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(report), indent=2))
    else:
        console = Console(highlight=False, soft_wrap=True, stderr=False)
        for line in _lines(report, verbose=verbose):
            console.print(line)
    sys.exit(1 if report.problems else 0)


# --- looking --------------------------------------------------------------------------------------------------------
def examine() -> Report:
    """Look at this process: what is installed, configured and patched in it."""
    settings, problems = _settings()
    report = Report(__version__, platform.python_version(), _configuration(settings, problems))
    with _instrumented(settings) as patcher:
        report.libraries = checks.libraries(patcher, settings.disabled_libraries)
    names = [library.library for library in report.libraries]
    report.instrumentors = checks.instrumentors(names, os.environ)
    report.exports = checks.exports(os.environ)
    report.control = store.examine(settings.control)
    report.problems += [*problems, *_switched_off(), *_missing(report)]
    if report.control.problem is not None:
        report.problems.append(f"the store of overrides cannot be used: {report.control.problem}")
    report.notes += _worth_knowing(report)
    return report


def _settings() -> tuple[config.Settings, list[str]]:
    try:
        return config.load(), []
    except ConfigError as error:
        first, *rest = str(error).splitlines()
        return config.Settings(), [problem.strip() for problem in rest] or [first]


@contextlib.contextmanager
def _instrumented(settings: config.Settings) -> Iterator[Patcher]:
    """The patcher at work in this process, or one for the time being that exports nothing."""
    running = OtelToolsInstrumentor().patcher
    if running is not None:
        yield running
        return
    instrument(
        tracer_provider=NoOpTracerProvider(),
        meter_provider=NoOpMeterProvider(),
        logger_provider=NoOpLoggerProvider(),
        settings=dataclasses.replace(  # this is not that program
            settings, patch_tools=(), patch_sessions=(), control=Control(store=None), admin=None
        ),
    )
    try:
        patcher = OtelToolsInstrumentor().patcher
        assert patcher is not None
        yield patcher
    finally:
        uninstrument()


def _configuration(settings: config.Settings, problems: list[str]) -> dict[str, Any]:
    return {
        "file": None if settings.source is None else str(settings.source),
        "problems": problems,
        "mode": str(settings.mode),
        "tools": sorted(settings.tools),
        "clients": sorted(settings.clients),
        "patched_tools": list(settings.patch_tools),
        "patched_sessions": list(settings.patch_sessions),
        "content": str(settings.capture),
    }


def _switched_off() -> Iterator[str]:
    if checks.disabled_instrumentations(os.environ) & {"otel_tools", "*"}:
        yield "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS switches otel-tools off"


def _missing(report: Report) -> Iterator[str]:
    for library in report.libraries:
        for place in library.places:
            if place.status == "skipped":
                yield f"{library.library} {library.version}: {place.name} is not instrumented: {place.reason}"


def _worth_knowing(report: Report) -> Iterator[str]:
    for export in report.exports:
        if export.mismatch is not None:
            yield f"{export.endpoint} is called with {export.protocol}, but its port is that of {export.mismatch}"
    named = (*report.configuration["patched_tools"], *report.configuration["patched_sessions"])
    for package in sorted({dotted.partition(":")[0].partition(".")[0] for dotted in named} - {"__main__"}):
        if PathFinder.find_spec(package, [str(Path.cwd()), *sys.path]) is None:
            yield f"the configuration names objects of {package}, which is not here; run this where the program runs"
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield "OTEL_SDK_DISABLED is true: nothing is exported"
    if not any(library.status == "instrumented" for library in report.libraries):
        yield "no supported library is installed: only what your code decorates is seen"


# --- telling --------------------------------------------------------------------------------------------------------
def _lines(report: Report, *, verbose: bool) -> Iterator[str]:
    yield f"[bold]otel-tools {report.version}[/], Python {report.python}"
    yield from ("", "[bold]Configuration[/]", *_configuration_lines(report))
    yield from ("", "[bold]Libraries[/]", *_library_lines(report, verbose=verbose))
    yield from ("", "[bold]Other instrumentors[/]", *_instrumentor_lines(report))
    yield from ("", "[bold]Export[/]", *_export_lines(report))
    yield from ("", "[bold]Control[/]", *_control_lines(report), "")
    yield from (_line("note", note) for note in report.notes)
    if report.problems:
        yield f"[red]{len(report.problems)} problem{'s' if len(report.problems) > 1 else ''} found.[/]"
    else:
        yield "[green]Everything that is installed is instrumented.[/]"


def _line(sign: str, text: str) -> str:
    return f"  {_SIGNS[sign]} {_plain(text)}"


def _plain(text: str) -> str:
    """*text* with nothing in it that rich would take for markup."""
    return text.replace("[", r"\[")


def _configuration_lines(report: Report) -> Iterator[str]:
    found = report.configuration
    yield from (_line("fail", problem) for problem in _switched_off())
    if found["problems"]:
        yield _line("fail", "it is wrong, so the defaults apply and nothing is enforced:")
        yield from (f"       {_plain(problem)}" for problem in report.configuration["problems"])
        return
    yield _line("ok", f"mode {found['mode']}, from {found['file'] or 'the defaults: there is no otel-tools.yaml here'}")
    for key, what in _CONFIGURED.items():
        if found[key]:
            yield _line("-", f"{what}: {', '.join(found[key])}")
    if found["content"] != config.Capture.NO_CONTENT:
        yield _line("note", f"content is captured: {found['content']}")


def _library_lines(report: Report, *, verbose: bool) -> Iterator[str]:
    absent = [library.library for library in report.libraries if library.status == "not installed"]
    for library in report.libraries:
        if library.status == "disabled":
            known = library.version is not None
            doubt = "" if known else ", but not installed: is that its name?"
            yield _line("-" if known else "note", f"{library.library} is disabled by the configuration{doubt}")
        elif library.status != "not installed":
            yield _line("ok" if library.status == "instrumented" else "fail", _summary(library))
            for place in library.places:
                if verbose or place.status == "skipped":
                    reason = f": {place.reason}" if place.reason else ""
                    yield f"         {_plain(f'{place.status}  {place.name}{reason}')}"
            for other in library.instrumented_by:
                yield _line("note", f"{library.library} is patched by {other}, too")
    if absent:
        yield _line("-", f"not installed: {', '.join(absent)}")


def _summary(library: checks.LibraryReport) -> str:
    counts = (
        (library.count("patched"), "patched"),
        (library.count("native"), "of its own spans adopted"),
        (library.count("skipped"), "not seen"),
    )
    told = ", ".join(f"{count} {word}" for count, word in counts if count)
    return f"{library.library} {library.version}: {told}"


def _instrumentor_lines(report: Report) -> Iterator[str]:
    for other in report.instrumentors:
        how = "switched on by opentelemetry-instrument" if other.automatic else "installed, switched on in code only"
        yield _line("note" if other.automatic else "-", f"{other.name} {other.version}: {how}")
    if not report.instrumentors:
        yield _line("ok", "none")


def _export_lines(report: Report) -> Iterator[str]:
    for export in report.exports:
        signals = ", ".join(export.signals)
        if export.endpoint is None:
            yield _line("-", f"{signals}: {export.exporter}")
        else:
            state = export.error or "accepts connections"
            yield _line(
                "note" if export.error else "ok", f"{signals} to {export.endpoint} ({export.protocol}): {state}"
            )


def _control_lines(report: Report) -> Iterator[str]:
    found = report.control
    if found is None or found.store is None:
        yield _line("note", "there is no store (control.store: false): operators cannot reach running programs")
    elif found.problem is not None:
        yield _line("fail", found.problem)
    else:
        yield _line("ok", f"operators' overrides of service {found.service}: {found.overrides} in {found.store}")
        count = len(found.processes)
        yield _line(
            "-", f"{count} process{'' if count == 1 else 'es'} reporting: {', '.join(found.processes) or 'none'}"
        )
