"""Where a click leads: another dashboard, the traces behind a number, the runbook of an alert."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from otel_tools import semconv as names
from otel_tools.ops.dashboards import promql
from otel_tools.ops.dashboards.panels import Json
from otel_tools.ops.model import BAD_SESSIONS, Alert, Objectives, Slo
from otel_tools.policy.outcome import Outcome

UIDS: Final = {name: f"otel-tools-{name}" for name in ("overview", "tool", "llm", "sessions", "policy", "telemetry")}
_MACRO: Final = re.compile(r"(\$\{[^}]*\})")
HERE: Final = "${environment:queryparam}&${service:queryparam}&${__url_time_range}"
"""What a link carries over: environment, services and time."""
LABEL, COLUMN = "__field.labels", "__data.fields"
"""Where a link finds the label of a series, and the label of a table's row."""


def value(source: str, label: str) -> str:
    """What stands for the value of *label* in a link; *source* is `LABEL` or `COLUMN`."""
    return f"${{{source}.{label}:percentencode}}"


def link(title: str, url: str, *, new: bool = False) -> Json:
    """Any link; *new*: in a new tab."""
    return {"title": title, "url": url, "targetBlank": new}


def to_dashboard(title: str, name: str, **variables: str) -> Json:
    """Another of our dashboards, of the same environment, services and time, with *variables* set."""
    chosen = "".join(f"&var-{variable}={chosen}" for variable, chosen in variables.items())
    return link(title, f"/d/{UIDS[name]}?{HERE}{chosen}")


def to_traces(title: str, source: str, operation: str, label: str, **tags: str) -> Json:
    """Spans of the service of a series or row, in Grafana's Explore: *operation* and the value of *label*.

    *tags* are attributes with the value that they have, a dot in the name written `__`. Jaeger's own `error=true` is
    not among them: it finds nothing in Jaeger's storage in memory.
    """
    query: dict[str, Any] = {
        "refId": "A",
        "datasource": {"type": "jaeger", "uid": "${jaeger_datasource}"},
        "queryType": "search",
        "service": value(source, promql.SERVICE),
        "operation": f"{operation} {value(source, label)}",
        "limit": 50,
    }
    if tags:
        query["tags"] = " ".join(f"{name.replace('__', '.')}={chosen}" for name, chosen in tags.items())
    pane = {
        "datasource": "${jaeger_datasource}",
        "queries": [query],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    return link(title, f"/explore?schemaVersion=1&orgId=1&panes={_encoded(json.dumps({'a': pane}))}", new=True)


def _encoded(text: str) -> str:
    """*text* for a URL; what Grafana replaces is left as it is."""
    return "".join(part if _MACRO.fullmatch(part) else quote(part, safe="") for part in _MACRO.split(text))


def tool_links(source: str) -> list[Json]:
    """From the tool of a series or row to its dashboard and its traces."""
    return [to_dashboard("Tool in detail", "tool", tool=value(source, promql.TOOL)), *tool_traces(source)]


def tool_traces(source: str) -> list[Json]:
    """From the tool of a series or row to its traces, by what became of the call."""
    outcomes = (Outcome.ERROR, Outcome.TOOL_ERROR, Outcome.TIMEOUT, Outcome.CIRCUIT_OPEN)
    return _traces(source, names.EXECUTE_TOOL, promql.TOOL, names.OUTCOME, outcomes)


def model_links(source: str) -> list[Json]:
    """From the model of a series or row to its dashboard and its traces."""
    return [to_dashboard("LLM and cost", "llm", model=value(source, promql.MODEL)), *model_traces(source)]


def model_traces(source: str) -> list[Json]:
    """From the model of a series or row to its traces, by what became of the call."""
    return _traces(source, names.CHAT, promql.MODEL, names.OUTCOME, (Outcome.ERROR, Outcome.TIMEOUT))


def agent_links(source: str) -> list[Json]:
    """From the agent of a series or row to its dashboard and its traces."""
    return [to_dashboard("Sessions", "sessions", agent=value(source, promql.AGENT)), *agent_traces(source)]


def agent_traces(source: str) -> list[Json]:
    """From the agent of a series or row to its traces, by how the session ended."""
    return _traces(source, names.INVOKE_AGENT, promql.AGENT, names.SESSION_OUTCOME, sorted(BAD_SESSIONS))


def _traces(source: str, operation: str, label: str, attribute: str, values: Sequence[str]) -> list[Json]:
    chosen = [
        to_traces(f"Traces: {it.replace('_', ' ')}", source, operation, label, **{attribute.replace(".", "__"): it})
        for it in values
    ]
    return [*chosen, to_traces("Traces: all", source, operation, label)]


def by_error(source: str, operation: str, label: str) -> list[Json]:
    """From a kind of error to its traces."""
    return [to_traces("Traces", source, operation, label, error__type=value(source, promql.ERROR_TYPE))]


def runbooks(objectives: Objectives, *alerts: str) -> list[Json]:
    """The pages of *alerts* or objectives, given by name or id."""
    known: tuple[Alert | Slo, ...] = (*objectives.alerts, *objectives.slos)
    table = {key: it.name for it in known for key in (it.name, it.id)}
    found = [table[alert] for alert in alerts]
    return [link(f"Runbook: {name}", objectives.links.runbook(name), new=True) for name in found]


# --- at the top of a dashboard --------------------------------------------------------------------------------------
def on_top(objectives: Objectives) -> list[Json]:
    """The other dashboards, and where rules, alerts, traces and runbooks are."""
    links = objectives.links
    places = {
        "Alerts": links.alertmanager,
        "Rules": f"{links.prometheus}/rules" if links.prometheus else "",
        "Jaeger": links.jaeger,
        "Runbooks": links.runbooks,
    }
    return [
        _top("otel-tools", "dashboards", tags=["otel-tools"], vars=True),
        *(_top(title, "link", url=url) for title, url in places.items() if url),
    ]


def of_panel(links: list[Json]) -> list[Json]:
    """*links* for the corner of a panel."""
    return [_top(link["title"], "link", url=link["url"]) for link in links]


def _top(title: str, kind: str, *, url: str = "", tags: list[str] | None = None, vars: bool = False) -> Json:  # noqa: A002  Grafana's word
    return {
        "title": title,
        "type": kind,
        "icon": "external link" if kind == "link" else "dashboard",
        "tooltip": "",
        "url": url,
        "tags": tags or [],
        "asDropdown": False,
        "targetBlank": kind == "link",
        "includeVars": vars,
        "keepTime": vars,
    }
