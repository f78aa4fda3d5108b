"""What alerts, objectives and links are: frozen values, filled by `defaults` and by a user's `otel-tools.yaml`."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from otel_tools.policy.outcome import FAILED, Outcome
from otel_tools.semconv import Metric

MINUTE, HOUR, DAY = 60, 3600, 86_400

Severity: TypeAlias = Literal["critical", "warning", "info"]
SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "warning", "info")
"""The gravest first. `critical` wakes somebody, `warning` is a ticket, `info` is for reading."""

TOOL_ERRORS: Final = frozenset({*FAILED, Outcome.CIRCUIT_OPEN, Outcome.BULKHEAD_FULL})
"""Outcomes of a tool that count as its errors: it did not deliver."""

TOOL_EVENTS: Final = frozenset({Outcome.OK, *TOOL_ERRORS})
"""Outcomes that say something about the tool. What an operator switched off, a session's limits and the loop guard
refused, and what the caller cancelled or interrupted, says nothing."""

BAD_SESSIONS: Final = frozenset({"max_iterations", "budget_exceeded", "error"})
"""Values of `semconv.SESSION_OUTCOMES` with which a session did not do what it was for."""

SESSION_EVENTS: Final = frozenset({"completed", *BAD_SESSIONS})
"""A session that somebody cancelled was neither good nor bad."""


class Measure(enum.Enum):
    """What of a metric is compared with the threshold."""

    ERROR_RATIO = "errors / all"
    """A counter by `otel_tools.outcome`, or a histogram by `error.type`."""
    P95 = "95th percentile"
    INCREASE = "increase"
    LEVEL = "level"
    """Now; of a circuit, of the series with the alert's *states* that refuse calls."""
    ABSENT = "absent"
    """Of no metric in particular: a service that reported has gone silent."""
    COLLECTOR = "collector"
    """Metrics of the Collector and of the OpenTelemetry SDK about themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert, in one or two severities that share its name.

    Args:
        name: `OtelTools` and what is wrong.
        metric: What is looked at, `None` if it is not one of ours.
        measure: What of it.
        thresholds: Severity -> what is measured must be greater; seconds, USD, calls or a ratio, as the metric's. The
            gravest severity comes first.
        window: Seconds that are looked at; 0: now.
        by: The attributes that it is evaluated for, one by one, besides service and environment.
        minimum: Events in the window below which it does not fire, as a ratio or quantile of so few says nothing. For
            `ABSENT`, the minutes in the window for which a service must have reported.
        for_: Seconds that the condition must hold.
        keep: Seconds for which it goes on firing after that, so that it does not flap.
        states: For `LEVEL`, the values of `otel_tools.circuit_breaker.state` that count.
        component: Whose it is: tool, llm, session, circuit, telemetry or collector.
        dashboard: uid of the dashboard that shows it.
        means: What it says, in a few words.
        summary: What is the matter, a template of Prometheus.
        description: What users feel, and why the alert exists; plain text.
        live: Whether `otel-tools demo` and `watch` evaluate it.
        enabled: Whether it is rendered.
    """

    name: str
    metric: Metric | None
    measure: Measure
    thresholds: Mapping[Severity, float]
    window: int
    by: tuple[str, ...] = ()
    minimum: int = 0
    for_: int = 0
    keep: int = 0
    states: tuple[str, ...] = ()
    component: str
    dashboard: str
    means: str
    summary: str
    description: str
    live: bool = False
    enabled: bool = True

    @property
    def id(self) -> str:
        """How `otel-tools.yaml` and the file of its runbook call it: `tool-error-rate-high`."""
        return slug(self.name)


def slug(alert: str) -> str:
    """The name of an alert without `OtelTools`, in kebab case."""
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z]|$)|[A-Z][a-z]*|\d+", alert.removeprefix("OtelTools"))
    return "-".join(words).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """A service level objective: of the events of a period, this part is good.

    Args:
        id: How `otel-tools.yaml` and the label `slo` call it.
        name: Of its alert; both severities share it.
        metric: Whose events are counted.
        objective: The part that shall be good, between 0 and 1.
        threshold: For a histogram, what an event must not exceed to be good; a bucket boundary. `None` for a counter,
            whose attribute says it.
        period: Days.
        by: The attributes that it holds for, one by one, besides service and environment.
        minimum: Events in the long window of an alert below which it does not fire.
        component: As of `Alert`, as are *dashboard*, *summary*, *description* and *enabled*.
        good: What a good event is, in words, with `{threshold}`.
    """

    id: str
    name: str
    metric: Metric
    objective: float
    threshold: float | None = None
    period: int = 30
    by: tuple[str, ...] = ()
    minimum: int
    component: str
    dashboard: str
    good: str
    summary: str
    description: str
    enabled: bool = True

    @property
    def means(self) -> str:
        """What a good event is, in words."""
        return self.good.format(threshold=self.threshold)

    @property
    def budget(self) -> float:
        """The part of the events that may be bad."""
        return round(1 - self.objective, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class LowTraffic:
    """The way round an alert's *minimum*: what is rarely called and mostly fails must not go unnoticed.

    Args:
        errors: Errors in the window, at least.
        ratio: What of all events they must exceed.
        window: Seconds.
    """

    errors: int = 3
    ratio: float = 0.5
    window: int = HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where things are, without a slash at the end. The defaults are those of `collector-config/compose.yaml`."""

    runbooks: str = "collector-config/runbooks"
    grafana: str = "http://127.0.0.1:3000"
    jaeger: str = "http://127.0.0.1:16686"
    prometheus: str = "http://127.0.0.1:9090"
    alertmanager: str = "http://127.0.0.1:9093"

    def runbook(self, alert: str) -> str:
        """The page of an alert, by its name."""
        return f"{self.runbooks}/{slug(alert)}.md"

    def dashboard(self, uid: str, **variables: str) -> str:
        """A dashboard with its variables set; the values may be templates."""
        query = "&".join(f"var-{name}={value}" for name, value in variables.items())
        return f"{self.grafana}/d/{uid}{'?' if query else ''}{query}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """The one table: what is rendered from it agrees with itself."""

    alerts: tuple[Alert, ...]
    slos: tuple[Slo, ...]
    links: Links = Links()
    low_traffic: LowTraffic = LowTraffic()

    @property
    def alerting(self) -> tuple[Alert | Slo, ...]:
        """All that makes an alert, switched off or not: each has a name, a dashboard and a runbook."""
        return (*self.alerts, *self.slos)

    def alert(self, name: str) -> Alert:
        """The alert of that name or id."""
        return next(alert for alert in self.alerts if name in {alert.name, alert.id})

    def slo(self, name: str) -> Slo:
        """The objective of that id or of that alert's name."""
        return next(slo for slo in self.slos if name in {slo.id, slo.name})
