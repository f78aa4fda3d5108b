"""The table of alerts and objectives, and what a user may change in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from otel_tools import semconv
from otel_tools.config import load
from otel_tools.errors import ConfigError
from otel_tools.ops import burn
from otel_tools.ops.model import DAY, HOUR, MINUTE, Links, Measure, slug
from otel_tools.ops.objectives import DEFAULTS, objectives


def given(**settings):
    """The table with these settings."""
    return objectives(load({}, overrides=settings))


def test_what_the_mission_demands():
    """Thresholds, windows and what they are evaluated for."""
    table = {alert.id: (dict(alert.thresholds), alert.window, alert.by) for alert in DEFAULTS.alerts}
    model = (semconv.PROVIDER_NAME, semconv.REQUEST_MODEL)
    assert {name: table[name] for name in list(table)[:7]} == {
        "tool-error-rate-high": ({"critical": 0.25, "warning": 0.10}, 5 * MINUTE, (semconv.TOOL_NAME,)),
        "tool-slow": ({"warning": 5.0}, 5 * MINUTE, (semconv.TOOL_NAME,)),
        "circuit-open": ({"critical": 0}, 0, (semconv.CIRCUIT_NAME,)),
        "llm-error-rate-high": ({"critical": 0.05}, 5 * MINUTE, model),
        "session-cost-high": ({"warning": 0.50}, HOUR, ()),
        "daily-cost-high": ({"critical": 500.0, "warning": 400.0}, DAY, ()),
        "session-iterations-high": ({"warning": 7.0}, HOUR, ()),
    }
    assert {slo.id: (slo.objective, slo.threshold, slo.period) for slo in DEFAULTS.slos} == {
        "session-completion": (0.95, None, 30),
        "tool-availability": (0.995, None, 30),
        "session-latency": (0.95, 15.0, 30),
        "session-cost": (0.95, 0.10, 30),
    }


def test_every_threshold_is_a_bucket_boundary():
    """Between boundaries a quantile is a guess, and there must be one above."""
    compared = [
        (alert.metric, threshold)
        for alert in DEFAULTS.alerts
        if alert.measure is Measure.P95
        for threshold in alert.thresholds.values()
    ] + [(slo.metric, slo.threshold) for slo in DEFAULTS.slos if slo.threshold is not None]
    assert len(compared) == 5
    for metric, threshold in compared:
        assert threshold in metric.boundaries[:-1], metric.name


def test_names_and_ids():
    """An alert's name, its id and the file of its runbook are one."""
    assert [slug(name) for name in ("OtelToolsLLMErrorRateHigh", "OtelToolsToolSlow")] == [
        "llm-error-rate-high",
        "tool-slow",
    ]
    names = [alert.name for alert in DEFAULTS.alerting]
    assert len({slug(name) for name in names}) == len(names) == 19
    assert DEFAULTS.alert("tool-slow") is DEFAULTS.alert("OtelToolsToolSlow")
    assert DEFAULTS.slo("session-cost") is DEFAULTS.slo("OtelToolsSessionCostBudgetBurn")


def test_burn_rates():
    """Those of the SRE workbook for 30 days; a shorter period is used up faster."""
    assert [(window.severity, window.factor(30)) for window in burn.WINDOWS] == [
        ("critical", 14.4),
        ("critical", 6),
        ("warning", 3),
        ("warning", 1),
    ]
    assert burn.highest(7) == 3.36
    assert burn.RATIOS == (300, 1800, 3600, 7200, 21_600, 86_400, 259_200)


def test_what_a_user_may_change():
    """Everything else stays as it is."""
    changed = given(
        alerts={
            "tool-slow": {"warning": 10.24, "window": "10m", "for": 0, "minimum": 3},
            "daily-cost-high": {"critical": 100, "warning": 50},
            "circuit-open": {"enabled": False},
        },
        slos={"session-latency": {"objective": 0.99, "threshold": 25.6, "period": "28d", "minimum": 5}},
        links={"grafana": "https://grafana.example/", "runbooks": "https://wiki.example/runbooks"},
    )
    slow, cost, circuit = (changed.alert(name) for name in ("tool-slow", "daily-cost-high", "circuit-open"))
    assert (dict(slow.thresholds), slow.window, slow.for_, slow.minimum) == ({"warning": 10.24}, 600, 0, 3)
    assert dict(cost.thresholds) == {"critical": 100, "warning": 50}
    assert (circuit.enabled, slow.enabled) == (False, True)
    latency = changed.slo("session-latency")
    assert (latency.objective, latency.threshold, latency.period, latency.minimum) == (0.99, 25.6, 28, 5)
    assert (latency.budget, latency.means) == (0.01, "sessions that were not cancelled and took at most 25.6 s")
    assert changed.links == Links(grafana="https://grafana.example", runbooks="https://wiki.example/runbooks")
    untouched = {"tool-slow", "daily-cost-high", "circuit-open"}
    for before, after in zip(DEFAULTS.alerts, changed.alerts, strict=True):
        assert (before == after) is (before.id not in untouched)
    assert objectives(load({})) == objectives() == DEFAULTS


