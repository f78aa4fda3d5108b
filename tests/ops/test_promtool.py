"""The committed rules, checked and tested by Prometheus's own tool."""

from __future__ import annotations

import pytest
import yaml

from otel_tools.ops.model import slug
from otel_tools.ops.objectives import DEFAULTS
from tests.ops import promtool
from tests.ops.rule_cases import CASES

RULES = promtool.ROOT / "collector-config" / "prometheus" / "rules"


def test_the_rules_are_valid():
    """Nothing is wrong with them, and there is nothing that promtool would rather have otherwise."""
    output = promtool.run("check", "rules", "--lint=all", "--lint-fatal", *sorted(RULES.glob("*.yaml")))
    assert output.count("SUCCESS") == len(CASES)


def _firing(alert: str, at: str, severities) -> dict:
    return {
        "expr": f'sum by (severity) (ALERTS{{alertname="{alert}", alertstate="firing"}})',
        "eval_time": at,
        "exp_samples": [{"labels": f'{{severity="{severity}"}}', "value": 1} for severity in severities],
    }


def _recorded(record: str, at: str, value: float | None) -> dict:
    return {
        "expr": f"round(sum({record}), 1 / 1024)",
        "eval_time": at,
        "exp_samples": [{"labels": "{}", "value": value}],
    }


def _series(case) -> list[dict]:
    return [{"series": series, "values": values} for series, values in case.series.items()]


def _test(case) -> dict:
    return {
        "name": f"{case.alert} {case.what}",
        "interval": "1m",
        "input_series": _series(case),
        "promql_expr_test": [
            *(_firing(case.alert, at, severities) for at, severities in case.fires.items()),
            *(_recorded(record, at, value) for (record, at), value in case.records.items()),
        ],
    }


def _run(tmp_path, file, tests, step="1m"):
    path = tmp_path / "test.yaml"
    document = {"rule_files": [str(RULES / file)], "evaluation_interval": step, "tests": tests}
    path.write_text(yaml.safe_dump(document, sort_keys=False, width=10_000))
    assert "SUCCESS" in promtool.run("test", "rules", path)


ALL = [(file, case) for file, cases in CASES.items() for case in cases]


@pytest.mark.parametrize(("file", "case"), ALL, ids=[f"{case.alert} {case.what}" for _, case in ALL])
def test_an_alert(file, case, tmp_path):
    """It fires when it should, and only then."""
    whole_days = any(int(at.removesuffix("m")) > 1000 for at in case.fires)
    _run(tmp_path, file, [_test(case)], "5m" if whole_days else "1m")


# --- what people read -------------------------------------------------------------------------------------------------
GRAFANA, JAEGER = "http://127.0.0.1:3000/d", "http://127.0.0.1:16686/search?service=shop"
SHOP = {"deployment_environment_name": "prod", "service_name": "shop"}
SEARCH = {**SHOP, "gen_ai_tool_name": "search"}
COLLECTOR = {**SHOP, "instance": "a"}
TOOL_TAG = "%7B%22gen_ai.tool.name%22%3A%22search%22"


def _model(name: str) -> dict:
    return {**SHOP, "gen_ai_provider_name": "openai", "gen_ai_request_model": name}


