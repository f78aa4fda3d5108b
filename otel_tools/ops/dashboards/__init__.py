"""Grafana dashboards, as code: the same table as the rules, so that a line in a panel is where the alert fires."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from otel_tools.ops.dashboards import llm, overview, policy, sessions, telemetry, tool
from otel_tools.ops.objectives import Objectives

_MODULES: Final = (overview, tool, llm, sessions, policy, telemetry)
_VARIABLES: Final = {
    "__rate_interval": "5m",
    "__range": "1h",
    "environment": ".*",
    "service": ".*",
    "agent": ".*",
    "tool": ".*",
    "model": ".*",
}


def render(objectives: Objectives) -> dict[str, dict[str, Any]]:
    """File name -> dashboard, in Grafana's classic schema."""
    made = [module.render(objectives) for module in _MODULES]
    return {f"{dashboard['uid']}.json": dashboard for dashboard in made}


def text(dashboard: Mapping[str, Any]) -> str:
    """A dashboard as the file that Grafana is given."""
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


def queries(dashboard: Mapping[str, Any], **variables: str) -> list[tuple[str, str]]:
    """Title of the panel and query, for every query of a dashboard, as Prometheus is asked.

    The values of *variables* stand for Grafana's; by default it is everything, with an interval of 5 minutes and a
    range of 1 hour.
    """
    return [
        (panel["title"], filled(target["expr"], **variables))
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]


def quiet(dashboard: Mapping[str, Any]) -> dict[str, str]:
    """Title of each panel that may rightly be empty -> what it says then."""
    panels = (panel for panel in dashboard["panels"] if "fieldConfig" in panel)
    said = ((panel["title"], panel["fieldConfig"]["defaults"].get("noValue")) for panel in panels)
    return {title: words for title, words in said if words}


def filled(expr: str, **variables: str) -> str:
    """A query with the values of Grafana's variables in it; what is no variable of ours (`$1`) stays."""
    values = {**_VARIABLES, **variables}
    return re.sub(r"\$(\w+)", lambda found: values.get(found[1], found[0]), expr)
