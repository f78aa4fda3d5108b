"""The alerts, evaluated on metrics."""

from __future__ import annotations

import pytest

from otel_tools import semconv as names
from otel_tools.cli.alerts import ALERTS, WINDOWS, AlertLog, evaluate
from otel_tools.cli.state import State
from otel_tools.ops.model import Measure
from tests.cli import messages as make


@pytest.fixture
def clock():
    """A clock at `T0 + 10`."""
    return make.Clock()


@pytest.fixture
def state(clock):
    """A state that keeps what the alerts look at."""
    return State(WINDOWS, clock=clock)


def _firing(state):
    return [
        (fire.alert.name.removeprefix("OtelTools"), fire.alert.severity, fire.subject, round(fire.value, 6))
        for fire in evaluate(state)
    ]


def _calls(**outcomes):
    labels = {names.TOOL_NAME: "search", names.DEGRADED: False}
    return make.metrics(
        *(make.number(names.TOOL_CALLS, count, {**labels, names.OUTCOME: name}) for name, count in outcomes.items())
    )


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({"ok": 9, "error": 1}, []),
        ({"ok": 8, "error": 1, "timeout": 1}, [("ToolErrorRateHigh", "warning", "search", 0.2)]),
        ({"ok": 5, "circuit_open": 5}, [("ToolErrorRateHigh", "critical", "search", 0.5)]),
        ({"ok": 5, "disabled": 5}, []),
        ({"ok": 0, "error": 0}, []),
    ],
)
def test_the_error_rate_of_a_tool(state, outcomes, expected):
    """Above 10 % it warns, above 25 % it is critical; refusals by the circuit count, those of an operator do not."""
    state.add(_calls(**outcomes))
    assert _firing(state) == expected


def test_an_error_rate_is_that_of_the_last_five_minutes(state, clock):
    """Old errors are forgotten."""
    state.add(_calls(ok=1, error=9))
    clock.now += 400
    state.add(_calls(ok=101, error=9))
    assert _firing(state) == []


def _recorded(metric, values, **labels):
    return make.metrics(make.histogram(metric, values, labels))


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        (names.TOOL_DURATION, [4.9] * 10, []),
        (names.TOOL_DURATION, [6.0] * 10, [("ToolSlow", "warning", "", 9.984)]),
        (names.SESSION_COST_USD, [0.4] * 20, []),
        (names.SESSION_COST_USD, [0.7] * 20, [("SessionCostHigh", "warning", "", 0.975)]),
        (names.AGENT_INFERENCE_CALLS, [7] * 20, []),
        (names.AGENT_INFERENCE_CALLS, [7] * 9 + [8], [("SessionIterationsHigh", "warning", "", 7.5)]),
    ],
)
def test_quantiles(state, metric, values, expected):
    """At the threshold nothing fires, above it does: the thresholds are bucket boundaries."""
    state.add(_recorded(metric, values))
    assert _firing(state) == expected


def test_the_error_rate_of_an_llm(state):
    """By model, from the durations that carry an `error.type`."""
    failed = {names.REQUEST_MODEL: "gpt-5-mini", names.ERROR_TYPE: "openai.RateLimitError"}
    state.add(
        make.metrics(
            make.histogram(names.CLIENT_DURATION, [0.5] * 9, {names.REQUEST_MODEL: "gpt-5-mini"}),
            make.histogram(names.CLIENT_DURATION, [0.5], failed),
            make.histogram(names.CLIENT_DURATION, [0.5] * 9, {names.REQUEST_MODEL: "claude"}),
        )
    )
    assert _firing(state) == [("LLMErrorRateHigh", "critical", "gpt-5-mini", 0.1)]


def test_the_cost_of_a_day(state):
    """Over all models and processes together."""
    for model, usd in (("gpt", 300.0), ("claude", 250.0)):
        labels = {names.PROVIDER_NAME: "x", names.REQUEST_MODEL: model}
        state.add(make.metrics(make.number(names.CLIENT_COST, usd, labels), instance=model))
    assert _firing(state) == [("DailyCostHigh", "critical", "", 550.0)]


@pytest.mark.parametrize(
    ("current", "fires"), [("closed", False), ("open", True), ("half_open", True), ("forced_open", True)]
)
def test_an_open_circuit(state, current, fires):
    """It counts as open until the probe has closed it."""
    for name in names.CIRCUIT_STATES:
        labels = {names.CIRCUIT_NAME: "search", names.CIRCUIT_STATE: name}
        state.add(make.metrics(make.number(names.CIRCUIT, float(name == current), labels)))
    assert _firing(state) == ([("CircuitOpen", "critical", "search", 1)] if fires else [])


def test_every_threshold_of_a_quantile_is_a_bucket_boundary():
    """Between boundaries a quantile is a guess, and the alert would be, too."""
    for alert in ALERTS:
        if alert.measure is Measure.P95:
            assert alert.threshold in alert.metric.boundaries, alert.name


def test_the_graver_severity_comes_first():
    """`evaluate` takes the first that fires."""
    by_name = {}
    for alert in ALERTS:
        by_name.setdefault(alert.name, []).append(alert.threshold)
    assert all(thresholds == sorted(thresholds, reverse=True) for thresholds in by_name.values())


def test_the_log_remembers_what_fired(state, clock):
    """An alert that is over is still there, with the value it had last."""
    log = AlertLog()
    state.add(_calls(ok=1, error=9))
    log.update(state)
    assert log.firing == {("OtelToolsToolErrorRateHigh", "search")}
    clock.now += 400
    log.update(state)
    assert log.firing == set()
    assert log.last["OtelToolsToolErrorRateHigh", "search"].value == 0.9
