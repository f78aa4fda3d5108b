"""`otel-tools dashboards`: dashboards for Grafana."""

from __future__ import annotations

from pathlib import Path

import click

from otel_tools import config
from otel_tools.cli.rendering import CHECK, OUT, deliver
from otel_tools.ops import dashboards
from otel_tools.ops.objectives import objectives


@click.command()
@OUT
@CHECK
def command(out: Path | None, check: bool) -> None:
    """Render the dashboards that Grafana shows: overview, tool, LLM and cost, sessions, policy, telemetry health.

    Lines in panels are the thresholds of the rules: both come from `alerts:`, `slos:` and `links:` of otel-tools.yaml.
    They need Grafana 11 or later, and the records of `otel-tools rules`.
    """
    rendered = dashboards.render(objectives(config.load()))
    deliver({name: dashboards.text(dashboard) for name, dashboard in rendered.items()}, out, check=check)
