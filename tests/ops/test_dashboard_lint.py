"""The rules of Grafana's dashboard-linter (0.2.0), written anew: it cannot be installed (`replace` in its go.mod).

They look at every kind of panel, not only at those that the linter looks at.
"""

from __future__ import annotations

import re

import promql_parser
import pytest
from grafana_foundation_sdk.models import units

from otel_tools.ops import dashboards
from otel_tools.ops.objectives import DEFAULTS
from tests.ops import promql

ALL = list(dashboards.render(DEFAULTS).values())
each = pytest.mark.parametrize("dashboard", ALL, ids=lambda dashboard: dashboard["uid"])

_SOURCES = [
    ("prometheus_datasource", "Prometheus data source", "prometheus"),
    ("jaeger_datasource", "Jaeger data source", "jaeger"),
]
EXCLUDED = {
    "template-job-rule": "metrics are pushed over OTLP: `job` is service.namespace/service.name, and people choose by"
    " service and environment",
    "template-instance-rule": "`instance` is service.instance.id, new with each start of a process: nobody knows it",
    "target-job-rule": "see template-job-rule; queries are matched by service and environment instead, which"
    " test_dashboards holds",
    "target-instance-rule": "see template-instance-rule",
    "target-logql-rule": "no panel asks Loki",
    "target-logql-auto-rule": "no panel asks Loki",
}
"""A rule that is not kept -> why."""
RANGES = {
    "5m": "what is lost within five minutes is what the alerts of the Collector look at",
    "1h": "money an hour is said in the title, whatever the time shown",
}
"""Fixed windows of `increase()` -> why; the linter has nothing against them, we want a reason."""
FREE_UNITS = {"suffix:x"}
_UNITS = {
    value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")
} | FREE_UNITS


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def calls(dashboard):
    """Function and range of every range in a query, with the panel's title."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            expr = dashboards.filled(target["expr"], __rate_interval="1y1d", __range="1y2d")
            for node, parents in promql.nodes(promql_parser.parse(expr)):
                if isinstance(node, promql_parser.MatrixSelector):
                    yield panel["title"], parents[-1].func.name, node


@each
def test_template_datasource_rule(dashboard):
    """Data sources are variables, named after their kind."""
    found = [
        (it["name"], it["label"], it["query"]) for it in dashboard["templating"]["list"] if it["type"] == "datasource"
    ]
    assert found in (_SOURCES, _SOURCES[:1])


@each
def test_template_label_promql_rule(dashboard):
    """Variables ask with PromQL that can be read."""
    for it in dashboard["templating"]["list"]:
        if it["type"] == "query":
            (selector,) = re.fullmatch(r"label_values\((.*), \w+\)", it["query"]["query"]).groups()
            promql_parser.parse(dashboards.filled(selector))


@each
def test_template_on_time_change_reload_rule(dashboard):
    """Values of variables are looked up again when the time shown changes."""
    assert {it["refresh"] for it in dashboard["templating"]["list"] if it["type"] == "query"} == {2}


@each
def test_variables_take_several_values(dashboard):
    """All by default, matched as an expression (not a rule of the linter)."""
    for it in dashboard["templating"]["list"]:
        if it["type"] == "query":
            assert (it["multi"], it["includeAll"], it["allValue"]) == (True, True, ".*")
            for _, expr in dashboards.queries(dashboard, **{it["name"]: "CHOSEN"}):
                assert not re.search(r'="CHOSEN"', expr)


@each
def test_panel_datasource_rule(dashboard):
    """Panels, queries, variables and annotations use the variable."""
    chosen = {"type": "prometheus", "uid": "${prometheus_datasource}"}
    asked = [*panels(dashboard), *dashboard["annotations"]["list"]]
    asked += [target for panel in panels(dashboard) for target in panel["targets"]]
    asked += [it for it in dashboard["templating"]["list"] if it["type"] == "query"]
    assert all(it["datasource"] == chosen for it in asked)


@each
def test_panel_title_description_rule(dashboard):
    """Every panel says what it is and what it means; headings have a title."""
    assert all(panel["title"].strip() for panel in dashboard["panels"])
    assert [
        panel["title"]
        for panel in panels(dashboard)
        if len(panel["description"]) < 20 and panel["description"][-1:] != "."
    ] == []


@each
def test_panel_units_rule(dashboard):
    """Every panel and every column has a unit that Grafana knows."""
    for panel in panels(dashboard):
        defaults = panel["fieldConfig"]["defaults"]
        found = {panel["options"]["yAxis"]["unit"]} if panel["type"] == "heatmap" else {defaults["unit"]}
        found |= {
            it["value"] for one in panel["fieldConfig"]["overrides"] for it in one["properties"] if it["id"] == "unit"
        }
        assert found <= _UNITS, panel["title"]


@each
def test_panel_no_targets_rule(dashboard):
    """Every panel asks something."""
    assert [panel["title"] for panel in panels(dashboard) if not panel["targets"]] == []


@each
def test_target_promql_rule(dashboard):
    """Every query can be read."""
    for _, expr in dashboards.queries(dashboard):
        promql_parser.parse(expr)


@each
def test_target_rate_interval_rule(dashboard):
    """`rate()` looks at `$__rate_interval`; `increase()` at that, at what is shown, or at a window with a reason."""
    year, day = 365 * 86_400, 86_400
    variables = {year + day: "$__rate_interval", year + 2 * day: "$__range"}
    fixed = {300: "5m", 3600: "1h"}
    for title, function, node in calls(dashboard):
        seconds = int(node.range.total_seconds())
        found = variables.get(seconds) or fixed.get(seconds, seconds)
        assert found == "$__rate_interval" or (function == "increase" and found in {"$__range", *RANGES}), title


@each
def test_target_counter_agg_rule(dashboard):
    """Counters are read with `rate()` or `increase()` only: a sum of their values is wrong after a restart."""
    for title, expr in dashboards.queries(dashboard):
        for node, parents in promql.nodes(promql_parser.parse(expr)):
            if isinstance(node, promql_parser.VectorSelector):
                counter = [
                    it
                    for it in promql.names(node)
                    if it.endswith(("_total", "_bucket", "_count", "_sum")) and ":" not in it
                ]
                names = [it for label, _, it in promql.matchers(node) if label == "__name__"]
                counted = title in {"Series, the most first", "Metrics that overflow"}  # how many there are
                if counter and not counted:
                    function = getattr(parents[-2], "func", None) if len(parents) > 1 else None
                    assert getattr(function, "name", None) in {"rate", "increase"}, (title, names or node.name)


@each
def test_target_histogram_rule(dashboard):
    """Buckets are for quantiles, heatmaps, and the share below a threshold that is one of them."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            for node, parents in promql.nodes(promql_parser.parse(dashboards.filled(target["expr"]))):
                if isinstance(node, promql_parser.VectorSelector) and (node.name or "").endswith("_bucket"):
                    quantile = any(getattr(it, "func", None) and it.func.name == "histogram_quantile" for it in parents)
                    one = any(label == "le" for label, _, _ in promql.matchers(node))
                    assert quantile or one or panel["type"] == "heatmap", panel["title"]


@each
def test_uneditable_dashboard_rule(dashboard):
    """What is generated is not edited by hand."""
    assert dashboard["editable"] is False


def test_exclusions_have_reasons():
    """The rules that are not kept are these, for these reasons."""
    assert all(len(reason) > 10 for reason in (*EXCLUDED.values(), *RANGES.values()))
