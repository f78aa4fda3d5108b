"""The dashboards: as committed, valid for Grafana, and in agreement with metrics, rules and runbooks."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import CliRunner

from otel_tools import semconv
from otel_tools.cli import main
from otel_tools.ops import dashboards, rules
from otel_tools.ops.dashboards import links
from otel_tools.ops.objectives import DEFAULTS, objectives
from otel_tools.settings import Settings
from tests.ops import grafana, promql

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "grafana-dashboards"
RENDERED = dashboards.render(DEFAULTS)
ALL = list(RENDERED.values())
each = pytest.mark.parametrize("dashboard", ALL, ids=lambda dashboard: dashboard["uid"])


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def panel(name, title):
    (found,) = [it for it in RENDERED[f"otel-tools-{name}.json"]["panels"] if it["title"] == title]
    return found


def walk(value):
    """Every mapping in a document."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(child)


# --- the files ------------------------------------------------------------------------------------------------------
def test_committed_dashboards_are_the_rendered_ones():
    """`make ops` has been run: what Grafana is given is what the code says."""
    committed = {path.name: path.read_text() for path in COMMITTED.glob("*.json")}
    assert committed == {name: dashboards.text(dashboard) for name, dashboard in RENDERED.items()}


def test_rendering_twice_gives_the_same():
    """Nothing depends on the order of sets, on time or on chance."""
    assert [dashboards.text(it) for it in dashboards.render(DEFAULTS).values()] == [dashboards.text(it) for it in ALL]


def test_command(tmp_path, monkeypatch):
    """`otel-tools dashboards` writes the files, and tells what is different."""
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(main, ["dashboards", "--out", "out"])
    assert (run.exit_code, run.output) == (0, "out: 6 files, 6 of them changed\n")
    assert {path.name for path in tmp_path.glob("out/*")} == set(RENDERED)
    (tmp_path / "otel-tools.yaml").write_text("alerts: {tool-slow: {warning: 2.56}}\n")
    run = CliRunner().invoke(main, ["dashboards", "--out", "out", "--check"])
    assert run.exit_code == 1
    assert "2 of 6 files differ: otel-tools-overview.json, otel-tools-tool.json" in run.output


# --- the schema -----------------------------------------------------------------------------------------------------
@each
def test_every_key_is_of_the_schema(dashboard):
    """Grafana's own models know every key, and write the same values again."""
    assert grafana.unknown(json.loads(dashboards.text(dashboard))) == []


@each
def test_every_value_is_of_the_schemas_type(dashboard):
    """Numbers, words and lists are where Grafana's models declare them."""
    assert grafana.ill_typed(json.loads(dashboards.text(dashboard))) == []


def test_the_schema_finds_mistakes():
    """A key that is not known, a word that is none, a number where a text is due, in all depths."""
    broken = json.loads(dashboards.text(ALL[0]))
    broken["colour"] = "red"
    broken["panels"][0]["title"] = 7
    broken["panels"][0]["options"]["cellHeight"] = "huge"
    broken["panels"][0]["targets"][0]["format"] = "graph"
    assert grafana.unknown(broken) == [".colour"]
    assert grafana.ill_typed(broken) == [
        ".panels[0].targets[0].format_val",
        ".panels[0].title",
        ".panels[0].options.cell_height",
    ]


# --- the layout -----------------------------------------------------------------------------------------------------
@each
def test_identity(dashboard):
    """A stable uid and no id, which belongs to a database; version 42 of the classic schema, which files can have."""
    assert "id" not in dashboard
    assert (dashboard["schemaVersion"], dashboard["tags"]) == (42, ["otel-tools"])
    assert f"{dashboard['uid']}.json" in RENDERED


def test_uids():
    """Those that alerts and runbooks lead to."""
    assert [it["uid"] for it in ALL] == list(links.UIDS.values())
    assert {it.dashboard for it in (*DEFAULTS.alerts, *DEFAULTS.slos)} <= set(links.UIDS.values())


@each
def test_nothing_is_there_twice(dashboard):
    """Ids and titles of panels, refIds of queries, names of variables."""
    ids = Counter(it["id"] for it in dashboard["panels"])
    titles = Counter(it["title"] for it in dashboard["panels"])
    variables = Counter(it["name"] for it in dashboard["templating"]["list"])
    assert max((*ids.values(), *titles.values(), *variables.values())) == 1
    for one in panels(dashboard):
        assert max(Counter(it["refId"] for it in one["targets"]).values()) == 1, one["title"]


