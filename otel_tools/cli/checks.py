"""What `otel-tools doctor` looks at: libraries and their patches, other instrumentors, and where telemetry goes."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import logging
import socket
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from otel_tools import coexistence
from otel_tools.finding import library_version, within
from otel_tools.model import Target
from otel_tools.patching import Patcher, Place

_CONNECT = 1.0
"""Seconds that an endpoint may take to accept a connection."""
_CUSTOMARY = {4317: "grpc", 4318: "http"}
_SIGNALS = ("traces", "metrics", "logs")
_FAMILIES = ("openinference-instrumentation", "opentelemetry-instrumentation", "traceloop-sdk", "openlit", "logfire")
"""Beginnings of the names of distributions that instrument LLM libraries, among others."""

LibraryStatus = Literal["instrumented", "incomplete", "disabled", "not installed"]


@dataclass(slots=True)
class PlaceReport:
    """A place that is patched in a library."""

    name: str
    status: str
    reason: str = ""


@dataclass(slots=True)
class LibraryReport:
    """A supported library. `incomplete`: something in it is not seen, so calls may be missing."""

    library: str
    version: str | None
    status: LibraryStatus
    places: list[PlaceReport] = field(default_factory=list)
    instrumented_by: list[str] = field(default_factory=list)

    def count(self, status: str) -> int:
        """How many of its places have this status."""
        return sum(place.status == status for place in self.places)


@dataclass(slots=True)
class InstrumentorReport:
    """Another package that instruments LLM libraries.

    Args:
        automatic: `opentelemetry-instrument` switches it on, beside otel-tools.
    """

    name: str
    version: str
    automatic: bool


@dataclass(slots=True)
class ExportReport:
    """Where signals go.

    Args:
        error: Why nothing accepts a connection there.
        mismatch: The protocol that the port is customary for, if that is another one.
    """

    signals: list[str]
    exporter: str
    endpoint: str | None = None
    protocol: str | None = None
    error: str | None = None
    mismatch: str | None = None


# --- libraries ------------------------------------------------------------------------------------------------------
def libraries(patcher: Patcher, disabled: frozenset[str]) -> list[LibraryReport]:
    """Every supported library, after importing what is installed of it."""
    with _quiet():
        patcher.load_all()
        failures = {module: _import(module) for module in _modules(patcher)}
    by_library: dict[str, list[Place]] = {}
    for place in patcher.places:
        by_library.setdefault(place.adapter.library, []).append(place)
    found = [_library(library, places, failures) for library, places in by_library.items()]
    switched_off = [LibraryReport(name, library_version(name), "disabled") for name in disabled]
    return sorted(found + switched_off, key=lambda report: report.library)


def _modules(patcher: Patcher) -> Iterator[str]:
    """The modules to import, the outer ones first: importing an inner one imports those."""
    for place in patcher.places:
        version = library_version(place.adapter.library)
        if version is not None and within(version, place.target.since, place.target.until):
            yield place.target.module


def _import(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What libraries say when they are imported is not what the user asked for."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _library(library: str, places: Iterable[Place], failures: Mapping[str, str | None]) -> LibraryReport:
    version = library_version(library)
    if version is None:
        return LibraryReport(library, None, "not installed")
    reports = [_place(place, version, failures) for place in places]
    complete = all(report.status not in {"skipped", "waiting"} for report in reports)
    status: LibraryStatus = "instrumented" if complete else "incomplete"
    return LibraryReport(library, version, status, reports, coexistence.active_instrumentors(library))


def _place(place: Place, version: str, failures: Mapping[str, str | None]) -> PlaceReport:
    status, reason = str(place.status), place.reason
    if status == "waiting":
        target = place.target
        optional = not isinstance(target, Target) or target.optional
        if optional or not within(version, target.since, target.until):
            status = "not needed"
        else:
            status, reason = "skipped", f"{target.module} cannot be imported: {failures.get(target.module)}"
    return PlaceReport(place.name, status, reason)


# --- other instrumentors --------------------------------------------------------------------------------------------
def instrumentors(libraries: Iterable[str], environ: Mapping[str, str]) -> list[InstrumentorReport]:
    """Installed packages that instrument the same libraries."""
    switched_off = disabled_instrumentations(environ)
    entry_points = importlib.metadata.entry_points(group="opentelemetry_instrumentor")
    automatic = {_distribution(entry) for entry in entry_points if entry.name not in switched_off}
    words = {library.replace("_", "-") for library in libraries} | {"langchain", "genai", "vertexai", "llm"}
    found = {
        name: InstrumentorReport(name, distribution.version, name in automatic)
        for distribution in importlib.metadata.distributions()
        if _instruments((name := _normal(distribution.metadata["Name"] or "")), words)
    }
    return [found[name] for name in sorted(found)]


def disabled_instrumentations(environ: Mapping[str, str]) -> set[str]:
    """Entry points that `opentelemetry-instrument` is told to leave alone."""
    return {name.strip() for name in environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}


def _instruments(name: str, words: set[str]) -> bool:
    family = next((family for family in _FAMILIES if name.startswith(family)), None)
    if family is None:
        return False
    return not family.endswith("-instrumentation") or any(word in name.removeprefix(family) for word in words)


def _distribution(entry: Any) -> str:
    return _normal(entry.dist.name) if entry.dist is not None else ""


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")


# --- where telemetry goes -------------------------------------------------------------------------------------------
def exports(environ: Mapping[str, str]) -> list[ExportReport]:
    """Where each signal goes, and whether somebody listens there; signals that go the same way are one entry."""
    reports: dict[tuple[str, str | None, str | None], ExportReport] = {}
    for signal in _SIGNALS:
        exporter = environ.get(f"OTEL_{signal.upper()}_EXPORTER") or "otlp"
        endpoint = protocol = None
        if exporter.startswith("otlp"):
            protocol, endpoint = _destination(signal, environ)
        key = (exporter, endpoint, protocol)
        if key in reports:
            reports[key].signals.append(signal)
        else:
            reports[key] = ExportReport([signal], exporter, endpoint, protocol)
            if endpoint is not None:
                reports[key].error = _connect(endpoint)
                reports[key].mismatch = _mismatch(endpoint, protocol)
    return list(reports.values())


def _destination(signal: str, environ: Mapping[str, str]) -> tuple[str, str]:
    def setting(name: str) -> str | None:
        own = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}")
        return own or environ.get(f"OTEL_EXPORTER_OTLP_{name}")

    protocol = setting("PROTOCOL") or "grpc"
    return protocol, setting("ENDPOINT") or f"http://localhost:{4318 if protocol.startswith('http') else 4317}"


def _address(endpoint: str) -> tuple[str, int]:
    url = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


def _connect(endpoint: str) -> str | None:
    """Why nothing accepts a connection at *endpoint*, `None` if something does."""
    try:
        with socket.create_connection(_address(endpoint), timeout=_CONNECT):
            return None
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _mismatch(endpoint: str, protocol: str | None) -> str | None:
    try:
        customary = _CUSTOMARY.get(_address(endpoint)[1])
    except ValueError:
        return None
    return customary if customary is not None and protocol is not None and not protocol.startswith(customary) else None