READ = {
    "OtelToolsToolErrorRateHigh": (
        SEARCH,
        "30% of the calls of tool search in shop fail",
        "otel-tools-tool?var-service=shop&var-tool=search",
        f"&tags={TOOL_TAG}%7D",
    ),
    "OtelToolsToolSlow": (
        SEARCH,
        "One in twenty calls of tool search in shop takes longer than 5.06s",
        "otel-tools-tool?var-service=shop&var-tool=search",
        f"&minDuration=5s&tags={TOOL_TAG}%7D",
    ),
    "OtelToolsCircuitOpen": (
        {**SHOP, "otel_tools_circuit_breaker_name": "search"},
        "Calls of search in shop are refused; open circuits: 1",
        "otel-tools-policy?var-service=shop",
        None,
    ),
    "OtelToolsToolAbandonedWork": (
        SEARCH,
        "2 calls of tool search in shop still run after their timeout",
        "otel-tools-tool?var-service=shop&var-tool=search",
        f"&tags={TOOL_TAG}%7D",
    ),
    "OtelToolsToolDisabled": (
        SEARCH,
        "Tool search has been switched off in shop for a day",
        "otel-tools-policy?var-service=shop&var-tool=search",
        f"&tags={TOOL_TAG}%7D",
    ),
    "OtelToolsLLMErrorRateHigh": (
        _model("gpt-5-mini"),
        "10% of the calls of model gpt-5-mini in shop fail",
        "otel-tools-llm?var-service=shop&var-model=gpt-5-mini",
        "&tags=%7B%22gen_ai.request.model%22%3A%22gpt-5-mini%22%7D",
    ),
    "OtelToolsUnpricedTokens": (
        _model("local"),
        "500 tokens of model local in shop have no known price",
        "otel-tools-llm?var-service=shop&var-model=local",
        "&tags=%7B%22gen_ai.request.model%22%3A%22local%22%7D",
    ),
    "OtelToolsSessionCostHigh": (
        SHOP,
        "One in twenty sessions of shop costs more than 0.75 USD",
        "otel-tools-sessions?var-service=shop",
        "",
    ),
    "OtelToolsSessionIterationsHigh": (
        SHOP,
        "One in twenty agent runs of shop needs more than 7.5 LLM calls",
        "otel-tools-sessions?var-service=shop",
        "",
    ),
    "OtelToolsDailyCostHigh": (
        SHOP,
        "shop spent 450.00 USD on LLM calls in the last 24 hours",
        "otel-tools-llm?var-service=shop",
        "",
    ),
    "OtelToolsTelemetryAbsent": ({}, "No telemetry arrives from any program", "otel-tools-telemetry", None),
    "OtelToolsTelemetryDropped": (
        {**SHOP, "signal": "spans"},
        "shop drops spans before sending them",
        "otel-tools-telemetry",
        None,
    ),
    "OtelToolsCollectorRefused": (
        {**COLLECTOR, "receiver": "otlp", "signal": "spans"},
        "The Collector refuses spans at otlp",
        "otel-tools-telemetry",
        None,
    ),
    "OtelToolsCollectorSendFailed": (
        {**COLLECTOR, "exporter": "otlp", "signal": "log records"},
        "The Collector loses log records for otlp",
        "otel-tools-telemetry",
        None,
    ),
    "OtelToolsCollectorQueueFull": (
        {**COLLECTOR, "exporter": "otlp"},
        "The Collector's queue for otlp is 90% full",
        "otel-tools-telemetry",
        None,
    ),
    "OtelToolsSessionCompletionBudgetBurn": (
        {**SHOP, "slo": "session-completion"},
        "Failed sessions of shop use up the error budget 16 times faster than it lasts",
        "otel-tools-sessions?var-service=shop",
        "",
    ),
    "OtelToolsToolAvailabilityBudgetBurn": (
        {**SEARCH, "slo": "tool-availability"},
        "Failed calls of tool search in shop use up the error budget 20 times faster than it lasts",
        "otel-tools-tool?var-service=shop&var-tool=search",
        f"&tags={TOOL_TAG}%7D",
    ),
    "OtelToolsSessionLatencyBudgetBurn": (
        {**SHOP, "slo": "session-latency"},
        "Slow sessions of shop use up the error budget 16 times faster than it lasts",
        "otel-tools-sessions?var-service=shop",
        "&minDuration=15s",
    ),
    "OtelToolsSessionCostBudgetBurn": (
        {**SHOP, "slo": "session-cost"},
        "Expensive sessions of shop use up the error budget 16 times faster than it lasts",
        "otel-tools-sessions?var-service=shop",
        "",
    ),
}
"""Alert -> labels besides severity and component, summary, dashboard and search for traces, as people get them."""


def _first(name: str):
    """The case that shows them, its file, and when."""
    file, case = next(
        (file, case) for file, case in ALL if case.alert == name and any(len(found) for found in case.fires.values())
    )
    if name == "OtelToolsTelemetryAbsent":
        case = next(case for _, case in ALL if case.what == "warns when nothing reports at all")
    if name == "OtelToolsDailyCostHigh":
        case = next(case for _, case in ALL if case.what == "counts a series that began at 0 once")
    return file, case, next(at for at, found in case.fires.items() if found)


def test_every_alert_is_read_once():
    """The table above has all of them."""
    assert set(READ) == {alert.name for alert in DEFAULTS.alerting}


@pytest.mark.parametrize("alert", DEFAULTS.alerting, ids=lambda alert: alert.name)
def test_what_people_read(alert, tmp_path):
    """Labels and annotations, whole, as Alertmanager gets them."""
    labels, summary, dashboard, traces = READ[alert.name]
    file, case, at = _first(alert.name)
    annotations = {
        "summary": summary,
        "description": alert.description,
        "runbook_url": f"collector-config/runbooks/{slug(alert.name)}.md",
        "dashboard_url": f"{GRAFANA}/{dashboard}",
    }
    if traces is not None:
        annotations["traces_url"] = JAEGER + traces
    alerts = [
        {
            "exp_labels": {**labels, "severity": severity, "component": alert.component},
            "exp_annotations": annotations,
        }
        for severity in case.fires[at]
    ]
    rule_test = [{"eval_time": at, "alertname": alert.name, "exp_alerts": alerts}]
    tests = [{"interval": "1m", "input_series": _series(case), "alert_rule_test": rule_test}]
    _run(tmp_path, file, tests, "5m" if alert.name == "OtelToolsToolDisabled" else "1m")
