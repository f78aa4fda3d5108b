"""Recording and alert rules of Prometheus, rendered from the table.

Each file is an area. Within a group rules are evaluated one after the other, so records stand before the alerts that
read them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import yaml

from otel_tools.ops import slo_rules, telemetry_rules
from otel_tools.ops.alert_rules import Group, Rule, conditions, rules_of
from otel_tools.ops.model import Objectives
from otel_tools.ops.recording import llm, sessions, tools

_HEADER: Final = (
    "# Written by `otel-tools rules` from the table in otel_tools/ops and from otel-tools.yaml. Do not edit.\n"
)


def render(objectives: Objectives) -> dict[str, str]:
    """File name -> text of every rule file."""
    return {name: _text(groups) for name, groups in files(objectives).items()}


def files(objectives: Objectives) -> dict[str, list[Group]]:
    """File name -> groups of rules."""
    return {
        "tools.yaml": [_area("tools", objectives, tools(objectives), "tool", "circuit")],
        "llm.yaml": [_area("llm", objectives, llm(objectives), "llm")],
        "sessions.yaml": [_area("sessions", objectives, sessions(objectives), "session")],
        "telemetry.yaml": [telemetry_rules.group(objectives)],
        **{f"slo-{slo.id}.yaml": slo_rules.groups(objectives, slo) for slo in objectives.slos if slo.enabled},
    }


def _area(name: str, objectives: Objectives, records: Iterable[Rule], *components: str) -> Group:
    alerts = [
        rule
        for alert in objectives.alerts
        if alert.enabled and alert.component in components
        for rule in rules_of(objectives, alert, conditions(objectives, alert))
    ]
    return {"name": f"otel_tools.{name}", "rules": [*records, *alerts]}


# --- YAML -----------------------------------------------------------------------------------------------------------
class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are, lists indented."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002  PyYAML's
        super().increase_indent(flow, indentless=False)


def _literal(dumper: yaml.SafeDumper, value: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _literal)


def _text(groups: list[Group]) -> str:
    body = yaml.dump({"groups": groups}, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
    return _HEADER + body
