"""The demo's agent, found again in the real servers: its traces, its metrics, its alert, and the way between them."""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
import yaml
from stack import Stack
from stack_build import HERE

from otel_tools.demo.program import SERVICE_NAME
from otel_tools.demo.script import SEARCH
from otel_tools.ops import dashboards
from tests.e2e.conftest import ALERT, Observed
from tests.stack.servers import eventually, get

PATIENCE = 90
"""Seconds: Prometheus asks itself and Alertmanager every 15 s, and a rate needs two samples."""
EMPTY_RECORDS = {
    "model:otel_tools_client_unpriced:increase1h": "every token of the demo has a price",
}
"""Records without a series, and why that is right."""
EMPTY_PANELS: dict[str, str] = {}
"""The same for queries of panels that do not say so themselves, by title."""


def query(stack: Stack, expr: str) -> list[Any]:
    """The result of an instant query."""
    asked = urllib.parse.urlencode({"query": expr})
    answer = get(f"{stack.prometheus}/api/v1/query?{asked}")
    assert answer is not None, f"Prometheus does not take {expr}"
    result: list[Any] = answer["data"]["result"]
    return result


def _rules(folder: Path) -> list[tuple[str, str]]:
    return [
        (rule.get("record") or f"{rule['alert']} {rule['labels']['severity']}", rule["expr"])
        for path in sorted(folder.glob("*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def test_the_rules_are_the_shipped_ones(observed: Observed):
    """Every record and alert has the expression of the committed files; only intervals, a `for` and links differ."""
    rules = _rules(observed.rules)
    assert rules == _rules(HERE / "prometheus" / "rules")
    print(f"\n{len(rules)} rules: expressions as shipped; every 2 s instead of 15 s, 1 m or 4 m; no `for` of {ALERT};")
    print("the Collector tells of itself every 0.5 s and the agent of its metrics every 0.4 s, not every 15 s")


def test_jaeger_has_the_trace_of_a_session(observed: Observed):
    """A session's trace: invoke_agent at the root, chat and execute_tool below it."""
    found = eventually(lambda: get(f"{observed.stack.jaeger}/api/traces?service={SERVICE_NAME}&limit=100")["data"])
    spans = max((trace["spans"] for trace in found), key=len)
    names = {span["spanID"]: span["operationName"] for span in spans}
    parents = {
        (span["operationName"].split()[0], names.get(reference["spanID"], "missing").split()[0])
        for span in spans
        for reference in span["references"]
    }
    roots = [span["operationName"].split()[0] for span in spans if not span["references"]]
    print(f"\ntrace {spans[0]['traceID']}: {len(spans)} spans, root {roots}, child of: {sorted(parents)}")
    assert (roots, parents) == (["invoke_agent"], {("chat", "invoke_agent"), ("execute_tool", "invoke_agent")})


def test_every_record_has_data(observed: Observed):
    """Every recording rule gave a series, or is listed with the reason why it has none."""
    records = sorted({name for name, _ in _rules(observed.rules) if ":" in name})
    missing = _missing(observed.stack, {record: record for record in records}, EMPTY_RECORDS)
    print(f"\n{len(records)} records, {len(records) - len(missing)} with data; rightly empty:")
    print("".join(f"  {record}: {EMPTY_RECORDS[record]}\n" for record in missing if record in EMPTY_RECORDS))
    assert missing <= EMPTY_RECORDS.keys()


def test_every_panel_has_data(observed: Observed):
    """Every query of every dashboard gave data, or its panel says why there may rightly be none."""
    asked: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for name, dashboard in dashboards.render(observed.objectives).items():
        quiet = {**dashboards.quiet(dashboard), **EMPTY_PANELS}
        for number, (title, expr) in enumerate(dashboards.queries(dashboard, __rate_interval="1m")):
            key = f"{name.removesuffix('.json')}: {title} ({number})"
            asked[key] = expr
            if title in quiet:
                reasons[key] = quiet[title]
    missing = _missing(observed.stack, asked, reasons)
    print(f"\n{len(asked)} queries of panels, {len(asked) - len(missing)} with data; rightly empty:")
    print("".join(f"  {key}: {reasons[key]}\n" for key in sorted(missing) if key in reasons))
    assert {key: asked[key] for key in missing if key not in reasons} == {}


def _missing(stack: Stack, asked: dict[str, str], reasons: dict[str, str]) -> set[str]:
    """What has no data, after what must have some has had its time."""
    seen: set[str] = set()

    def all_there() -> bool:
        seen.update(key for key, expr in asked.items() if key not in seen and query(stack, expr))
        return asked.keys() - seen <= reasons.keys()

    try:
        eventually(all_there, PATIENCE)
    except AssertionError:
        print("\nwithout data:", *sorted(asked.keys() - seen - reasons.keys()), sep="\n  ")
    return asked.keys() - seen


def test_the_alert_arrives_with_its_links(observed: Observed):
    """The search fails: Prometheus has the alert firing, and the webhook got it with its runbook and dashboard."""
    firing = query(observed.stack, f'ALERTS{{alertname="{ALERT}", alertstate="firing", gen_ai_tool_name="{SEARCH}"}}')
    [alert] = [it for it in observed.notification["alerts"] if it["labels"]["gen_ai_tool_name"] == SEARCH]
    links = {key: it for key, it in alert["annotations"].items() if key.endswith("_url")}
    print(f"\n{ALERT} at the webhook {observed.after:.0f} s after the search failed for good")
    print(json.dumps({"summary": alert["annotations"]["summary"], **links}, indent=2))
    assert {it["metric"]["severity"] for it in firing} == {"critical", "warning"}
    assert (alert["labels"]["severity"], alert["status"]) == ("critical", "firing")
    assert links["runbook_url"] == "https://wiki.example/runbooks/tool-error-rate-high.md"
    assert links["dashboard_url"].startswith("https://grafana.example/d/otel-tools-tool")
    assert f"var-tool={SEARCH}" in links["dashboard_url"]


@pytest.mark.parametrize("metric", ["gen_ai_execute_tool_duration_seconds_bucket"])
def test_an_exemplar_leads_to_a_trace(observed: Observed, metric: str):
    """Each exemplar of tool latency names a trace that Jaeger has, with the span of the tool in it."""
    asked = urllib.parse.urlencode(
        {"query": f'{metric}{{service_name="{SERVICE_NAME}"}}', "start": "0", "end": "99999999999"}
    )
    found = eventually(lambda: get(f"{observed.stack.prometheus}/api/v1/query_exemplars?{asked}")["data"])
    ids = {
        (series["seriesLabels"]["gen_ai_tool_name"], it["labels"]["trace_id"], it["labels"]["span_id"])
        for series in found
        for it in series["exemplars"]
    }
    led = {_span(observed.stack, trace_id, span_id) == f"execute_tool {tool}" for tool, trace_id, span_id in ids}
    tool, trace_id, _ = max(ids)
    print(f"\n{len(ids)} exemplars of {metric}, all in Jaeger; one of {tool} leads to trace {trace_id}")
    assert led == {True}


def _span(stack: Stack, trace_id: str, span_id: str) -> str:
    """The name of a span, as Jaeger has it."""
    [trace] = eventually(lambda: get(f"{stack.jaeger}/api/traces/{trace_id}"))["data"]
    return next(str(span["operationName"]) for span in trace["spans"] if span["spanID"] == span_id)
