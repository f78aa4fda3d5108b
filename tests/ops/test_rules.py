"""The rules as text: what is committed, which names they use, and the command that renders them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from otel_tools import semconv
from otel_tools.cli import main
from otel_tools.config import load
from otel_tools.ops import records, translation
from otel_tools.ops.objectives import DEFAULTS, objectives
from otel_tools.ops.rules import render
from tests.ops import promtool

RULES = promtool.ROOT / "collector-config" / "prometheus" / "rules"
RENDERED = render(DEFAULTS)
GROUPS = [group for text in RENDERED.values() for group in yaml.safe_load(text)["groups"]]
EVERY = [rule for group in GROUPS for rule in group["rules"]]

OTHERS = {
    "otel_sdk_processor_span_processed_total": {"error_type"},
    "otel_sdk_processor_log_processed_total": {"error_type"},
    "otelcol_exporter_queue_size": {"exporter"},
    "otelcol_exporter_queue_capacity": {"exporter"},
    "": {"exporter", "receiver", "job", "instance", "signal"},
}
"""Metrics of the SDK and the Collector about themselves, and their labels."""
WORDS = {
    *("sum", "by", "unless", "offset", "resets", "or", "and", "increase", "last_over_time", "sum_over_time", "absent"),
    *(
        "count_over_time",
        "histogram_quantile",
        "clamp_min",
        "ignoring",
        "round",
        "vector",
        "label_replace",
        "count",
        "max",
    ),
}


def test_what_is_committed_is_what_is_rendered():
    """`make ops` was run after the last change; there are no other files."""
    assert {path.name: path.read_text() for path in RULES.glob("*.yaml")} == RENDERED


def _known_names() -> dict[str, set[str]]:
    """Every series of ours, translated, and its labels."""
    resource = {translation.SERVICE_NAME, translation.ENVIRONMENT, translation.JOB, translation.INSTANCE}
    known = {}
    for metric in semconv.METRICS:
        labels = resource | {translation.label(attribute) for attribute in metric.attributes}
        parts = ("bucket", "count", "sum") if metric.kind == "histogram" else ()
        for part in parts:
            known[translation.series(metric, part)] = labels | ({"le"} if part == "bucket" else set())
        if not parts:
            known[translation.name(metric)] = labels
    return known


def _names(expression: str) -> set[str]:
    """The series that an expression names: no strings, durations, words of the language or labels."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    bare = re.sub(r"\b(?:by|ignoring) \([^)]*\)", "", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|offset \w+", " ", bare)
    return set(re.findall(r"[A-Za-z_:][\w:]*", bare)) - WORDS


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.get("record") or rule["alert"])
def test_every_name_exists(rule):
    """Series are metrics of ours after translation, of the SDK or the Collector, or recorded by a rule before."""
    known = _known_names().keys() | OTHERS.keys() | {rule["record"] for rule in EVERY if "record" in rule}
    found = _names(rule["expr"])
    assert found <= known
    assert found or "otelcol_" in rule["expr"] or rule["expr"].startswith("vector(")


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.get("record") or rule["alert"])
def test_every_label_exists(rule):
    """Labels that a rule groups by or matches are attributes of the metrics that it names."""
    known, expression = _known_names(), rule["expr"]
    metrics = _names(expression) & known.keys()
    allowed = set().union(*(known[name] for name in metrics), *OTHERS.values(), {"slo", "__name__", *records.TOOL})
    grouped = re.findall(r"by \(([^)]*)\)", expression)
    matched = re.findall(r"[{,]\s*(\w+)\s*[=!]~?", expression)
    assert {label.strip() for labels in grouped for label in labels.split(",")} | set(matched) <= allowed
    for metric, matchers in re.findall(r"(\w+)\{([^}]*)\}", re.sub(r"\{__name__[^}]*\}", "", expression)):
        if metric in known:
            assert set(re.findall(r"(\w+)\s*[=!]~?\"", matchers)) <= known[metric], metric


def test_values_that_are_matched_exist():
    """Outcomes and states in matchers are values that we write."""
    texts = {
        label: set()
        for label in ("otel_tools_outcome", "otel_tools_session_outcome", "otel_tools_circuit_breaker_state")
    }
    for rule in EVERY:
        for label, found in texts.items():
            for values in re.findall(rf'{label}=~"([^"]*)"', rule["expr"]):
                found |= set(values.split("|"))
    from otel_tools.policy.outcome import Outcome

    assert texts["otel_tools_outcome"] == {"ok", "error", "tool_error", "timeout", "circuit_open", "bulkhead_full"}
    assert texts["otel_tools_outcome"] <= set(Outcome)
    assert texts["otel_tools_session_outcome"] == set(semconv.SESSION_OUTCOMES) - {"cancelled"}
    assert (
        texts["otel_tools_circuit_breaker_state"] == {"open", "half_open", "forced_open"} <= set(semconv.CIRCUIT_STATES)
    )


@pytest.mark.parametrize("rule", [rule for rule in EVERY if "alert" in rule], ids=lambda rule: rule["alert"])
def test_what_every_alert_has(rule):
    """Severity and component; what is the matter, why it matters, what to do and where to look."""
    assert {"severity", "component"} <= rule["labels"].keys() <= {"severity", "component", "slo"}
    assert {"summary", "description", "runbook_url", "dashboard_url"} <= rule["annotations"].keys()
    assert "{{" not in rule["annotations"]["description"]
    assert (promtool.ROOT / rule["annotations"]["runbook_url"]).is_file()


