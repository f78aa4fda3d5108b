"""`otel-tools rules`: recording, alert and burn-rate rules for Prometheus."""

from __future__ import annotations

from pathlib import Path

import click

from otel_tools import config
from otel_tools.cli.rendering import CHECK, OUT, deliver
from otel_tools.ops.objectives import objectives
from otel_tools.ops.rules import render


@click.command()
@OUT
@CHECK
def command(out: Path | None, check: bool) -> None:
    """Render the rules that Prometheus evaluates: what is recorded, alerts, and burn rates of objectives.

    Thresholds, windows and links come from `alerts:`, `slos:` and `links:` of otel-tools.yaml, the rest is built in.
    They need Prometheus 2.42 or later.
    """
    deliver(render(objectives(config.load())), out, check=check)
