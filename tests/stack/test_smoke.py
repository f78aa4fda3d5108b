"""One signal of each kind, through the Collector, found again in the real servers."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request

import pytest
from stack import Stack

from tests.stack.program import program
from tests.stack.servers import Webhook, eventually, get


@pytest.mark.parametrize("http", [False, True], ids=["grpc", "http"])
def test_a_trace_arrives_in_jaeger(stack: Stack, http: bool):
    """What is sent over either protocol of OTLP is what Jaeger's query API gives back."""
    with program(stack, f"traced-{http}", http=http) as agent:
        trace_id = agent.span("invoke_agent planner", {"gen_ai.agent.name": "planner"})
    answer = eventually(lambda: get(f"{stack.jaeger}/api/traces/{trace_id}"))
    [span] = answer["data"][0]["spans"]
    assert (span["operationName"], {tag["key"]: tag["value"] for tag in span["tags"]}["gen_ai.agent.name"]) == (
        "invoke_agent planner",
        "planner",
    )


def test_a_metric_arrives_in_prometheus_with_its_exemplar(stack: Stack):
    """A histogram has the translated name, the promoted resource labels, and an exemplar whose trace Jaeger has."""
    with program(stack, "measured") as agent:
        durations = agent.meter.create_histogram("gen_ai.execute_tool.duration", unit="s")
        with agent.tracer.start_as_current_span("execute_tool search") as span:
            durations.record(0.2, {"gen_ai.tool.name": "search"})
    name = "gen_ai_execute_tool_duration_seconds_count"
    query = urllib.parse.urlencode({"query": name + '{service_name="measured"}'})
    [series] = eventually(lambda: get(f"{stack.prometheus}/api/v1/query?{query}")["data"]["result"])
    labels = {key: value for key, value in series["metric"].items() if key != "service_version"}
    assert (labels, series["value"][1]) == (
        {
            "__name__": name,
            "gen_ai_tool_name": "search",
            "instance": "one",
            "job": "measured",
            "service_instance_id": "one",
            "service_name": "measured",
        },
        "1",
    )
    asked = urllib.parse.urlencode(
        {"query": name.replace("count", "bucket") + '{service_name="measured"}', "start": "0", "end": "99999999999"}
    )
    [exemplar] = eventually(lambda: get(f"{stack.prometheus}/api/v1/query_exemplars?{asked}")["data"])
    trace_id = exemplar["exemplars"][0]["labels"]["trace_id"]
    assert trace_id == f"{span.get_span_context().trace_id:032x}"
    assert eventually(lambda: get(f"{stack.jaeger}/api/traces/{trace_id}"))


def test_a_log_record_arrives_in_the_file(stack: Stack):
    """A log record is in the log file, as OTLP JSON."""
    with program(stack, "logged") as agent:
        agent.log("a tool was called", {"gen_ai.tool.name": "search"})
    lines = eventually(lambda: [line for line in _lines(stack) if '"logged"' in line])
    [resource] = json.loads(lines[0])["resourceLogs"]
    [record] = resource["scopeLogs"][0]["logRecords"]
    assert (record["body"], record["attributes"]) == (
        {"stringValue": "a tool was called"},
        [{"key": "gen_ai.tool.name", "value": {"stringValue": "search"}}],
    )


def _lines(stack: Stack) -> list[str]:
    return stack.log_file.read_text().splitlines() if stack.log_file.exists() else []


@pytest.mark.parametrize("service", ["otelcol", "jaeger", "prometheus", "alertmanager"])
def test_the_servers_report_about_themselves(stack: Stack, service: str):
    """Collector, Jaeger, Prometheus and Alertmanager have metrics of their own in Prometheus."""
    query = urllib.parse.urlencode({"query": f'count({{service_name="{service}"}})'})
    assert eventually(lambda: get(f"{stack.prometheus}/api/v1/query?{query}")["data"]["result"])


def test_prometheus_knows_alertmanager(stack: Stack):
    """Alerts have somewhere to go."""
    answer = eventually(
        lambda: get(f"{stack.prometheus}/api/v1/alertmanagers")["data"]["activeAlertmanagers"],
    )
    assert answer == [{"url": f"{stack.alertmanager}/api/v2/alerts"}]


def test_a_page_arrives_at_the_webhook_and_silences_its_ticket(stack: Stack, webhook: Webhook):
    """Of an alert in both severities, the critical one is posted to the address in the file, the other is silent."""
    labels = {"alertname": "OtelToolsToolErrorRateHigh", "service_name": "s", "gen_ai_tool_name": "search"}
    alerts = [{"labels": {**labels, "severity": severity}} for severity in ("critical", "warning")]
    body, headers = json.dumps(alerts).encode(), {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{stack.alertmanager}/api/v2/alerts", body, headers)).close()
    [notification] = eventually(lambda: list(webhook.notifications))
    assert [(it["labels"]["severity"], notification["receiver"]) for it in notification["alerts"]] == [
        ("critical", "pager")
    ]
    states = {it["labels"]["severity"]: it["status"]["state"] for it in get(f"{stack.alertmanager}/api/v2/alerts")}
    assert states == {"critical": "active", "warning": "suppressed"}