def test_two_severities_share_a_name():
    """So the warning is inhibited while the critical one fires."""
    severities = {}
    for rule in EVERY:
        if "alert" in rule:
            severities.setdefault(rule["alert"], []).append(rule["labels"]["severity"])
    assert set(map(tuple, severities.values())) <= {("critical", "warning"), ("critical",), ("warning",), ("info",)}
    assert list(severities) == [
        alert.name for file in RENDERED for alert in DEFAULTS.alerting if f"alert: {alert.name}\n" in RENDERED[file]
    ]


def test_records_have_the_names_that_others_use():
    """The constants of `records` are what is recorded."""
    recorded = {rule["record"] for rule in EVERY if "record" in rule}
    for value in vars(records).values():
        if isinstance(value, records.Record):
            assert any(name.startswith(value.base) for name in recorded), value
    assert {records.PROCESSES, records.OBJECTIVE, records.BUDGET, records.PERIOD, records.CURRENT_BURN} <= recorded
    assert {records.PERIOD_BURN, records.BUDGET_REMAINING, records.SLI_RATIO.over(30 * 86_400)} <= recorded


def test_a_user_changes_the_rules():
    """Thresholds, windows, minimum, what is off, and links are in the text."""
    settings = load(
        {},
        overrides={
            "alerts": {
                "tool-error-rate-high": {"critical": 0.5, "window": "10m", "minimum": 7},
                "tool-slow": {"enabled": False},
            },
            "slos": {"session-cost": {"enabled": False}, "session-latency": {"period": "7d", "threshold": 25.6}},
            "links": {"runbooks": "https://wiki.example"},
        },
    )
    files = render(objectives(settings))
    tools = files["tools.yaml"]
    assert (
        "tool:otel_tools_tool_errors:ratio_rate10m > 0.5\n            and tool:otel_tools_tool_calls:increase10m >= 7"
        in tools
    )
    assert "ratio_rate5m" not in tools
    assert "OtelToolsToolSlow" not in tools
    assert "tool:gen_ai_execute_tool_duration_seconds:p95_5m" in tools  # dashboards show it all the same
    assert "runbook_url: https://wiki.example/circuit-open.md" in tools
    assert "slo-session-cost.yaml" not in files
    assert 'le="25.6"' in files["slo-session-latency.yaml"]
    assert "/ 0.05 > 3.36" in files["slo-session-latency.yaml"]
    assert "ratio_rate7d" in files["slo-session-latency.yaml"]


# --- the command ------------------------------------------------------------------------------------------------------
@pytest.fixture
def otel_tools(tmp_path, monkeypatch):
    """Runs the command in an empty folder: exit code and output."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(main, arguments)
        return result.exit_code, result.output

    return run


def test_the_command_writes_and_compares(otel_tools):
    """Writing twice changes nothing; `--check` finds what somebody changed, and says what."""
    assert otel_tools("rules", "--out", "rules") == (0, "rules: 8 files, 8 of them changed\n")
    assert otel_tools("rules", "--out", "rules") == (0, "rules: 8 files, 0 of them changed\n")
    assert otel_tools("rules", "--out", "rules", "--check") == (0, "rules: 8 files, as rendered\n")
    assert {path.name: path.read_text() for path in Path("rules").iterdir()} == RENDERED
    path = Path("rules/tools.yaml")
    path.write_text(path.read_text().replace("ratio_rate5m > 0.25", "ratio_rate5m > 0.9"))
    code, output = otel_tools("rules", "--out", "rules", "--check")
    assert code == 1
    assert "-          tool:otel_tools_tool_errors:ratio_rate5m > 0.9\n" in output
    assert output.endswith("Error: rules: 1 of 8 files differ: tools.yaml\n")


def test_the_command_prints(otel_tools):
    """Without a folder the rules go to the terminal or a pipe."""
    code, output = otel_tools("rules")
    assert (code, output.count("groups:")) == (0, 8)
    assert RENDERED["llm.yaml"] in output


def test_the_command_reads_the_file(otel_tools):
    """What `otel-tools.yaml` says is in the rules; what it says wrongly is an error."""
    Path("otel-tools.yaml").write_text("alerts: {llm-error-rate-high: {critical: 0.2}}\n")
    assert "model:gen_ai_client_operation_errors:ratio_rate5m > 0.2\n" in otel_tools("rules")[1]
    Path("otel-tools.yaml").write_text("alerts: {llm-error-rate-high: {warning: 0.2}}\n")
    assert otel_tools("rules") == (1, "Error: alerts.llm-error-rate-high.warning: it has none; it has critical\n")


def test_the_command_says_what_is_missing(otel_tools):
    """There is nothing to compare with without a folder, and a file is none."""
    code, output = otel_tools("rules", "--check")
    assert (code, output.splitlines()[-1]) == (2, "Error: --check needs --out DIR, the folder to look at")
    Path("file").write_text("")
    assert otel_tools("rules", "--out", "file")[0] == 2
    Path("rules").mkdir()
    Path("rules/tools.yaml").mkdir()
    assert otel_tools("rules", "--out", "rules") == (
        1,
        "Error: rules/tools.yaml: cannot be written: Is a directory\n",
    )