ALERTS = ", ".join(alert.id for alert in DEFAULTS.alerts)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"alerts": {"tool-fast": {}}}, f"alerts.tool-fast: there is none of that name; known: {ALERTS}"),
        (
            {"slos": {"x": {}}},
            (
                "slos.x: there is none of that name; known: session-completion, tool-availability, session-latency,"
                " session-cost"
            ),
        ),
        ({"alerts": {"tool-slow": {"critical": 10.24}}}, "alerts.tool-slow.critical: it has none; it has warning"),
        (
            {"alerts": {"session-cost-high": {"warning": 0.6}}},
            (
                "alerts.session-cost-high.warning: 0.6 is no bucket boundary of otel_tools.session.cost below its"
                " highest, so nobody could tell what is above it; take one of 0.0005, 0.001, 0.0025, 0.005, 0.01,"
                " 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5"
            ),
        ),
        (
            {"alerts": {"tool-error-rate-high": {"critical": 30}}},
            "alerts.tool-error-rate-high.critical: is a part of all calls, below 1: 0.1 is 10 %, not 30",
        ),
        (
            {"alerts": {"daily-cost-high": {"critical": 100}}},
            "alerts.daily-cost-high: the threshold for critical (100) must not be below that for warning (400)",
        ),
        (
            {"alerts": {"circuit-open": {"window": "5m"}}},
            "alerts.circuit-open.window: it has none: it looks at the present",
        ),
        ({"alerts": {"circuit-open": {"minimum": 5}}}, "alerts.circuit-open.minimum: it has none: one event is enough"),
        (
            {"alerts": {"telemetry-absent": {"critical": 5}}},
            "alerts.telemetry-absent: it has no threshold: telemetry is there or not",
        ),
        (
            {"slos": {"session-completion": {"objective": 0.9}}},
            (
                "slos.session-completion.objective: 0.9 allows 0.1 of all to be bad, and 14.4 times that, its gravest"
                " alert, cannot happen; take an objective above 0.9306"
            ),
        ),
        (
            {"slos": {"tool-availability": {"threshold": 3}}},
            "slos.tool-availability.threshold: it has none: calls and sessions are good or bad by how they end",
        ),
        (
            {"alerts": {"a": {}, "b": {}}},
            (
                f"2 settings of alerts are wrong:\n  alerts.a: there is none of that name; known: {ALERTS}\n"
                f"  alerts.b: there is none of that name; known: {ALERTS}"
            ),
        ),
    ],
)
def test_what_makes_no_sense(settings, problem):
    """One clear message, with the key and what is possible."""
    with pytest.raises(ConfigError) as error:
        given(**settings)
    assert str(error.value) == problem


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            {"alerts": {"tool-slow": {"window": "90s"}}},
            "alerts.tool-slow.window: must be whole minutes, hours or days such as 5m, 1h or 1d, not '90s'",
        ),
        (
            {"alerts": {"tool-slow": {"for": -1}}},
            "alerts.tool-slow.for: must be whole minutes, hours or days such as 2m, 1h or 1d, or 0, not -1",
        ),
        (
            {"slos": {"session-cost": {"period": "3d"}}},
            "slos.session-cost.period: must be days from 7d to 90d, not '3d'",
        ),
        (
            {"slos": {"session-cost": {"objective": 1}}},
            "slos.session-cost.objective: must be a number between 0 and 1, both excluded, not 1",
        ),
        (
            {"links": {"grafana": "http://x {{ y }}"}},
            "links.grafana: must be a URL, or a path below which the pages are, not 'http://x {{ y }}'",
        ),
    ],
)
def test_what_is_no_such_value(settings, problem):
    """Types are checked where all settings are, so that a program's start tells it, too."""
    with pytest.raises(ConfigError, match=r".") as error:
        load({}, overrides=settings)
    assert str(error.value) == f"settings given in code: {problem}"


def test_an_instrumented_program_imports_none_of_it():
    """The table is for operations: a program that reads its settings does not need it."""
    program = (
        "import sys; from otel_tools.config import load; import otel_tools.auto\n"
        "load({}, overrides={'alerts': {'anything': {'enabled': False}}})\n"
        "print([name for name in sys.modules if name.startswith('otel_tools.ops')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