@each
def test_panels_do_not_overlap(dashboard):
    """Each has its place within the 24 columns, and lines are full."""
    taken = Counter(
        (x, y)
        for it in dashboard["panels"]
        for place in [it["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    assert max(taken.values()) == 1
    assert {x for x, _ in taken} == set(range(24))
    assert len(taken) == 24 * (max(y for _, y in taken) + 1)


def test_the_overview_fits_on_one_screen():
    """24 units are what a screen of 1080 lines shows."""
    assert max(it["gridPos"]["y"] + it["gridPos"]["h"] for it in panels(ALL[0])) <= 24


# --- the queries ----------------------------------------------------------------------------------------------------
@each
def test_queries_ask_for_what_there_is(dashboard):
    """Every metric exists in `semconv`, `records` or is known of the servers, with every label that is asked for."""
    asked = dashboards.queries(dashboard)
    assert len(asked) == sum(len(it["targets"]) for it in panels(dashboard))
    for title, expr in asked:
        try:
            promql.answered(expr)
        except (AssertionError, ValueError) as error:
            pytest.fail(f"{title}: {error}\n{expr}")


@each
def test_legends_have_their_labels(dashboard):
    """A legend names only labels that the answer has, and every line has one."""
    for one in panels(dashboard):
        for target in one["targets"]:
            found = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert target["legendFormat"], one["title"]
            assert found <= promql.answered(dashboards.filled(target["expr"])), one["title"]


@each
def test_variables_and_annotations_ask_for_what_there_is(dashboard):
    """The values of variables, and what is marked across all panels."""
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            expr, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            assert label in promql.answered(dashboards.filled(expr))
    for annotation in dashboard["annotations"]["list"]:
        answered = promql.answered(dashboards.filled(annotation["expr"]))
        assert set(re.findall(r"{{(\w+)}}", annotation["textFormat"] + annotation["titleFormat"])) <= answered


@each
def test_variables_are_used_and_known(dashboard):
    """Every variable of a dashboard is in one of its queries or links; every one in a query is a variable."""
    text = json.dumps([dashboard["panels"], dashboard["annotations"]])
    variables = {it["name"] for it in dashboard["templating"]["list"]}
    assert {name for name in variables if not re.search(rf"\$\{{?{name}\b", text)} == set()
    for _, expr in dashboards.queries(dashboard, **{name: f"${name}" for name in ("__rate_interval", "__range")}):
        assert set(re.findall(r"\$([a-z]\w*)", expr)) <= variables, expr


@each
def test_every_query_of_programs_is_filtered(dashboard):
    """Series of instrumented programs are those of the environments and services that are chosen."""
    foreign = tuple(name for name in promql.FOREIGN if not name.startswith(("otel_sdk", "ALERTS")))
    for _, expr in dashboards.queries(dashboard, environment="ENV", service="SVC"):
        for selector in promql.selectors(expr):
            if not promql.names(selector) <= set(foreign):
                chosen = {(label, value.removesuffix("|")) for label, _, value in promql.matchers(selector)}
                assert {("deployment_environment_name", "ENV"), ("service_name", "SVC")} <= chosen, expr


@each
def test_latencies_lead_to_traces(dashboard):
    """Exemplars are asked for with histograms, once in a panel, and only there: recorded series have none."""
    for one in panels(dashboard):
        for target in one["targets"]:
            if target["exemplar"]:
                assert any(
                    "_bucket" in name
                    for it in promql.selectors(dashboards.filled(target["expr"]))
                    for name in promql.names(it)
                )
        over_time = [it for it in one["targets"] if "histogram_quantile" in it["expr"] and not it["instant"]]
        if over_time or one["type"] == "heatmap":
            assert sum(it["exemplar"] for it in one["targets"]) == 1, one["title"]


@each
def test_one_bucket_is_matched_both_ways(dashboard):
    """OTLP says `le="15"`, a scrape `le="15.0"`."""
    for _, expr in dashboards.queries(dashboard):
        for selector in promql.selectors(expr):
            for label, operator, value in promql.matchers(selector):
                if label == "le":
                    assert (operator == "MatchOp.Re" and value.endswith(r"(\.0)?")) or "." in value


def test_filled():
    """Grafana's variables get values; what Prometheus calls `$1` stays."""
    expr = 'label_replace(rate(a{b=~"$tool", c=~"$service|"}[$__rate_interval]), "d", "$1", "e", "(.+)")'
    filled = dashboards.filled(expr, tool="(x|y)", __rate_interval="1m")
    assert filled == 'label_replace(rate(a{b=~"(x|y)", c=~".*|"}[1m]), "d", "$1", "e", "(.+)")'


def test_quiet():
    """What a panel says when it is right that it is empty."""
    assert dashboards.quiet(RENDERED["otel-tools-sessions.json"]) == {
        "Runs that raise, a minute, by type": "none raised"
    }


# --- thresholds -----------------------------------------------------------------------------------------------------
LINES = {
    ("overview", "Session duration, p95"): ["session-latency"],
    ("overview", "Sessions that complete"): ["session-completion"],
    ("overview", "LLM cost of 24 h, limit 500 USD"): ["daily-cost-high"],
    ("tool", "Errors"): ["tool-error-rate-high"],
    ("tool", "Error rate"): ["tool-error-rate-high"],
    ("tool", "p95"): ["tool-slow"],
    ("tool", "Latency"): ["tool-slow"],
    ("llm", "LLM cost of 24 h, limit 500 USD"): ["daily-cost-high"],
    ("llm", "Errors"): ["llm-error-rate-high"],
    ("llm", "Error rate"): ["llm-error-rate-high"],
    ("llm", "Cost of a session"): ["session-cost", "session-cost-high"],
    ("sessions", "Sessions that complete"): ["session-completion"],
    ("sessions", "Duration of a session"): ["session-latency"],
    ("sessions", "Sessions within 15 s"): ["session-completion"],
    ("sessions", "LLM calls of a run"): ["session-iterations-high"],
    ("sessions", "Cost of a session"): ["session-cost", "session-cost-high"],
    ("telemetry", "Queue of the Collector"): ["collector-queue-full"],
    ("telemetry", "Queues"): ["collector-queue-full"],
}
"""Panel -> whose threshold its lines or colours are."""
COLUMNS = {
    ("overview", "Tools, the worst first", "Errors"): ["tool-error-rate-high"],
    ("overview", "Tools, the worst first", "p95"): ["tool-slow"],
    ("overview", "Models, the worst first", "Errors"): ["llm-error-rate-high"],
    ("sessions", "Agents, the busiest first", "Duration p95"): ["session-latency"],
    ("sessions", "Agents, the busiest first", "LLM calls p95"): ["session-iterations-high"],
    ("sessions", "Agents, the busiest first", "Cost p95"): ["session-cost", "session-cost-high"],
}
OTHERS = {
    "Session completion, 95 %": [0, 0.25],  # of the budget: used up, little left
    "Tool availability, 99.5 %": [0, 0.25],
    "Session latency, 95 %": [0, 0.25],
    "Session cost, 95 %": [0, 0.25],
    "Breakers off": [1],  # any
    "Processes": [1],
    "Rules that fail": [1],
}
"""Panels whose colours are no alert's."""
COUNTS = {
    ("tool", "Abandoned"): "tool-abandoned-work",
    ("llm", "Tokens without a price"): "unpriced-tokens",
    ("policy", "Circuits open"): "circuit-open",
    ("policy", "Forced open"): "circuit-open",
    ("policy", "Tools switched off"): "tool-disabled",
    ("policy", "Abandoned calls"): "tool-abandoned-work",
    ("telemetry", "Dropped in programs"): "telemetry-dropped",
    ("telemetry", "Refused by the Collector"): "collector-refused",
    ("telemetry", "Lost by the Collector"): "collector-send-failed",
}
"""Panels that count: their alert fires above a whole number, they are coloured from the next one on."""


def _fires(objectives, name):
    """What the *rendered rules* compare with: an alert in all severities, the bucket of an objective, the objective."""
    made = [rule for groups in rules.files(objectives).values() for group in groups for rule in group["rules"]]
    if name not in {slo.id for slo in objectives.slos}:
        conditions = [rule["expr"] for rule in made if rule.get("alert") == objectives.alert(name).name]
        return {float(re.search(r" > ([\d.]+)", condition)[1]) for condition in conditions}
    of_it = "\n".join(rule["expr"] for rule in made if rule.get("labels", {}).get("slo") == name)
    buckets = re.findall(r'_bucket\{[^}]*le=~?"([\d.]+)', of_it)
    return {float(it) for it in buckets or re.findall(r"^vector\((0\.[5-9]\d*)\)$", of_it, re.MULTILINE)}


def _values(thresholds):
    return {step["value"] for step in thresholds["steps"] if step["value"] is not None}


def _steps(one):
    return _values(one["fieldConfig"]["defaults"]["thresholds"]) if one["type"] != "heatmap" else set()


@pytest.mark.parametrize(("where", "whose"), LINES.items(), ids=str)
def test_lines_are_where_the_rules_fire(where, whose):
    """The thresholds of a panel are the numbers that the rendered rules compare with."""
    assert _steps(panel(*where)) == set().union(*(_fires(DEFAULTS, name) for name in whose))


@pytest.mark.parametrize(("where", "whose"), COLUMNS.items(), ids=str)
def test_columns_are_coloured_where_the_rules_fire(where, whose):
    """The same for columns of tables."""
    *place, title = where
    (override,) = [it for it in panel(*place)["fieldConfig"]["overrides"] if it["matcher"]["options"] == title]
    (steps,) = [it["value"] for it in override["properties"] if it["id"] == "thresholds"]
    assert _values(steps) == set().union(*(_fires(DEFAULTS, name) for name in whose))


@pytest.mark.parametrize(("where", "alert"), COUNTS.items(), ids=str)
def test_counts_are_coloured_where_the_rules_fire(where, alert):
    """A count is coloured from the whole number on that is above the rule's."""
    (found,) = [
        it for it in panels(RENDERED[f"otel-tools-{where[0]}.json"]) if (it["title"], it["type"]) == (where[1], "stat")
    ]
    assert _steps(found) == {value + 1 for value in _fires(DEFAULTS, alert)}


def test_every_threshold_is_somebodys():
    """No panel has a threshold of which it is not known whose it is."""
    for name, dashboard in zip(links.UIDS, ALL, strict=True):
        for one in panels(dashboard):
            known = (name, one["title"]) in {*LINES, *COUNTS} or _steps(one) == set(OTHERS.get(one["title"], ()))
            assert known, (name, one["title"], _steps(one))


def test_the_burn_of_budgets_is_coloured_where_its_alerts_fire():
    """The slowest burn of each severity: 1 is a ticket, 6 a page."""
    for slo in DEFAULTS.slos:
        title = f"{slo.id.replace('-', ' ').capitalize()}, {100 * slo.objective:g} %"
        (override,) = panel("overview", title)["fieldConfig"]["overrides"]
        (steps,) = [it["value"] for it in override["properties"] if it["id"] == "thresholds"]
        assert [(step["value"], step["color"]) for step in steps["steps"][1:]] == [(1, "orange"), (6, "red")]


def test_lines_follow_the_configuration():
    """A threshold and a window in otel-tools.yaml move the line and the record; an alert that is off has none."""
    settings = Settings(
        alerts={
            "tool-slow": {"warning": 2.56, "window": 600},
            "llm-error-rate-high": {"enabled": False},
        },
        slos={"session-latency": {"threshold": 25.6}},
    )
    made = dashboards.render(objectives(settings))
    by_title = {
        (name, it["title"]): it for name, dashboard in made.items() for it in panels(dashboard) if it["type"] != "table"
    }
    latency = by_title["otel-tools-tool.json", "Latency"]
    assert _steps(latency) == {2.56}
    assert ":p95_10m{" in by_title["otel-tools-tool.json", "p95"]["targets"][0]["expr"]
    assert _steps(by_title["otel-tools-llm.json", "Error rate"]) == set()
    assert _steps(by_title["otel-tools-overview.json", "Session duration, p95"]) == {25.6}
    assert 'le="25.6"' in by_title["otel-tools-sessions.json", "Sessions within 25.6 s"]["targets"][0]["expr"]


# --- links ----------------------------------------------------------------------------------------------------------
def _links(dashboard):
    """Panel (empty: the dashboard) and URL of every link."""
    yield from (("", it["url"]) for it in dashboard["links"] if it["type"] == "link")
    for one in panels(dashboard):
        yield from ((one["title"], it["url"]) for it in walk(one) if "url" in it)


@each
def test_links_lead_somewhere(dashboard):
    """To a dashboard that has the variables they set, an alert's runbook, traces in Explore, or a server."""
    variables = {it["uid"]: {one["name"] for one in it["templating"]["list"]} for it in ALL}
    pages = {DEFAULTS.links.runbook(it.name) for it in (*DEFAULTS.alerts, *DEFAULTS.slos)}
    servers = {
        "http://127.0.0.1:9093",
        "http://127.0.0.1:9090/rules",
        "http://127.0.0.1:16686",
        DEFAULTS.links.runbooks,
    }
    for title, url in _links(dashboard):
        shown = re.match(r"/d/([\w-]+)\?", url)
        if shown:
            assert set(re.findall(r"var-(\w+)=", url)) <= variables[shown[1]], url
        elif url.startswith("/explore?"):
            _search(url, variables[dashboard["uid"]])
        elif title == "Firing alerts":
            assert "${__data.fields.dashboard}" in url or "${__data.fields.runbook}.md" in url
        else:
            assert url in pages | servers, (title, url)


def _search(url, variables):
    pane = json.loads(unquote(url.partition("panes=")[2]))["a"]
    (query,) = pane["queries"]
    assert pane["datasource"] == query["datasource"]["uid"] == "${jaeger_datasource}"
    assert "jaeger_datasource" in variables
    assert query["operation"].split()[0] in {"execute_tool", "chat", "invoke_agent"}
    assert query["service"].endswith("service_name:percentencode}")
    assert query.get("tags", "").partition("=")[0] in {"", semconv.OUTCOME, semconv.SESSION_OUTCOME, semconv.ERROR_TYPE}


@each
def test_links_use_labels_that_are_there(dashboard):
    """`__field.labels.x` is a label of every line of the panel, `__data.fields.x` a column of the table."""
    for one in panels(dashboard):
        answered = [promql.answered(dashboards.filled(target["expr"])) for target in one["targets"]]
        columns = {
            name
            for it in one.get("transformations", ())
            if it["id"] == "filterFieldsByName"
            for name in it["options"]["include"]["names"]
        }
        text = unquote(json.dumps([it["url"] for it in walk(one) if "url" in it]))
        assert set(re.findall(r"__field\.labels\.(\w+)", text)) <= set.intersection(*answered), one["title"]
        assert set(re.findall(r"__data\.fields\.(\w+)", text)) <= columns, one["title"]


@each
def test_tables_join_by_the_same_labels(dashboard):
    """All columns of a table have the same labels: otherwise its rows would fall apart."""
    for one in panels(dashboard):
        if one["type"] == "table":
            answered = [promql.answered(dashboards.filled(target["expr"])) for target in one["targets"]]
            assert all(it == answered[0] for it in answered), one["title"]
            (organize,) = [it["options"] for it in one["transformations"] if it["id"] == "organize"]
            labels = {name for name in organize["renameByName"] if not name.startswith("Value")}
            assert labels <= answered[0], one["title"]


def test_every_alert_has_a_page():
    """Runbooks that dashboards lead to are committed."""
    pages = {path.stem for path in (ROOT / DEFAULTS.links.runbooks).glob("*.md")}
    assert {
        DEFAULTS.links.runbook(it.name).rpartition("/")[2][:-3] for it in (*DEFAULTS.alerts, *DEFAULTS.slos)
    } <= pages


def test_firing_alerts_lead_to_their_pages():
    """The table of alerts labels each with its dashboard and its runbook."""
    (target,) = panel("overview", "Firing alerts")["targets"]
    for it in (*DEFAULTS.alerts, *DEFAULTS.slos):
        page = DEFAULTS.links.runbook(it.name).rpartition("/")[2][:-3]
        assert f'"runbook", "{page}", "alertname", "{it.name}")' in target["expr"]
        assert re.search(rf'"dashboard", "{it.dashboard}", "alertname", "[\w|]*\b{it.name}\b', target["expr"])
