"""`otel-tools doctor`: is everything that is installed instrumented, is the configuration right, does telemetry arrive?

Under `opentelemetry-instrument otel-tools doctor` it looks at what that has set up, other instrumentors included.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import click
from opentelemetry._logs import NoOpLoggerProvider
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider
from rich.console import Console

from otel_tools import config
from otel_tools.cli import checks
from otel_tools.errors import ConfigError
from otel_tools.instrumentor import OtelToolsInstrumentor, instrument, uninstrument
from otel_tools.version import __version__

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
    settings, problem = _settings()
    report = Report(__version__, platform.python_version(), _configuration(settings, problem))
    report.problems += problem.splitlines() if problem else []
    running = OtelToolsInstrumentor().patcher
    if running is None:
        providers = (NoOpTracerProvider(), NoOpMeterProvider(), NoOpLoggerProvider())
        instrument(
            tracer_provider=providers[0], meter_provider=providers[1], logger_provider=providers[2], settings=settings
        )
    try:
        patcher = OtelToolsInstrumentor().patcher
        report.libraries = checks.libraries(patcher, settings.disabled_libraries) if patcher else []
    finally:
        if running is None:
            uninstrument()
    names = [library.library for library in report.libraries]
    report.instrumentors = checks.instrumentors(names, os.environ)
    report.exports = checks.exports(os.environ)
    report.problems += _missing(report)
    report.notes += _worth_knowing(report)
    return report


def _settings() -> tuple[config.Settings, str | None]:
    try:
        return config.load(), None
    except ConfigError as error:
        return config.Settings(), str(error)


def _configuration(settings: config.Settings, problem: str | None) -> dict[str, Any]:
    return {
        "file": None if settings.source is None else str(settings.source),
        "valid": problem is None,
        "mode": str(settings.mode),
        "tools": sorted(settings.tools),
        "clients": sorted(settings.clients),
        "patched_tools": list(settings.patch_tools),
        "patched_sessions": list(settings.patch_sessions),
        "content": str(settings.capture),
    }


def _missing(report: Report) -> Iterator[str]:
    for library in report.libraries:
        for place in library.places:
            if place.status == "skipped":
                yield f"{library.library} {library.version}: {place.name} is not instrumented: {place.reason}"
    if not any(library.status == "instrumented" for library in report.libraries):
        yield "no supported library is installed and instrumented"


def _worth_knowing(report: Report) -> Iterator[str]:
    for export in report.exports:
        if export.error is not None:
            yield f"nothing accepts {', '.join(export.signals)} at {export.endpoint}: {export.error}"
    for other in report.instrumentors:
        if other.automatic:
            yield f"{other.name} {other.version} is switched on as well; its spans are used where it has one for a call"
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield "OTEL_SDK_DISABLED is true: nothing is exported"


# --- telling --------------------------------------------------------------------------------------------------------
def _lines(report: Report, *, verbose: bool) -> Iterator[str]:
    yield f"[bold]otel-tools {report.version}[/], Python {report.python}"
    yield from ("", "[bold]Configuration[/]", *_configuration_lines(report))
    yield from ("", "[bold]Libraries[/]", *_library_lines(report, verbose=verbose))
    yield from ("", "[bold]Other instrumentors[/]", *_instrumentor_lines(report))
    yield from ("", "[bold]Export[/]", *_export_lines(report), "")
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
    if not found["valid"]:
        yield _line("fail", "it is wrong, so the defaults apply and nothing is enforced:")
        yield from (f"       {_plain(problem.strip())}" for problem in report.problems)
        return
    yield _line("ok", found["file"] or "no otel-tools.yaml, so the defaults")
    policies = f"{len(found['tools'])} tools and {len(found['clients'])} clients with a policy of their own"
    yield _line("-", f"mode {found['mode']}, {policies}, content captured: {found['content']}")
    for kind in ("tools", "sessions"):
        if found[f"patched_{kind}"]:
            yield _line("-", f"{kind} by name: {', '.join(found[f'patched_{kind}'])}")


def _library_lines(report: Report, *, verbose: bool) -> Iterator[str]:
    absent = [library.library for library in report.libraries if library.status == "not installed"]
    for library in report.libraries:
        if library.status == "disabled":
            yield _line("-", f"{library.library} is disabled by the configuration")
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
            sign, state = ("ok", "accepts connections") if export.error is None else ("note", export.error)
            yield _line(sign, f"{signals} to {export.endpoint} ({export.protocol}): {state}")
