"""A dashboard from its panels: places in the grid, ids, variables, links; Grafana's classic schema, version 42."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from otel_tools import semconv as names
from otel_tools.ops import translation
from otel_tools.ops.dashboards import promql
from otel_tools.ops.dashboards.panels import BLUE, DATASOURCE, ORANGE, RED, Json, Panel
from otel_tools.ops.expressions import one_of

SCHEMA_VERSION: Final = 42
WIDTH: Final = 24
TAG: Final = "otel-tools"


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below a heading (none where *title* is empty), from left to right."""

    title: str
    panels: Sequence[Panel]


# --- variables ------------------------------------------------------------------------------------------------------
def _datasource(kind: str) -> Json:
    title = kind.title()
    return {
        "type": "datasource",
        "name": f"{kind}_datasource",
        "label": f"{title} data source",
        "description": f"The {title} server that is asked.",
        "query": kind,
        "current": {"text": title, "value": kind, "selected": True},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
    }


def _values(name: str, title: str, metric: str, label: str, *matchers: str) -> Json:
    """A variable with the values that *label* has, all of them at first."""
    selector = f"{metric}{{{', '.join(matchers)}}}"
    return {
        "type": "query",
        "name": name,
        "label": title,
        "description": f"Only these; all by default. Values of the label {label}.",
        "datasource": DATASOURCE,
        "query": {"qryType": 1, "query": f"label_values({selector}, {label})", "refId": f"variable-{name}"},
        "current": {"text": ["All"], "value": ["$__all"], "selected": True},
        "allValue": ".*",
        "hide": 0,
        "includeAll": True,
        "multi": True,
        "options": [],
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
    }


_CALLS = translation.name(names.TOOL_CALLS)
_LLM_CALLS = translation.series(names.CLIENT_DURATION, "count")
_ANY = one_of("__name__", [_CALLS, _LLM_CALLS])
_VARIABLES: Final = {
    "environment": _values("environment", "Environment", "", promql.ENVIRONMENT, _ANY),
    "service": _values("service", "Service", "", promql.SERVICE, _ANY, promql.HERE[0]),
    "agent": _values("agent", "Agent", translation.name(names.SESSIONS), promql.AGENT, *promql.HERE),
    "tool": _values("tool", "Tool", _CALLS, promql.TOOL, *promql.HERE),
    "model": _values("model", "Model", _LLM_CALLS, promql.MODEL, *promql.HERE),
}


# --- what happened --------------------------------------------------------------------------------------------------
def _annotation(name: str, color: str, expr: str, title: str, text: str) -> Json:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "expr": expr,
        "step": "30s",
        "titleFormat": title,
        "textFormat": text,
        "useValueForTime": False,
    }


def _annotations() -> list[Json]:
    by = f"{promql.SERVICE}, service_version"
    calls = f"{{{', '.join((_ANY, *promql.HERE))}}}"
    alerts = ", ".join((*promql.HERE, 'alertname=~"OtelTools.*"', 'alertstate="firing"'))
    off = promql.max_by(promql.series(names.TOOL_DISABLED), promql.SERVICE, promql.TOOL)
    return [
        _annotation(
            "New versions",
            BLUE,
            f"group by ({by}) ({calls}) unless group by ({by}) ({calls} offset 10m)",
            "New version",
            "{{service_name}} {{service_version}}",
        ),
        _annotation(
            "Tools switched off", ORANGE, f"{off} > 0", "Tool switched off", "{{gen_ai_tool_name}} ({{service_name}})"
        ),
        _annotation(
            "Alerts", RED, f"ALERTS{{{alerts}}}", "{{alertname}}", "{{severity}} {{gen_ai_tool_name}} {{service_name}}"
        )
        | {"enable": False},
    ]


# --- the whole ------------------------------------------------------------------------------------------------------
def dashboard(
    uid: str, title: str, description: str, rows: Sequence[Row], *, variables: Sequence[str], links: Sequence[Json]
) -> Json:
    """A dashboard that is the same whenever it is made."""
    chosen = [_VARIABLES[name] for name in ("environment", "service", *variables)]
    panels = _placed(rows)
    sources = ["prometheus", *(["jaeger"] if "jaeger_datasource" in json.dumps(panels) else [])]
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-3h", "to": "now"},
        "timepicker": {"refresh_intervals": ["15s", "30s", "1m", "5m", "15m"]},
        "refresh": "30s",
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "preload": False,
        "weekStart": "",
        "annotations": {"list": _annotations()},
        "templating": {"list": [*map(_datasource, sources), *chosen]},
        "links": list(links),
        "panels": panels,
    }


def _placed(rows: Sequence[Row]) -> list[Panel]:
    """All panels with their ids and places, each row below the one before."""
    placed: list[Panel] = []
    top = 0
    for row in rows:
        if row.title:
            placed.append(_heading(row.title, len(placed) + 1, top))
            top += 1
        left = highest = 0
        for panel in row.panels:
            width, height = panel["gridPos"]["w"], panel["gridPos"]["h"]
            if left + width > WIDTH:
                top, left, highest = top + highest, 0, 0
            place: dict[str, Any] = {"x": left, "y": top, "w": width, "h": height}
            placed.append({"id": len(placed) + 1, **panel, "gridPos": place})
            left, highest = left + width, max(highest, height)
        top += highest
    return placed


def _heading(title: str, number: int, top: int) -> Panel:
    place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
    return {"type": "row", "id": number, "title": title, "collapsed": False, "gridPos": place, "panels": []}
