"""Links of a tool's page: dashboard, traces, alerts. `None` where the address or the service is not known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

from otel_tools import semconv as names
from otel_tools.ops import translation
from otel_tools.ops.runbooks import queries
from otel_tools.ops.runbooks.facts import Facts

TOOL_DASHBOARD: Final = "otel-tools-tool"
_LOOKBACK: Final = "1h"


def matchers(facts: Facts, label: str = names.TOOL_NAME) -> tuple[str, ...]:
    """What picks the tool's series; *label* has its name."""
    service = () if facts.service is None else (queries.equals(translation.SERVICE_NAME, facts.service),)
    return (*service, queries.equals(label, facts.name))


def dashboard(facts: Facts) -> str | None:
    """The tool in Grafana."""
    if not facts.links.grafana:
        return None
    service = {} if facts.service is None else {"var-service": facts.service}
    query = _encoded({**service, "var-tool": facts.name, "from": "now-1h", "to": "now"})
    return f"{_base(facts.links.grafana)}/d/{TOOL_DASHBOARD}?{query}"


def traces(facts: Facts, tags: Mapping[str, str]) -> str | None:
    """Spans of the tool with these attributes in Jaeger, which searches within a service."""
    if not facts.links.jaeger or facts.service is None:
        return None
    query = {
        "service": facts.service,
        "operation": f"{names.EXECUTE_TOOL} {facts.name}",
        "tags": json.dumps(dict(tags), separators=(",", ":")),
        "lookback": _LOOKBACK,
        "limit": "50",
    }
    return f"{_base(facts.links.jaeger)}/search?{_encoded(query)}"


def trace(facts: Facts, trace_id: str) -> str | None:
    """One trace in Jaeger."""
    return f"{_base(facts.links.jaeger)}/trace/{trace_id}" if facts.links.jaeger else None


def expression(prometheus: str | None, query: str) -> str | None:
    """PromQL in Prometheus."""
    if not prometheus:
        return None
    return f"{_base(prometheus)}/graph?{_encoded({'g0.expr': query, 'g0.tab': '0'})}"


def alerts(facts: Facts) -> str | None:
    """What fires on the tool, in Alertmanager."""
    if not facts.links.alertmanager:
        return None
    query = "{" + ",".join(matchers(facts)) + "}"
    return f"{_base(facts.links.alertmanager)}/#/alerts?{_encoded({'filter': query})}"


def _encoded(query: Mapping[str, str]) -> str:
    """What stands after the `?`; a name may hold what no encoding has."""
    return urlencode(query, quote_via=quote, errors="backslashreplace")


def _base(url: str) -> str:
    return url.rstrip("/")
